"""One stage of a run in its journal, and errors as a trace shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from chorus.errors import ChorusError, ClientGone, DeadlineExceeded, UpstreamTimeout
from chorus.events import Fault, Path, StageFinished, StageKind, StageStarted, Status
from chorus.journal import Journal
from chorus.types import Answer
from chorus.usage import Usage
from chorus.wirejson import JSON
from chorus.workflow.judging.temperature import Temperature

_MAX_WARNINGS: Final = 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a worker stands in its workflow; the fields are those of `StageStarted`."""

    index: int = 0
    layer: int = 1
    is_hedge: bool = False


NO_PLACE: Final = Place()


class Stage:
    """One stage in the journal: `StageStarted` on entering, exactly one `StageFinished` on leaving.

    Leaving by an error writes it: cancelled, timeout or failed. The error goes on.
    """

    def __init__(
        self,
        journal: Journal,
        now: Callable[[], float],
        path: Path,
        kind: StageKind,
        name: str,
        model: str | None,
        temperature: Temperature | None,
        *,
        is_group: bool = False,
        place: Place = NO_PLACE,
        choice: int = 0,
    ) -> None:
        """`now` gives the seconds since the run started; the rest is as in `StageStarted`."""
        self._journal = journal
        self._now = now
        self._is_group = is_group
        self._place = place
        self._choice = choice
        self._kind: StageKind = kind
        self._name = name
        self._model = model
        self._temperature = temperature
        self._finished = False
        self._warnings: list[str] = []
        self.path = path
        self.first_token_at: float | None = None
        self._attempts: tuple[str, ...] = ()
        self._attempted_at: tuple[float, ...] = ()
        self._queued_at: float | None = None
        self._queue_secs = 0.0
        self.usage: Usage | None = None
        self.overrun: Fault | None = None
        """Why the answer was cut short, where it was."""

    def queued(self) -> None:
        """Note that the stage's call waits for a slot from now on."""
        self._queued_at = self._now()

    def attempting(self, instance_id: str) -> None:
        """Note an attempt. The upstream calls this each time it sends the call to an instance."""
        self._attempts = (*self._attempts, instance_id)
        self._attempted_at = (*self._attempted_at, self._now())
        self._end_queueing()

    def _end_queueing(self) -> None:
        if self._queued_at is not None:
            self._queue_secs += self._now() - self._queued_at
            self._queued_at = None

    def warn(self, sentence: str) -> None:
        """Note a part of the request that was changed for the upstream; trace and log have it."""
        if len(self._warnings) < _MAX_WARNINGS and sentence not in self._warnings:
            self._warnings.append(sentence)

    def finish(
        self,
        status: Status = "ok",
        *,
        answer: Answer | None = None,
        fault: Fault | None = None,
        details: Mapping[str, JSON] | None = None,
    ) -> None:
        """Write the stage's end. Only the first call counts."""
        if self._finished:
            return
        self._finished = True
        if status == "ok" and self.overrun is not None:
            status, fault = "timeout", self.overrun
        self._end_queueing()
        self._journal.write(
            StageFinished(
                self.path,
                self._now(),
                status,
                answer,
                self.usage,
                fault,
                self.first_token_at,
                self._attempts,
                self._queue_secs,
                {**(details or {}), "warnings": self._warnings} if self._warnings else details or {},
                self._attempted_at,
            )
        )

    def __enter__(self) -> Self:
        chosen_temperature = self._temperature
        self._journal.write(
            StageStarted(
                self.path,
                self._now(),
                self._kind,
                self._name,
                self._model,
                chosen_temperature.value if chosen_temperature else None,
                chosen_temperature.source if chosen_temperature else None,
                self._is_group,
                self._place.index,
                self._place.layer,
                self._place.is_hedge,
                self._choice,
            )
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        elif isinstance(error, ClientGone):
            self.finish("cancelled")
        elif isinstance(error, ChorusError):
            self.finish("timeout" if is_timeout(error) else "failed", fault=fault_of(error))
        elif isinstance(error, Exception):  # a cancellation is none, on asyncio and on trio
            self.finish("failed", fault=fault_of(error))
        else:
            self.finish("cancelled")


def is_timeout(error: Exception) -> bool:
    """Return whether `error` means that something took too long."""
    return isinstance(error, UpstreamTimeout | DeadlineExceeded)


def fault_of(error: Exception) -> Fault:
    """Return `error` as a trace may show it: our own with their message, any other without."""
    if isinstance(error, ChorusError):
        return Fault(error.code, error.message)
    return Fault("internal_error", f"Chorus itself failed here ({type(error).__name__}); its log has the details")
