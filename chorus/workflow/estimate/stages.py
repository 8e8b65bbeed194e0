"""Every call of a workflow, with what it reads, writes and costs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chorus.events import Path, StageKind
from chorus.usage import Usage
from chorus.workflow.estimate.limits import custom_limit, limit
from chorus.workflow.model import Model
from chorus.workflow.plan import Custom, Flow, Leaf, Node, Scope, layer_scope, selector_calls


@dataclass(frozen=True, slots=True)
class StageEstimate:
    """One stage. `path` is as in the trace, but for those that are asked only when something goes
    wrong (`direct`, `hedge`): these are the `extra_calls`. `worst_secs` is the limit of one call,
    inf where there is none; tokens and `cost` are of all its calls together, `cost` None where the
    model has no price."""

    path: Path
    stage: StageKind
    name: str
    model: str | None
    calls: int
    extra_calls: int
    worst_secs: float
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


def stages_of(
    root: Flow | Leaf, models: Mapping[str, Model], prompt_tokens: int, answer_tokens: int
) -> list[StageEstimate]:
    """Return the stages of `root` for a request of `prompt_tokens`.

    Every answer has `answer_tokens`, or its `max_tokens` where these are fewer. Together the stages
    make the calls of `plan.total_calls`.
    """
    stages = _Stages(models, answer_tokens)
    if isinstance(root, Flow):
        stages.flow(root, (), prompt_tokens, (), is_output=True)
    else:
        stages.worker(root, ("0",), root.label, prompt_tokens, is_output=True)
    return stages.listed


@dataclass(frozen=True, slots=True)
class _Spare:
    """A call that may be made beside the others: `leaf` reads so many tokens."""

    leaf: Leaf
    reads: int


class _Stages:
    """Lists stages in `found`. Methods that list an answer return its tokens."""

    def __init__(self, models: Mapping[str, Model], answer_tokens: int) -> None:
        self._models = models
        self._answer_tokens = answer_tokens
        self._analyzers: set[tuple[Scope, Leaf]] = set()
        self.listed: list[StageEstimate] = []

    def flow(self, flow: Flow, path: Path, reads: int, scope: Scope, *, is_output: bool = False) -> int:
        """List the stages of a workflow. `scope` distinguishes analyzers that read something else,
        as in `plan.total_calls`."""
        if flow.analyzer is not None and (scope, flow.analyzer) not in self._analyzers:
            self._analyzers.add((scope, flow.analyzer))
            secs = limit(flow.analyzer, self._models, "analyzer")
            self._leaf("analyzer", flow.analyzer, (*path, "analyzer"), reads, secs)
        self._spare([_Spare(leaf, reads) for _, leaf in flow.difficulty], (*path, "direct"), 1)
        stragglers: list[_Spare] = []
        lengths: list[int] = []
        index = 0
        for number in range(flow.layers):
            request, lengths = reads + sum(lengths), []
            for node in flow.layer(number):
                label = f"{node.label} (layer {number + 1})" if number else node.label
                lengths.append(self._node(node, (*path, str(index)), label, request, layer_scope(scope, path, number)))
                index += 1
                if isinstance(node, Leaf):
                    stragglers.append(_Spare(node, request))
        if flow.hedge is not None:
            hedges = [_Spare(flow.hedge.to or straggler.leaf, straggler.reads) for straggler in stragglers]
            self._spare(hedges, (*path, "hedge"), flow.hedge.max)
        return self._judges(flow, path, reads + sum(lengths), is_output=is_output) or max(lengths)

    def worker(self, leaf: Leaf, path: Path, label: str, reads: int, *, is_output: bool = False) -> int:
        """List the stage of a single model."""
        secs = limit(leaf, self._models, "worker", until_first_token=is_output)
        return self._leaf("worker", leaf, path, reads, secs, label=label)

    def _node(self, node: Node, path: Path, label: str, reads: int, scope: Scope) -> int:
        if isinstance(node, Flow):
            return self.flow(node, path, reads, scope)
        if isinstance(node, Custom):
            self._custom("worker", node, path, reads)
            return self._answer_tokens
        return self.worker(node, path, label, reads)

    def _judges(self, flow: Flow, path: Path, reads: int, *, is_output: bool) -> int | None:
        """Selector and synthesizer; None where the second does not speak."""
        if isinstance(flow.selector, Leaf):
            secs = limit(flow.selector, self._models, "selector")
            self._leaf("selector", flow.selector, (*path, "selector"), reads, secs, calls=flow.passes)
        elif flow.selector is not None and not flow.selector.asks_nobody:
            calls = selector_calls(flow) if flow.selector.asks_each else 1
            # each call of several reads one candidate
            one = reads - (calls - 1) * self._answer_tokens
            self._custom("selector", flow.selector, (*path, "selector"), one, calls)
        if flow.synthesizer is None:
            return None
        secs = limit(flow.synthesizer, self._models, "synthesizer", until_first_token=is_output)
        return self._leaf("synthesizer", flow.synthesizer, (*path, "synthesizer"), reads, secs)

    def _spare(self, calls: Sequence[_Spare], path: Path, most: int) -> None:
        """The dearest of `calls`, of which at most so many are made."""
        for call in sorted(calls, key=self._dearness, reverse=True)[:most]:
            secs = limit(call.leaf, self._models, "worker")
            self._leaf("worker", call.leaf, path, call.reads, secs, calls=0, extra=1)

    def _dearness(self, call: _Spare) -> float:
        price = self._models[call.leaf.ref].price
        return price.of(Usage(call.reads, self._says(call.leaf))) if price is not None else math.inf

    def _leaf(
        self,
        stage: StageKind,
        leaf: Leaf,
        path: Path,
        reads: int,
        secs: float,
        *,
        calls: int = 1,
        extra: int = 0,
        label: str | None = None,
    ) -> int:
        price, says, times = self._models[leaf.ref].price, self._says(leaf), calls + extra
        used = Usage(reads * times, says * times)
        cost = price.of(used) if price is not None else None
        self.listed.append(
            StageEstimate(
                path,
                stage,
                label or leaf.label,
                leaf.ref,
                calls,
                extra,
                secs,
                used.prompt_tokens,
                used.completion_tokens,
                cost,
            )
        )
        return says

    def _custom(self, stage: StageKind, node: Custom, path: Path, reads: int, calls: int = 1) -> None:
        """Add a node of a registered kind: so many calls of each model that it names.

        Where it names none, they are calls of an unknown model.
        """
        secs = custom_limit(node, self._models, stage)
        for ref in node.refs:
            self._leaf(stage, Leaf(ref, node.label), path, reads, secs, calls=calls)
        if not node.refs:
            says = self._answer_tokens
            self.listed.append(StageEstimate(path, stage, node.label, None, 1, 0, secs, reads, says, None))

    def _says(self, leaf: Leaf) -> int:
        return min(self._answer_tokens, leaf.max_tokens or self._answer_tokens)
