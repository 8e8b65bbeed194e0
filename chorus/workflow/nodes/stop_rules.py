"""When a layer is done (W7): agreement, quorum with its grace period, settled samples.

Pure: the rules see results and say what follows. `workers.py` starts and cancels. The run's
deadline is no rule of its own: it ends every call (`call_model.py`), and what failed by it arrives
here as a result like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from chorus.events import ShortcutName
from chorus.workflow.judging import agreement
from chorus.workflow.nodes.results import WorkerResult
from chorus.workflow.nodes.waves import S, Seated, Waves
from chorus.workflow.plan import Agreement, Compare, Leaf, Quorum, Samples


@dataclass(frozen=True, slots=True)
class Decision(Generic[S]):
    """What follows from one result.

    Seats to `start`; a reason to `stop` all others, at once or after `grace_secs`; samples that
    were `dropped` before they started. `agreed` is the result that needs no judge.
    """

    start: Sequence[S] = ()
    stop: ShortcutName | None = None
    grace_secs: float = 0.0
    agreed: WorkerResult | None = None
    dropped: int = 0


class StopRules(Generic[S]):
    """The rules of one layer of `seats`. `results` holds what has arrived, `agreed` the result that
    needs no judge."""

    def __init__(self, seats: Sequence[S], agreement: Agreement | None, quorum: Quorum | None) -> None:
        self.results: list[WorkerResult] = []
        self.agreed: WorkerResult | None = None
        self._waves = Waves(seats)
        self._agreement = agreement
        self._quorum = quorum
        self._keys: dict[tuple[int, Compare], str] = {}
        self._has_stopped = False

    @property
    def waiting(self) -> int:
        """How many seats have not been started."""
        return len(self._waves.waiting)

    def first(self) -> Iterator[S]:
        """Return the seats that start at once."""
        return self._waves.first()

    def has_result(self, index: int) -> bool:
        """Return whether the worker at `index` has a result."""
        return any(result.index == index for result in self.results)

    def arrived(self, seat: S, result: WorkerResult) -> Decision[S]:
        """Take the result of `seat`, and return what follows. After a decision to stop at once,
        nothing follows."""
        self.results.append(result)
        if self._has_stopped:
            return Decision()
        decision = self._decide(seat, result)
        self._has_stopped = decision.stop is not None and not decision.grace_secs
        self.agreed = decision.agreed or self.agreed
        return decision

    def _decide(self, seat: S, result: WorkerResult) -> Decision[S]:
        if self._agreement is not None:
            same = agreed(self._keyed(self._agreement.compare), self._agreement.threshold)
            if same is not None:
                return Decision(stop="agreement", agreed=same)
        grace = 0.0
        if self._quorum is not None and result.answer is not None and is_quorum(self.results, self._quorum):
            grace = self._quorum.grace_secs
            if not grace:
                return Decision(stop="quorum")
        wave = self._waves.arrived(seat, self._sample_key(seat, result))
        winner = None
        # no other worker answers: the vote is the verdict
        if wave.settled is not None and self._waves.is_all:
            keyed = self._keyed(_samples_of(seat).compare)
            winner = next(candidate for key, candidate in keyed if key == wave.settled)
        return Decision(wave.next, "quorum" if grace else None, grace, winner, len(wave.dropped))

    def _sample_key(self, seat: S, result: WorkerResult) -> str | None:
        """Return the equality key of a valid answer of a sample; None of any other result."""
        if not (isinstance(seat.node, Leaf) and seat.node.samples) or result.answer is None or not result.is_valid:
            return None
        return self._key(result, seat.node.samples.compare)

    def _keyed(self, compare: Compare) -> list[tuple[str, WorkerResult]]:
        """Return the possible answers with their equality keys, in the order of their workers."""
        candidates = (result for result in self.results if result.answer is not None and result.is_valid)
        return [(self._key(result, compare), result) for result in sorted(candidates, key=lambda result: result.index)]

    def _key(self, result: WorkerResult, compare: Compare) -> str:
        """See `agreement.key`. Computed once for each result, not again whenever another one
        arrives."""
        place = (result.index, compare)
        if place not in self._keys:
            self._keys[place] = agreement.key(result.whole, compare)
        return self._keys[place]


def agreed(keyed: Sequence[tuple[str, WorkerResult]], threshold: int) -> WorkerResult | None:
    """Return the first result that has the most frequent key.

    None where fewer than `threshold` share it.
    """
    if not keyed:
        return None
    leader, times, _ = agreement.most_frequent([key for key, _ in keyed])
    return next(result for key, result in keyed if key == leader) if times >= threshold else None


def is_quorum(results: Sequence[WorkerResult], quorum: Quorum) -> bool:
    """Return whether `results` have exactly the quorum, with whose last one its grace period
    begins.
    """
    return sum(result.answer is not None for result in results) == quorum.min


def _samples_of(seat: Seated) -> Samples:
    assert isinstance(seat.node, Leaf)
    assert seat.node.samples is not None
    return seat.node.samples
