"""What one request would take before it is made: calls, time and money. Pure: it reads the plan and
asks no model.

    stages      every call, with what it reads, writes and costs
    duration    the limits of stages that wait for each other, added up
    fewest      the calls that are left when every shortcut is taken
    limits      the limit of one call
    samples     workers that are asked in waves

Assumed are the tokens of the request and of each answer; every judge, synthesizer and refining
worker also reads the answers before it. Our own instructions, some hundred tokens a call, and the
discounts of prompt caches are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chorus.workflow.estimate.duration import Duration, width
from chorus.workflow.estimate.fewest import fewest_calls
from chorus.workflow.estimate.stages import StageEstimate, stages_of
from chorus.workflow.model import Model
from chorus.workflow.plan import Flow, Leaf, leaf_calls, total_calls

__all__ = ["ANSWER_TOKENS", "PROMPT_TOKENS", "Estimate", "StageEstimate", "estimate"]

PROMPT_TOKENS = 1000
"""Assumed where no request is given."""
ANSWER_TOKENS = 500
"""Assumed for each answer."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A request at its most expensive.

    `calls` are those of `plan.total_calls`, `at_least_calls` what is left of them when every
    configured shortcut is taken, `extra_calls` what hedges, and a model that was to answer alone
    and failed, add at most. `worst_secs` is the time until the first word of a streamed text, None
    where no limit bounds it. `partial_cost` is the cost of all calls of models that have a price;
    the others are `unpriced`.
    """

    stages: Sequence[StageEstimate]
    calls: int
    at_least_calls: int
    extra_calls: int
    candidates: int
    worst_secs: float | None
    partial_cost: float
    unpriced: Sequence[str]

    @property
    def cost(self) -> float | None:
        """The cost of all calls; None where a model has no price."""
        return self.partial_cost if not self.unpriced else None


def estimate(
    root: Flow | Leaf,
    models: Mapping[str, Model],
    *,
    total: float | None = None,
    max_parallel: int | None = None,
    prompt_tokens: int = PROMPT_TOKENS,
    answer_tokens: int = ANSWER_TOKENS,
) -> Estimate:
    """Return what one request to `root` takes at worst. `total` (seconds) and `max_parallel` are
    those of its plan."""
    stages = stages_of(root, models, prompt_tokens, answer_tokens)
    secs = Duration(models).until_first_word(root)
    if max_parallel is not None and max_parallel < width(root) and secs < math.inf:
        # Graham's bound: while the longest chain is not being worked on, every slot is busy with
        # something else
        work = sum((stage.calls + stage.extra_calls) * stage.worst_secs for stage in stages)
        secs += max(work - secs, 0.0) / max_parallel
    secs = min(secs, total if total is not None else math.inf)
    last = root.layer(root.layers - 1) if isinstance(root, Flow) else (root,)
    return Estimate(
        stages,
        calls=total_calls(root),
        at_least_calls=fewest_calls(root),
        extra_calls=sum(stage.extra_calls for stage in stages),
        candidates=sum(map(leaf_calls, last)),
        worst_secs=secs if secs < math.inf else None,
        partial_cost=sum(stage.cost for stage in stages if stage.cost is not None),
        unpriced=list(dict.fromkeys(stage.model or stage.name for stage in stages if stage.cost is None)),
    )
