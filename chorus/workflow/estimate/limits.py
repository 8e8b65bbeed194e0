"""How long one call may take."""

from __future__ import annotations

import math
from collections.abc import Mapping

from chorus.events import StageKind
from chorus.workflow.model import Model
from chorus.workflow.plan import Custom, Leaf


def limit(leaf: Leaf, models: Mapping[str, Model], stage: StageKind, *, until_first_token: bool = False) -> float:
    """Seconds that a call may take, or that it may take to begin."""
    times = models[leaf.ref].timeouts
    whole: float = leaf.timeout_secs or getattr(times, stage)
    return min(whole, times.first_token or whole) if until_first_token else whole


def single_limit(leaf: Leaf, models: Mapping[str, Model]) -> float:
    """Seconds that a model which the request names itself may take to begin, at one replica."""
    times = models[leaf.ref].timeouts
    silence = leaf.timeout_secs or times.first_byte
    return min(silence, times.single_first_token or silence)


def custom_limit(node: Custom, models: Mapping[str, Model], stage: StageKind) -> float:
    """Return the seconds that a node of a registered kind may take.

    They are its `timeout_secs` where it has one, else the longest limit of the models that it
    calls; inf where it names none.
    """
    own = node.spec.get("timeout_secs")
    if isinstance(own, int | float):
        return float(own)
    return max((getattr(models[ref].timeouts, stage) for ref in node.refs), default=math.inf)
