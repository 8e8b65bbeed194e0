"""What a run says of the workers that a learned route picked: verdict and feedback.

The verdict is the judge's, the feedback a person's. Pure: it reads the events of a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from chorus.events import Event, Path, StageFinished, StageStarted, WorkersPicked
from chorus.workflow.learned_route import Counts

_SUFFIX: Final = re.compile(r"( \(layer \d+\))?( \(hedge\))?$")
"""What the trace adds to the name of a worker."""


class Credit(msgspec.Struct, frozen=True):
    """Counts of one worker for one task type."""

    task_type: str
    worker: str
    counts: Counts


def verdict_credits(events: Iterable[Event]) -> list[Credit]:
    """Return the credits of the judge's verdict; empty where no learned route picked.

    The winner has won, the other candidates have not, and a worker that failed has lost. Where
    several passes of the judge disagree, each has its share.
    """
    return [credit for picked in _picked([*events]) for credit in picked.verdicts()]


def feedback_credits(events: Iterable[Event], score: float) -> list[Credit]:
    """Return the credits of a feedback of `score`, from 0 to 1, on the answer of a run.

    It counts for the worker whose answer was chosen, or in equal parts for all that answered where
    nobody chose.
    """
    return [credit for picked in _picked([*events]) for credit in picked.feedback(score)]


def _picked(events: list[Event]) -> Iterator[_Picked]:
    for event in events:
        if isinstance(event, WorkersPicked):
            yield _Picked(event, events)


class _Picked:
    """The picked workers of one workflow of a run, and how their stages ended."""

    def __init__(self, picked: WorkersPicked, events: list[Event]) -> None:
        self._task_type = picked.task_type
        self._worker_of = {
            member: pick.worker for pick in picked.picks if pick.is_picked for member in (*pick.members, pick.worker)
        }
        path = picked.path
        started: dict[Path, StageStarted] = {}
        self._ok: dict[str, list[StageFinished]] = {}
        self._failed: set[str] = set()
        self._selector: StageFinished | None = None
        for event in events:
            if isinstance(event, StageStarted) and event.path[:-1] == path:
                started[event.path] = event
            elif isinstance(event, StageFinished) and (stage := started.get(event.path)) is not None:
                if stage.stage == "selector":
                    self._selector = event
                elif stage.stage == "worker" and (worker := self._worker(stage.name)) is not None:
                    if event.status == "ok":
                        self._ok.setdefault(worker, []).append(event)
                    elif event.status in ("failed", "timeout"):
                        self._failed.add(worker)

    def verdicts(self) -> Iterator[Credit]:
        winner, share = self._winner(), 1.0
        is_judged = self._selector is not None and self._selector.status == "ok" and len(self._ok) > 1
        if is_judged and self._selector is not None:
            confidence = self._selector.details.get("confidence")
            share = float(confidence) if isinstance(confidence, int | float) else 1.0
        for worker, stages in self._ok.items():
            answers, tokens = _answers(stages)
            if is_judged and winner is not None:
                won = share if worker == winner else (1.0 - share) / (len(self._ok) - 1)
                yield self._credit(worker, Counts(verdicts=1.0, won=won, answers=answers, tokens=tokens))
            elif answers:
                yield self._credit(worker, Counts(answers=answers, tokens=tokens))
        for worker in sorted(self._failed - self._ok.keys()):
            yield self._credit(worker, Counts(verdicts=1.0))

    def feedback(self, score: float) -> Iterator[Credit]:
        winner = self._winner()
        liked = [winner] if winner is not None else [*self._ok]
        for worker in liked:
            yield self._credit(worker, Counts(feedback=1.0 / len(liked), liked=score / len(liked)))

    def _winner(self) -> str | None:
        name = self._selector.details.get("selected_worker") if self._selector is not None else None
        return self._worker(name) if isinstance(name, str) else None

    def _worker(self, name: str) -> str | None:
        return self._worker_of.get(name) or self._worker_of.get(_SUFFIX.sub("", name))

    def _credit(self, worker: str, counts: Counts) -> Credit:
        return Credit(self._task_type, worker, counts)


def _answers(stages: Iterable[StageFinished]) -> tuple[float, float]:
    """Return how many answers there are with a known length, and their tokens."""
    lengths = [stage.usage.completion_tokens for stage in stages if stage.usage is not None]
    return float(len(lengths)), float(sum(lengths))
