"""The fewest calls of a request: everybody answers, and every shortcut is taken (W7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from chorus.workflow.estimate.samples import first_wave, settles, units
from chorus.workflow.plan import Custom, Flow, Leaf, Node, Scope, layer_scope, leaf_calls, selector_calls


def fewest_calls(root: Flow | Leaf) -> int:
    """Return the fewest calls of one request at `root`. A call that is cut short counts as saved,
    as it does in the trace."""
    return _fewest(root, (), ()).all_calls


@dataclass(frozen=True, slots=True)
class _Way:
    """A way through a workflow, or a part of it: its calls, and its analyzers.

    The analyzers are apart from the calls, since each is asked once.
    """

    calls: int
    analyzers: frozenset[tuple[Scope, Leaf]] = frozenset()

    @property
    def all_calls(self) -> int:
        return self.calls + len(self.analyzers)

    def then(self, other: _Way) -> _Way:
        return _Way(self.calls + other.calls, self.analyzers | other.analyzers)

    def through(self, workers: Iterable[_Way], count: int) -> _Way:
        """Return this way and then the cheapest `count` of the workers."""
        way = self
        for worker in sorted(workers, key=lambda worker: worker.calls + len(worker.analyzers - self.analyzers))[:count]:
            way = way.then(worker)
        return way


def _fewest(node: Node, scope: Scope, path: Scope) -> _Way:
    """`scope` distinguishes analyzers that read something else, as in `plan.total_calls`."""
    if not isinstance(node, Flow):
        return _Way(leaf_calls(node))
    way = _Way(0, frozenset({(scope, node.analyzer)}) if node.analyzer is not None else frozenset())
    if node.difficulty:
        return way.then(_Way(1))
    candidates = 0
    agreed: list[_Way] = []
    for number in range(node.layers):
        workers = [
            _fewest(worker, layer_scope(scope, path, number), (*path, number, place))
            for place, worker in enumerate(_asked(node, number))
        ]
        agreed += (way.through(workers, count) for count in _agreeing(node, number) if count <= len(workers))
        candidates = min(node.quorum.min, len(workers)) if node.quorum is not None else len(workers)
        way = way.through(workers, candidates)
    return min((*agreed, way.then(_Way(_judging(node, candidates)))), key=lambda possible: possible.all_calls)


def _asked(flow: Flow, number: int) -> Iterator[Node]:
    """Yield the workers of a layer, without the samples after a first wave that agrees."""
    for node, size in units(flow.layer(number)):
        for _ in range(min(size, first_wave(node))):
            yield node


def _agreeing(flow: Flow, number: int) -> Iterator[int]:
    """After how many answers no judge is needed."""
    if flow.agreement is not None:
        yield flow.agreement.threshold
    first, *others = units(flow.layer(number))
    if not others and settles(*first):
        yield first_wave(first[0])


def _judging(flow: Flow, candidates: int) -> int:
    """Return the calls that judge and merge.

    A single candidate needs no judge, a decisive verdict no synthesizer.
    """
    if flow.selector is None or candidates == 1:
        return int(flow.synthesizer is not None)
    skips_synthesizer = flow.decisive and isinstance(flow.selector, Leaf)
    judged = selector_calls(flow)
    if isinstance(flow.selector, Custom) and flow.selector.asks_each:
        judged = candidates
    return judged + int(flow.synthesizer is not None and not skips_synthesizer)
