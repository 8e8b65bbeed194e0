"""Which temperature a call is sent, and why (W4). Pure; docs/TEMPERATURE_CONFIG.md holds the table
the tests run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from chorus.workflow.plan import Leaf

Source = Literal["node", "client", "analyzer", "model", "default", "none"]

WORKER_DEFAULT = 1.4
"""Workers are meant to differ from each other."""
JUDGE = 0.2
SYNTHESIZER_DEFAULT = 0.7


class Temperature(msgspec.Struct, frozen=True):
    """`value` is None where none is sent."""

    value: float | None
    source: Source


@dataclass(frozen=True, slots=True)
class ModelTemperature:
    """The temperature of a `[[model]]`: `fixed` is its `temperature`, or None."""

    fixed: float | Literal["none"] | None = None
    auto: bool = False


def _chosen(value: float, source: Source) -> Temperature:
    return Temperature(min(max(value, 0.0), 2.0), source)


def awaits_analysis(node: Leaf, model: ModelTemperature, client: float | None) -> bool:
    """Return whether the temperature of this worker depends on the analysis (W3)."""
    return worker(node, model, client, suggested=0.0).source == "analyzer"


def worker(node: Leaf, model: ModelTemperature, client: float | None, suggested: float | None) -> Temperature:
    """Return the temperature of a worker in a workflow.

    `suggested` is the analyzer's, None where it gave none.
    """
    if model.fixed == "none":
        return Temperature(None, "none")
    if node.temperature is not None:
        return _chosen(node.temperature, "node")
    auto = model.auto if node.auto_temperature is None else node.auto_temperature
    if auto and model.fixed is None:
        if client is not None:
            return _chosen(client, "client")
        if suggested is not None:
            return _chosen(suggested, "analyzer")
    if model.fixed is not None:
        return _chosen(model.fixed, "model")
    return _chosen(WORKER_DEFAULT, "default")


def judge(node: Leaf, model: ModelTemperature) -> Temperature:
    """Return the temperature of an analyzer or a selector."""
    return _stage(node, model) or _chosen(JUDGE, "default")


def synthesizer(node: Leaf, model: ModelTemperature, client: float | None) -> Temperature:
    """Return the temperature of a synthesizer."""
    if (configured := _stage(node, model)) is not None:
        return configured
    return _chosen(client, "client") if client is not None else _chosen(SYNTHESIZER_DEFAULT, "default")


def single(model: ModelTemperature, client: float | None) -> Temperature:
    """Return the temperature of a model that a request names itself.

    It is the client's, else the model's, else the upstream's own default, for which none is sent.
    """
    if model.fixed == "none":
        return Temperature(None, "none")
    if client is not None:
        return _chosen(client, "client")
    return _chosen(model.fixed, "model") if model.fixed is not None else Temperature(None, "default")


def _stage(node: Leaf, model: ModelTemperature) -> Temperature | None:
    """Return what the node, else the model, says for a stage that is not a worker."""
    if model.fixed == "none":
        return Temperature(None, "none")
    if node.temperature is not None:
        return _chosen(node.temperature, "node")
    return _chosen(model.fixed, "model") if model.fixed is not None else None
