"""From the JSON of a configuration to a `Flow`, with all of its faults at once (C2, C5, C8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from chorus.errors import Problem
from chorus.wirejson import JSON
from chorus.workflow.kinds import NodeKind
from chorus.workflow.parse_options import JUDGING, OPTIONS, Judging, Options, describe, judging, samples
from chorus.workflow.plan import Custom, Flow, Leaf, Node, leaf_calls_after, replicate

_LEAF_KEYS = (
    "ref",
    "name",
    "temperature",
    "auto_temperature",
    "system",
    "timeout_secs",
    "samples",
    "max_tokens",
)
_FLOW_KEYS = ("workers", "analyzer", "selector", "synthesizer", "name", *OPTIONS)
_FLOW_MARKS = ("workers", "analyzer", "selector", "synthesizer")
_ABSENT = object()


def parse(
    tree: JSON,
    *,
    label: str,
    place: str,
    depth: int = 1,
    max_leaf_calls: int = 256,
    kinds: Mapping[str, NodeKind],
) -> tuple[Flow | None, list[Problem]]:
    """Read a workflow. `place` is where it stands in the configuration, for the problems; `depth`
    replicates its leaves (C6). Whether its models exist is the caller's to check, over all
    workflows at once (C8)."""
    reader = _Reader(kinds)
    flow = reader.root(tree, label, place)
    if flow is not None and not reader.problems:
        calls = leaf_calls_after(flow, depth)
        if calls > max_leaf_calls:
            text = (
                f"makes {calls} worker calls for one request, more than max_leaf_calls = {max_leaf_calls}; "
                "lower nested_worker_depth or raise [workflow] max_leaf_calls"
            )
            reader.problems.append(Problem(place, text))
        else:
            flow = replicate(flow, depth)
    return (None if reader.problems else flow), reader.problems


class _Reader:
    """Reads nodes and collects what is wrong with them."""

    def __init__(self, kinds: Mapping[str, NodeKind]) -> None:
        self._kinds = kinds
        self.problems: list[Problem] = []

    def _wrong(self, place: str, message: str) -> None:
        self.problems.append(Problem(place, message))

    def root(self, tree: JSON, label: str, place: str) -> Flow | None:
        if not isinstance(tree, Mapping):
            self._wrong(place, f"expected a workflow object with `workers`, found {describe(tree)}")
            return None
        if "workers" not in tree:
            self._wrong(place, "a workflow needs `workers`: a list of at least one model or nested workflow")
            return None
        return self._flow(tree, label, place, parent=None)

    def _flow(self, tree: Mapping[str, JSON], label: str, place: str, parent: Flow | None) -> Flow | None:
        self._check_keys(tree, _FLOW_KEYS, place)
        here = self._stages(tree, label, place, parent)
        workers = self._workers(tree.get("workers"), f"{place}.workers", here)
        if not workers:
            return None
        options = Options(tree, place, self._wrong)
        return replace(
            here,
            workers=workers,
            quorum=options.quorum(len(workers)),
            agreement=options.agreement(len(workers)),
            hedge=options.hedge(self._one),
            difficulty=options.difficulty(self._one, has_analyzer=here.analyzer is not None),
            refine=options.refine(lambda value, where: self._workers(value, where, here)),
            decisive=options.decisive(
                has_selector_and_synthesizer=here.selector is not None and here.synthesizer is not None
            ),
        )

    def _stages(self, tree: Mapping[str, JSON], label: str, place: str, parent: Flow | None) -> Flow:
        """Return a flow that has everything but its workers."""
        named = tree.get("name", label)
        if not isinstance(named, str) or not named:
            self._wrong(f"{place}.name", f"expected a label, found {describe(named)}")
            named = label
        own = parent or Flow(())
        analyzer = self._stage(tree.get("analyzer", _ABSENT), f"{place}.analyzer", own.analyzer)
        synthesizer = self._stage(tree.get("synthesizer", _ABSENT), f"{place}.synthesizer", own.synthesizer)
        selector, how = self._selector(tree.get("selector", _ABSENT), f"{place}.selector", own)
        if selector is None and synthesizer is None:
            self._wrong(place, "a workflow needs a `selector`, a `synthesizer` or both")
        return Flow((), analyzer, selector, synthesizer, named, how.passes, how.length_effect)

    def _workers(self, workers: JSON, place: str, parent: Flow) -> tuple[Node, ...]:
        if not isinstance(workers, Sequence) or isinstance(workers, str):
            self._wrong(place, f"expected a list of workers, found {describe(workers)}")
            return ()
        if not workers:
            self._wrong(place, "is empty; expected at least one model or nested workflow")
        nodes: list[Node] = []
        for position, worker in enumerate(workers):
            nodes.extend(self._worker(worker, f"{place}[{position}]", parent, position))
        return _distinct(nodes)

    def _stage(self, value: JSON, place: str, inherited: Leaf | None) -> Leaf | None:
        """Return a control stage: absent inherits, null is none at all."""
        if value is _ABSENT:
            return inherited
        return self._one(value, place) if value is not None else None

    def _selector(self, value: JSON, place: str, own: Flow) -> tuple[Leaf | Custom | None, Judging]:
        """Return a selector, and how it judges."""
        if value is _ABSENT:
            return own.selector, Judging(own.passes, own.length_effect)
        if not isinstance(value, Mapping):
            return self._stage(value, place, None), Judging()
        if "kind" in value:
            [*kinds] = self._custom(value, place, "rank")
            return (kinds[0] if kinds else None), Judging()
        leaf = {key: item for key, item in value.items() if key not in JUDGING}
        return self._one(leaf, place), judging(value, place, self._wrong)

    def _one(self, value: JSON, place: str) -> Leaf | None:
        """Return a leaf that is asked once."""
        if isinstance(value, Mapping) and "samples" in value:
            self._wrong(f"{place}.samples", "only a worker can be sampled several times")
            return None
        leaves = self._leaf(value, place)
        return leaves[0] if leaves else None

    def _worker(self, value: JSON, place: str, parent: Flow, position: int) -> Sequence[Node]:
        if isinstance(value, Mapping):
            if "kind" in value:
                return self._custom(value, place, "answer")
            if any(mark in value for mark in _FLOW_MARKS):
                if "workers" not in value:
                    self._wrong(place, "a nested workflow needs `workers`")
                    return ()
                nested = self._flow(value, f"workflow {position + 1}", place, parent)
                return (nested,) if nested is not None else ()
        return self._leaf(value, place)

    def _custom(self, value: Mapping[str, JSON], place: str, verb: str) -> Sequence[Custom]:
        """Return a node of a registered kind; `verb` is what it is needed for."""
        name = value["kind"]
        fitting = {known: kind for known, kind in self._kinds.items() if callable(getattr(kind, verb, None))}
        kind = fitting.get(name) if isinstance(name, str) else None
        if kind is None:
            known = ", ".join(sorted(fitting)) or "none is installed"
            what = "selector" if verb == "rank" else "worker"
            self._wrong(f"{place}.kind", f"unknown node kind {describe(name)}; known kinds of {what}: {known}")
            return ()
        for message in kind.problems(value):
            self._wrong(place, message)
        label = value.get("name", name)
        asks_each, asks_nobody = (bool(getattr(kind, said, False)) for said in ("asks_each", "asks_nobody"))
        return (Custom(name, str(label), dict(value), tuple(kind.refs(value)), asks_each, asks_nobody),)

    def _leaf(self, value: JSON, place: str) -> Sequence[Leaf]:
        if isinstance(value, str):
            value = {"ref": value}
        if not isinstance(value, Mapping):
            self._wrong(place, f"expected a model name or an object with `ref`, found {describe(value)}")
            return ()
        before = len(self.problems)
        self._check_keys(value, _LEAF_KEYS, place)
        for key in ("ref", "name", "system"):
            if key in value and (not isinstance(value[key], str) or not value[key]):
                self._wrong(f"{place}.{key}", f"expected a non-empty string, found {describe(value[key])}")
        if "ref" not in value and "name" not in value:
            self._wrong(place, "names no model: expected `ref` (or `name`)")
        self._check_number(value, "temperature", place, 0, 2)
        self._check_number(value, "timeout_secs", place, 0, None)
        most = value.get("max_tokens", 1)
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            self._wrong(f"{place}.max_tokens", f"expected a positive integer, found {describe(most)}")
        times, sampled = samples(value.get("samples", 1), f"{place}.samples", self._wrong)
        if not isinstance(value.get("auto_temperature", False), bool):
            self._wrong(
                f"{place}.auto_temperature",
                f"expected true or false, found {describe(value['auto_temperature'])}",
            )
        if len(self.problems) > before:
            return ()
        ref = value.get("ref", value.get("name"))
        leaf = Leaf(
            ref,
            value.get("name", ref),
            value.get("temperature"),
            value.get("auto_temperature"),
            value.get("system"),
            value.get("timeout_secs"),
            value.get("max_tokens"),
            sampled if times > 1 else None,
        )
        return (leaf,) * times

    def _check_number(self, value: Mapping[str, JSON], key: str, place: str, low: float, high: float | None) -> None:
        given = value.get(key)
        if key not in value or given is None:
            return
        is_valid = isinstance(given, int | float) and not isinstance(given, bool)
        if not is_valid or given < low or (high is not None and given > high) or (high is None and given <= low):
            wanted = f"a number from {low} to {high}" if high is not None else f"a number above {low}"
            self._wrong(f"{place}.{key}", f"expected {wanted}, found {describe(given)}")

    def _check_keys(self, value: Mapping[str, JSON], known: Sequence[str], place: str) -> None:
        for key in value:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"; did you mean `{near[0]}`?" if near else f"; known keys: {', '.join(known)}"
                self._wrong(f"{place}.{key}", f"unknown key{hint}")


def _distinct(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return the same nodes with distinct labels: a trace with two workers `glm` names neither."""
    labels = [node.label for node in nodes]
    seen: dict[str, int] = {}
    distinct: list[Node] = []
    for node in nodes:
        if labels.count(node.label) > 1:
            seen[node.label] = seen.get(node.label, 0) + 1
            node = replace(node, label=f"{node.label}#{seen[node.label]}")
        distinct.append(node)
    return tuple(distinct)
