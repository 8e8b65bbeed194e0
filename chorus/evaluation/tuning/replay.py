"""When a panel would have gone on, with which candidates: the shortcuts on stored timings. Pure.

The rules are those of `workflow.nodes.stop_rules` and `waves`, for answers whose times are known;
a test compares the two on the engine's own clock. A call that is cut short counts as paid in full.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chorus.evaluation.tuning.evidence import StoredAnswer
from chorus.workflow.judging.agreement import most_frequent, needed, settled

_CONFIDENCE: Final = 0.95
"""The default of `samples`."""
_FIRST_WAVE: Final = needed(0, 0, _CONFIDENCE)


@dataclass(frozen=True, slots=True)
class Replayed:
    """The candidates by their places among the seats; `agreed` is the place of the answer that
    needs no judge. `started` has the places of all calls that were made; `secs` is when the judge
    would have been asked."""

    candidates: tuple[int, ...]
    agreed: int | None
    started: tuple[int, ...]
    secs: float


def replay(
    answers: Sequence[StoredAnswer], groups: Sequence[int], threshold: int | None, quorum: int | None
) -> Replayed:
    """Return what the seats with these `answers` give. `groups` has for each seat the number of the
    samples that it belongs to, -1 where it is no sample."""
    return _Replay(answers, groups, threshold, quorum).run()


class _Replay:
    def __init__(
        self, answers: Sequence[StoredAnswer], groups: Sequence[int], threshold: int | None, quorum: int | None
    ) -> None:
        self._answers = answers
        self._groups = groups
        self._threshold = threshold
        self._quorum = quorum
        self._running: list[tuple[float, int]] = []
        self._started: list[int] = []
        self._waiting: dict[int, list[int]] = {}
        self._out: dict[int, int] = {}
        self._keys: dict[int, list[str]] = {}
        self._arrived: list[int] = []
        self._counts: dict[str, int] = {}

    def run(self) -> Replayed:
        for seat, group in enumerate(self._groups):
            if group < 0:
                self._start(seat, 0.0)
            else:
                self._waiting.setdefault(group, []).append(seat)
        for group in self._waiting:
            self._wave(group, _FIRST_WAVE, 0.0)
        now, agreed = 0.0, None
        while self._running:
            now, seat = heapq.heappop(self._running)
            key = self._answers[seat].key
            if key is not None:
                self._arrived.append(seat)
                self._counts[key] = self._counts.get(key, 0) + 1
            if self._threshold is not None and self._counts and max(self._counts.values()) >= self._threshold:
                agreed = self._leader()
                break
            if key is not None and self._quorum is not None and len(self._arrived) == self._quorum:
                break
            winner = self._sample_arrived(seat, key, now)
            if winner is not None:
                agreed = winner
                break
        return Replayed(tuple(sorted(self._arrived)), agreed, tuple(self._started), now)

    def _start(self, seat: int, now: float) -> None:
        self._started.append(seat)
        heapq.heappush(self._running, (now + self._answers[seat].secs, seat))

    def _wave(self, group: int, count: int, now: float) -> None:
        taken, self._waiting[group] = self._waiting[group][:count], self._waiting[group][count:]
        self._out[group] = self._out.get(group, 0) + len(taken)
        for seat in taken:
            self._start(seat, now)

    def _sample_arrived(self, seat: int, key: str | None, now: float) -> int | None:
        """Start further samples of the seat's group when all that run have arrived.

        Return the place of the answer that the samples have settled on, where no other worker
        answers; else None.
        """
        group = self._groups[seat]
        if group < 0:
            return None
        keys = self._keys.setdefault(group, [])
        self._out[group] -= 1
        if key is not None:
            keys.append(key)
        if self._out[group]:
            return None
        leader, first, second = most_frequent(keys) if keys else ("", 0, 0)
        if first and settled(first, second, _CONFIDENCE):
            self._waiting[group] = []
            is_all = all(other == group for other in self._groups)
            return (
                next(place for place in sorted(self._arrived) if self._answers[place].key == leader) if is_all else None
            )
        more = needed(first, second, _CONFIDENCE) if first >= 2 else len(self._waiting[group])
        self._wave(group, more, now)
        return None

    def _leader(self) -> int:
        """Return the first candidate that gives the most frequent answer, by place."""
        places = sorted(self._arrived)
        leader, _, _ = most_frequent([self._answers[place].key or "" for place in places])
        return next(place for place in places if self._answers[place].key == leader)
