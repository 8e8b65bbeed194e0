"""The longest that a request may take: the limits of the stages that wait for each other."""

from __future__ import annotations

from collections.abc import Mapping

from chorus.workflow.estimate.limits import custom_limit, limit, single_limit
from chorus.workflow.estimate.samples import most_waves, units
from chorus.workflow.judging.temperature import awaits_analysis
from chorus.workflow.model import Model
from chorus.workflow.plan import Custom, Flow, Leaf, Node, leaf_calls, selector_calls


class Duration:
    """Seconds at worst, inf where nothing bounds them. The client names no temperature, so that
    every worker that can wait for the analyzer does."""

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = models

    def until_first_word(self, root: Flow | Leaf) -> float:
        """Return the seconds until a streamed text begins."""
        if isinstance(root, Flow):
            return self._flow(root, frozenset(), is_output=True)
        return single_limit(root, self._models)

    def _flow(self, flow: Flow, analyzed: frozenset[Leaf], *, is_output: bool = False) -> float:
        """`analyzed` are the analyzers that have spoken before."""
        secs = analysis = 0.0
        if flow.analyzer is not None and flow.analyzer not in analyzed:
            analysis = limit(flow.analyzer, self._models, "analyzer")
        if flow.difficulty and flow.analyzer is not None:
            # the model that answers alone may fail, and all are asked after all
            direct = (limit(leaf, self._models, "worker", until_first_token=is_output) for _, leaf in flow.difficulty)
            secs = analysis + max(direct)
            analysis, analyzed = 0.0, analyzed | {flow.analyzer}
        secs += self._layer(flow, 0, analysis, analyzed)
        secs += sum(self._layer(flow, number, 0.0, frozenset()) for number in range(1, flow.layers))
        if isinstance(flow.selector, Leaf):
            secs += limit(flow.selector, self._models, "selector")
        elif flow.selector is not None:
            secs += custom_limit(flow.selector, self._models, "selector")
        if flow.synthesizer is not None:
            secs += limit(flow.synthesizer, self._models, "synthesizer", until_first_token=is_output)
        return secs

    def _layer(self, flow: Flow, number: int, analysis: float, analyzed: frozenset[Leaf]) -> float:
        """Return the slowest worker of a layer."""
        slowest = 0.0
        for node, size in units(flow.layer(number)):
            if isinstance(node, Flow):
                secs = self._flow(node, analyzed)
            elif isinstance(node, Custom):
                secs = custom_limit(node, self._models, "worker")
            else:
                waits = analysis if self._waits(node) else 0.0
                secs = waits + self._worker(flow, node, analysis - waits) * most_waves(node, size)
            slowest = max(slowest, secs)
        return slowest

    def _worker(self, flow: Flow, leaf: Leaf, analysis: float) -> float:
        """Return one worker and its backup call, which may have to wait for the rest of the
        analysis.
        """
        secs = limit(leaf, self._models, "worker")
        if flow.hedge is None or flow.hedge.after_secs >= limit(leaf, self._models, "worker", until_first_token=True):
            return secs  # a call that has not begun by then has failed
        twin = flow.hedge.to or leaf
        begins = max(flow.hedge.after_secs, analysis if self._waits(twin) else 0.0)
        return max(secs, begins + limit(twin, self._models, "worker"))

    def _waits(self, leaf: Leaf) -> bool:
        return awaits_analysis(leaf, self._models[leaf.ref].temperature, None)


def width(node: Node) -> int:
    """Return how many calls can go on at a time, at most."""
    if not isinstance(node, Flow):
        return leaf_calls(node)
    hedges = node.hedge.max if node.hedge is not None else 0
    widest = max(sum(map(width, node.layer(number))) for number in range(node.layers))
    return max(int(node.analyzer is not None) + widest + hedges, selector_calls(node))
