"""A plan as a tree of JSON objects, for clients that draw it: `POST /api/v1/explain`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chorus.events import Path, StageKind
from chorus.workflow.engine import Plan
from chorus.workflow.estimate.limits import custom_limit, limit, single_limit
from chorus.workflow.judging import temperature
from chorus.workflow.judging.temperature import Temperature
from chorus.workflow.model import Model
from chorus.workflow.plan import Custom, Flow, Leaf, Node


def outline(plan: Plan, models: Mapping[str, Model]) -> dict[str, Any]:
    """Return the tree of `plan` with the limits of a whole run.

    Paths are those of the trace. Temperatures are those of a request that asks for none; the source
    `analyzer` says that the analysis decides. Prompts are left out.
    """
    limits: dict[str, Any] = {"total_timeout_secs": plan.total, "max_parallel": plan.max_parallel}
    if plan.budget is not None:
        limits |= {"max_total_tokens": plan.budget.max_total_tokens, "max_cost": plan.budget.max_cost}
    draw = _Outline(models)
    if isinstance(plan.root, Flow):
        root = draw.flow(plan.root, ())
    else:
        model = models[plan.root.ref]
        root = draw.leaf(
            plan.root, ("0",), temperature.single(model.temperature, None), single_limit(plan.root, models)
        )
    return {
        "description": plan.description,
        "limits": {name: value for name, value in limits.items() if value is not None},
        "root": root,
    }


class _Outline:
    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = models

    def flow(self, flow: Flow, path: Path) -> dict[str, Any]:
        layers: list[list[dict[str, Any]]] = []
        index = 0
        for number in range(flow.layers):
            nodes = flow.layer(number)
            layers.append([self._worker(node, (*path, str(index + at))) for at, node in enumerate(nodes)])
            index += len(nodes)
        shown: dict[str, Any] = {"path": "/".join(path), "kind": "workflow", "name": flow.label, "layers": layers}
        if flow.analyzer is not None:
            shown["analyzer"] = self._judge(flow.analyzer, (*path, "analyzer"), "analyzer")
        if isinstance(flow.selector, Leaf):
            shown["selector"] = {**self._judge(flow.selector, (*path, "selector"), "selector"), "passes": flow.passes}
            if flow.length_effect is not None:
                shown["selector"]["length_effect"] = flow.length_effect
        elif flow.selector is not None:
            shown["selector"] = self._custom(flow.selector, (*path, "selector"), "selector")
        if (writer := flow.synthesizer) is not None:
            chosen = temperature.synthesizer(writer, self._models[writer.ref].temperature, None)
            secs = limit(writer, self._models, "synthesizer")
            shown["synthesizer"] = self.leaf(writer, (*path, "synthesizer"), chosen, secs)
        if flow.learned is not None:
            shown["route"] = {"kind": "learned", "workers": flow.learned.workers, "explore": flow.learned.explore}
        if shortcuts := _shortcuts(flow):
            shown["shortcuts"] = shortcuts
        return shown

    def leaf(self, leaf: Leaf, path: Path, chosen: Temperature, secs: float) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "path": "/".join(path),
            "kind": "model",
            "name": leaf.label,
            "model": leaf.ref,
            "temperature": chosen.value,
            "temperature_source": chosen.source,
            "timeout_secs": secs,
        }
        if leaf.max_tokens is not None:
            shown["max_tokens"] = leaf.max_tokens
        if leaf.samples is not None:
            shown["samples"] = {"group": leaf.samples.group, "confidence": leaf.samples.confidence}
        return shown

    def _worker(self, node: Node, path: Path) -> dict[str, Any]:
        if isinstance(node, Flow):
            return self.flow(node, path)
        if isinstance(node, Custom):
            return self._custom(node, path, "worker")
        own = self._models[node.ref].temperature
        chosen = temperature.worker(node, own, None, None)
        if temperature.awaits_analysis(node, own, None):
            chosen = Temperature(None, "analyzer")
        return self.leaf(node, path, chosen, limit(node, self._models, "worker"))

    def _judge(self, leaf: Leaf, path: Path, stage: StageKind) -> dict[str, Any]:
        chosen = temperature.judge(leaf, self._models[leaf.ref].temperature)
        return self.leaf(leaf, path, chosen, limit(leaf, self._models, stage))

    def _custom(self, node: Custom, path: Path, stage: StageKind) -> dict[str, Any]:
        secs = custom_limit(node, self._models, stage)
        shown: dict[str, Any] = {
            "path": "/".join(path),
            "kind": node.kind,
            "name": node.label,
            "models": list(node.refs),
        }
        return {**shown, "timeout_secs": secs} if secs < float("inf") else shown


def _shortcuts(flow: Flow) -> dict[str, Any]:
    """Return what may leave out work of this workflow, or add a call to it (W7)."""
    shown: dict[str, Any] = {}
    if flow.quorum is not None:
        shown["quorum"] = {"min": flow.quorum.min, "grace_secs": flow.quorum.grace_secs}
    if flow.agreement is not None:
        shown["agreement"] = {"threshold": flow.agreement.threshold, "compare": flow.agreement.compare}
    if (hedge := flow.hedge) is not None:
        shown["hedge"] = {"after_secs": hedge.after_secs, "to": hedge.to.ref if hedge.to else None, "max": hedge.max}
    if flow.decisive:
        shown["decisive"] = True
    if flow.difficulty:
        shown["difficulty"] = {name: leaf.ref for name, leaf in flow.difficulty}
    return shown
