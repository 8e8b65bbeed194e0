"""Samples of one model in waves: no more of them than it takes to settle the answer (W7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from chorus.workflow.judging.agreement import most_frequent, needed, settled
from chorus.workflow.plan import Leaf, Node, Samples


class Seated(Protocol):
    """A place with a node."""

    @property
    def node(self) -> Node: ...


S = TypeVar("S", bound=Seated)


@dataclass(slots=True)
class _Group(Generic[S]):
    """The samples of one leaf: those that wait, how many are out, and what came."""

    samples: Samples
    waiting: list[S]
    out: int = 0
    keys: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Wave(Generic[S]):
    """The seats to start `next`, or the key of the `settled` answer and the seats `dropped`."""

    next: Sequence[S] = ()
    settled: str | None = None
    dropped: Sequence[S] = ()


class Waves(Generic[S]):
    """Which seats start when. The first wave is as small as could settle it, and so is each one
    after; answers of which no two are the same cannot be counted, so that the rest starts at once.
    Pure: it decides, the caller starts."""

    def __init__(self, seats: Sequence[S]) -> None:
        self._others = [seat for seat in seats if _samples(seat) is None]
        self._groups: dict[str, _Group[S]] = {}
        for seat in seats:
            if (samples := _samples(seat)) is not None:
                self._groups.setdefault(samples.group, _Group(samples, [])).waiting.append(seat)

    @property
    def is_all(self) -> bool:
        """Whether every seat is a sample of the same leaf."""
        return not self._others and len(self._groups) == 1

    @property
    def waiting(self) -> list[S]:
        """The seats that have not been started."""
        return [seat for group in self._groups.values() for seat in group.waiting]

    def first(self) -> Iterator[S]:
        """Return the seats that start at once."""
        yield from self._others
        for group in self._groups.values():
            yield from _take(group, needed(0, 0, group.samples.confidence))

    def arrived(self, seat: S, key: str | None) -> Wave[S]:
        """Return what follows when a seat has an answer of this `key`; None: it has no answer."""
        samples = _samples(seat)
        if samples is None:
            return Wave()
        group = self._groups[samples.group]
        group.out -= 1
        if key is not None:
            group.keys.append(key)
        if group.out:
            return Wave()
        leader, first, second = most_frequent(group.keys) if group.keys else ("", 0, 0)
        if first and settled(first, second, samples.confidence):
            dropped, group.waiting = group.waiting, []
            return Wave(settled=leader, dropped=dropped)
        is_uncountable = first < 2
        more = len(group.waiting) if is_uncountable else needed(first, second, samples.confidence)
        return Wave(next=_take(group, more))


def _samples(seat: Seated) -> Samples | None:
    return seat.node.samples if isinstance(seat.node, Leaf) else None


def _take(group: _Group[S], count: int) -> list[S]:
    taken, group.waiting = group.waiting[:count], group.waiting[count:]
    group.out += len(taken)
    return taken
