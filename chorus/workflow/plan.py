"""What a workflow is: a frozen tree, read from the JSON of a configuration (C5, C6, C8). Pure: no I/O, no models.

leaf  = "glm" | {"ref": "glm", "name"?: label, "temperature"?, "auto_temperature"?, "system"?, "timeout_secs"?,
                 "samples"?, "max_tokens"?}
flow  = {"workers": [node, ...], "analyzer"?: leaf, "selector"?: leaf, "synthesizer"?: leaf, "name"?: label}
node  = leaf | flow | {"kind": NAME, ...}          (kinds: see `kinds.py`)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from chorus.wirejson import JSON


@dataclass(frozen=True, slots=True)
class Leaf:
    """A call of one model. `label` is what the trace calls it; unset fields leave the matter to the model."""

    ref: str
    label: str
    temperature: float | None = None
    auto_temperature: bool | None = None
    system: str | None = None
    timeout_secs: float | None = None
    max_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """Workers, and those who judge and merge them. Has a selector, a synthesizer or both."""

    workers: tuple[Node, ...]
    analyzer: Leaf | None = None
    selector: Leaf | None = None
    synthesizer: Leaf | None = None
    label: str = "workflow"


@dataclass(frozen=True, slots=True)
class Custom:
    """A node of a registered kind; `spec` is its JSON as configured."""

    kind: str
    label: str
    spec: Mapping[str, JSON] = field(default_factory=dict)
    refs: tuple[str, ...] = ()


Node = Leaf | Flow | Custom


def replicate(flow: Flow, depth: int) -> Flow:
    """`nested_worker_depth` (C6): each leaf worker of the root yields 2^(depth-1) candidates.

    Every leaf becomes a nested workflow that holds two copies of it, `depth - 1` times over, with the root's analyzer,
    selector and synthesizer at each level; workers that are something else stay as they are.
    """

    def grow(node: Node, levels: int) -> Node:
        if levels == 0 or not isinstance(node, Leaf):
            return node
        halves = tuple(grow(replace(node, label=f"{node.label}.{half}"), levels - 1) for half in (1, 2))
        return replace(flow, workers=halves, label=node.label)

    return replace(flow, workers=tuple(grow(worker, depth - 1) for worker in flow.workers))


def leaf_calls_after(flow: Flow, depth: int) -> int:
    """How many worker calls `replicate(flow, depth)` will make, without building it."""
    factor: int = 2 ** min(depth - 1, 64)
    return sum(factor if isinstance(worker, Leaf) else leaf_calls(worker) for worker in flow.workers)


def leaf_calls(node: Node) -> int:
    """Worker calls that one request makes at this node."""
    if isinstance(node, Flow):
        return sum(leaf_calls(worker) for worker in node.workers)
    return 1 if isinstance(node, Leaf) else max(1, len(node.refs))


def total_calls(node: Node) -> int:
    """All upstream calls that one request makes at this node when every stage is needed."""
    if not isinstance(node, Flow):
        return leaf_calls(node)
    control = sum(stage is not None for stage in (node.analyzer, node.selector, node.synthesizer))
    return control + sum(total_calls(worker) for worker in node.workers)


def refs(node: Node) -> Iterator[str]:
    """Every model reference at and below this node, repeats included."""
    if isinstance(node, Leaf):
        yield node.ref
    elif isinstance(node, Custom):
        yield from node.refs
    else:
        for stage in (node.analyzer, node.selector, node.synthesizer):
            if stage is not None:
                yield stage.ref
        for worker in node.workers:
            yield from refs(worker)


def drawn(node: Node, indent: str = "") -> Iterator[str]:
    """The tree as lines of text, for `chorus check`."""
    if isinstance(node, Leaf):
        yield f"{indent}{node.label}" + (f" → {node.ref}" if node.label != node.ref else "")
    elif isinstance(node, Custom):
        yield f"{indent}{node.label} ({node.kind})"
    else:
        yield f"{indent}{node.label}: {leaf_calls(node)} candidates, {total_calls(node)} calls"
        inner = indent + "  "
        if node.analyzer is not None:
            yield f"{inner}analyzer     {node.analyzer.ref}"
        for worker in node.workers:
            first, *rest = drawn(worker, inner)
            yield f"{inner}worker       {first.strip()}"
            yield from rest
        if node.selector is not None:
            yield f"{inner}selector     {node.selector.ref}"
        if node.synthesizer is not None:
            yield f"{inner}synthesizer  {node.synthesizer.ref}"
