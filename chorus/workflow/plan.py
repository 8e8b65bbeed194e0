"""What a workflow is: a frozen tree, read from the JSON of a configuration (C5, C6, C8). Pure: no
I/O, no models.

leaf  = "glm" | {"ref": "glm", "name"?: label, "temperature"?, "auto_temperature"?, "system"?,
"timeout_secs"?,
                 "samples"?, "max_tokens"?}
flow  = {"workers": [node, ...], "analyzer"?: leaf, "selector"?: leaf | kind, "synthesizer"?: leaf,
"name"?: label,
         "quorum"?, "agreement"?, "hedge"?, "difficulty"?, "refine"?, "decisive"?}
kind  = {"kind": NAME, ...}          (see `kinds.py`)
node  = leaf | flow | kind
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from chorus.texts import Text, counted, padded
from chorus.types import Difficulty
from chorus.wirejson import JSON
from chorus.workflow.learned_route import Learned

Compare = Literal["exact", "normalised", "json"]

_FLOW: Final = Text("{label}: {candidates}, {calls}", "{label}：{candidates}，{calls}")
_ANALYZER: Final = Text("analyzer", "分析器")
_ROUTE: Final = Text("route", "路由")
_WORKER: Final = Text("worker", "worker")
_REFINE: Final = Text("refine", "第二层")
_REFINER: Final = Text("refiner", "再答 worker")
_SELECTOR: Final = Text("selector", "选择器")
_SYNTHESIZER: Final = Text("synthesizer", "合成器")
_ALONE: Final = Text("{ref} alone", "只由 {ref} 作答")
_LEARNED: Final = Text("learned: {workers} of the workers answer", "自学习：由其中 {workers} 个 worker 作答")
_LAYERS: Final = Text("{layers} layers", "共 {layers} 层")
_SAME: Final = Text("{layers} layers, the same workers", "共 {layers} 层，worker 相同")
_PASSES: Final = Text(", {count} passes", "，{count} 轮")
_CONTROL: Final = Text(", length control {effect:g}", "，长度校正 {effect:g}")


@dataclass(frozen=True, slots=True)
class Samples:
    """One model asked several times: the leaves of one `group` start in waves.

    Waves end when the odds that another answer will overtake the most frequent one are below 1 -
    `confidence` (`agreement.settled`).
    """

    group: str
    confidence: float = 0.95
    compare: Compare = "normalised"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A call of one model. `label` is what the trace calls it; unset fields leave the matter to the
    model."""

    ref: str
    label: str
    temperature: float | None = None
    auto_temperature: bool | None = None
    system: str | None = None
    timeout_secs: float | None = None
    max_tokens: int | None = None
    samples: Samples | None = None


@dataclass(frozen=True, slots=True)
class Quorum:
    """Go on `grace_secs` after `min` candidates are in; the other workers are cancelled (W7)."""

    min: int
    grace_secs: float = 0.0


@dataclass(frozen=True, slots=True)
class Agreement:
    """Skip the judges when `threshold` candidates agree by `compare` (W7).

    The other workers are cancelled.
    """

    threshold: int
    compare: Compare = "normalised"


@dataclass(frozen=True, slots=True)
class Hedge:
    """Ask again where a worker has not begun to answer after `after_secs`: `to`, else its model.

    The first whole answer counts and the other call is cancelled. At most `max` times a request.
    """

    after_secs: float
    to: Leaf | None = None
    max: int = 1


@dataclass(frozen=True, slots=True)
class Refine:
    """Further layers of workers, each of which reads the answers of the layer before.

    Mixture of agents (Wang et al., arXiv 2406.04692). `layers` counts the first. Without `workers`
    the same ones answer again.
    """

    layers: int = 2
    workers: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """Workers, and the stages that judge and merge their answers. Has a selector, a synthesizer or
    both. `passes` is how often the selector is asked, each time in another order (W6);
    `length_effect` is what a doubling of the length is worth to it, in points of its scores, which
    is taken out of them (None: the scores stand as they are). `difficulty` names the model that
    answers a request of that difficulty alone (W7)."""

    workers: tuple[Node, ...]
    analyzer: Leaf | None = None
    selector: Leaf | Custom | None = None
    synthesizer: Leaf | None = None
    label: str = "workflow"
    passes: int = 1
    length_effect: float | None = None
    decisive: bool = False
    quorum: Quorum | None = None
    agreement: Agreement | None = None
    hedge: Hedge | None = None
    refine: Refine | None = None
    difficulty: tuple[tuple[Difficulty, Leaf], ...] = ()
    learned: Learned | None = None
    """How workers are picked for a request; None: all of them answer."""

    def direct(self, difficulty: str) -> Leaf | None:
        """Return the only model for a request of this difficulty; None where all workers answer."""
        return next((leaf for name, leaf in self.difficulty if name == difficulty), None)

    def layer(self, number: int) -> tuple[Node, ...]:
        """Return the workers of one layer; the first is 0."""
        return self.refine.workers if number and self.refine is not None and self.refine.workers else self.workers

    @property
    def layers(self) -> int:
        """How many layers of workers there are."""
        return self.refine.layers if self.refine is not None else 1


@dataclass(frozen=True, slots=True)
class Custom:
    """A node of a registered kind; `spec` is its JSON as configured. A selector that `asks_each`
    makes up to one call for each candidate, one that `asks_nobody` makes none."""

    kind: str
    label: str
    spec: Mapping[str, JSON] = field(default_factory=dict)
    refs: tuple[str, ...] = ()
    asks_each: bool = False
    asks_nobody: bool = False


Node = Leaf | Flow | Custom


def replicate(flow: Flow, depth: int) -> Flow:
    """`nested_worker_depth` (C6): each leaf worker of the root yields 2^(depth-1) candidates.

    Every leaf becomes a nested workflow that holds two copies of it, `depth - 1` times over, with
    the root's analyzer, selector and synthesizer at each level; workers that are something else
    stay as they are. What shortens the root's own work (a quorum, agreement, ...) stays at the
    root.
    """
    level = Flow(
        (), flow.analyzer, flow.selector, flow.synthesizer, passes=flow.passes, length_effect=flow.length_effect
    )

    def grow(node: Node, levels: int) -> Node:
        if levels == 0 or not isinstance(node, Leaf):
            return node
        copies = (replace(node, label=f"{node.label}.{half}", samples=None) for half in (1, 2))
        halves = tuple(grow(copy, levels - 1) for copy in copies)
        return replace(level, workers=halves, label=node.label)

    return replace(flow, workers=tuple(grow(worker, depth - 1) for worker in flow.workers))


def leaf_calls_after(flow: Flow, depth: int) -> int:
    """Return how many worker calls `replicate(flow, depth)` will make, without building it."""
    factor: int = 2 ** min(depth - 1, 64)
    first = sum(factor if isinstance(worker, Leaf) else leaf_calls(worker) for worker in flow.workers)
    own = flow.refine.workers if flow.refine is not None else ()
    return first + (flow.layers - 1) * (sum(map(leaf_calls, own)) if own else first)


def leaf_calls(node: Node) -> int:
    """Return the worker calls of one request at this node, without shortcuts and hedges."""
    if isinstance(node, Flow):
        return sum(leaf_calls(worker) for number in range(node.layers) for worker in node.layer(number))
    return 1 if isinstance(node, Leaf) else max(1, len(node.refs))


def total_calls(node: Node) -> int:
    """Return all upstream calls of one request at this node, without shortcuts and hedges.

    Every stage counts as needed. Analyzers that are the same are asked once.
    """
    if not isinstance(node, Flow):
        return leaf_calls(node)
    return _calls_but_analyzers(node) + len(set(_analyzers(node)))


def _calls_but_analyzers(node: Node) -> int:
    if not isinstance(node, Flow):
        return leaf_calls(node)
    below = sum(_calls_but_analyzers(worker) for number in range(node.layers) for worker in node.layer(number))
    return below + selector_calls(node) + (node.synthesizer is not None)


def selector_calls(flow: Flow) -> int:
    """Return how often one judgement asks its judge, at most."""
    if flow.selector is None:
        return 0
    if isinstance(flow.selector, Leaf):
        return flow.passes
    if flow.selector.asks_nobody:
        return 0
    candidates = sum(map(leaf_calls, flow.layer(flow.layers - 1)))
    return candidates if flow.selector.asks_each else max(1, len(flow.selector.refs))


Scope = tuple[str | int, ...]
"""For what an analyzer reads: the request, `()`, or what one later layer of one workflow reads."""


def layer_scope(scope: Scope, path: Scope, number: int) -> Scope:
    """Return the scope of the workers of layer `number` of the workflow at `path`, in `scope`."""
    return (*path, -number) if number else scope


def _analyzers(node: Node, scope: Scope = (), path: Scope = ()) -> Iterator[tuple[Scope, Leaf]]:
    """Yield every analyzer with its scope: the same one is asked once in each."""
    if isinstance(node, Flow):
        if node.analyzer is not None:
            yield scope, node.analyzer
        for number in range(node.layers):
            for place, worker in enumerate(node.layer(number)):
                yield from _analyzers(worker, layer_scope(scope, path, number), (*path, number, place))


def refs(node: Node) -> Iterator[str]:
    """Yield every model reference at and below this node, repeats included."""
    if isinstance(node, Leaf):
        yield node.ref
    elif isinstance(node, Custom):
        yield from node.refs
    else:
        hedged = node.hedge.to if node.hedge is not None else None
        stages: tuple[Node | None, ...] = (node.analyzer, node.selector, node.synthesizer, hedged)
        for stage in (*stages, *(leaf for _, leaf in node.difficulty)):
            if stage is not None:
                yield from refs(stage)
        for worker in (*node.workers, *(node.refine.workers if node.refine is not None else ())):
            yield from refs(worker)


def drawn(node: Node, indent: str = "") -> Iterator[Text]:
    """Yield the tree as lines, for `chorus check`."""
    if isinstance(node, Leaf):
        yield _same(f"{indent}{node.label}" + (f" → {node.ref}" if node.label != node.ref else ""))
    elif isinstance(node, Custom):
        yield _same(f"{indent}{node.label} ({node.kind})")
    else:
        candidates = counted(sum(map(leaf_calls, node.layer(node.layers - 1))), "candidate", "个候选")
        calls = counted(total_calls(node), "call", "次调用")
        yield _FLOW.filled(label=f"{indent}{node.label}", candidates=candidates, calls=calls)
        inner = indent + "  "
        if node.analyzer is not None:
            yield _row(inner, _ANALYZER, _same(node.analyzer.ref))
        for difficulty, leaf in node.difficulty:
            yield _row(inner, _same(difficulty), _ALONE.filled(ref=leaf.ref))
        if node.learned is not None:
            yield _row(inner, _ROUTE, _LEARNED.filled(workers=node.learned.workers))
        for worker in node.workers:
            yield from _drawn_worker(_WORKER, worker, inner)
        if node.refine is not None:
            yield _row(inner, _REFINE, (_LAYERS if node.refine.workers else _SAME).filled(layers=node.refine.layers))
            for worker in node.refine.workers:
                yield from _drawn_worker(_REFINER, worker, inner)
        if node.selector is not None:
            shown = _same(node.selector.ref) if isinstance(node.selector, Leaf) else next(drawn(node.selector))
            passes = _PASSES.filled(count=node.passes) if node.passes > 1 else ""
            control = _CONTROL.filled(effect=node.length_effect) if node.length_effect is not None else ""
            yield _row(
                inner,
                _SELECTOR,
                Text("{shown}{passes}{control}", "{shown}{passes}{control}").filled(
                    shown=shown, passes=passes, control=control
                ),
            )
        if node.synthesizer is not None:
            yield _row(inner, _SYNTHESIZER, _same(node.synthesizer.ref))


def _drawn_worker(role: Text, worker: Node, indent: str) -> Iterator[Text]:
    first, *rest = drawn(worker, indent)
    yield _row(indent, role, Text(first.en.strip(), first.zh.strip()))
    yield from rest


def _row(indent: str, role: Text, what: Text) -> Text:
    return Text(f"{indent}{padded(role.en, 12)} {what.en}", f"{indent}{padded(role.zh, 12)} {what.zh}")


def _same(text: str) -> Text:
    return Text(text, text)
