"""Notes that a model finds in an exchange, written after the run has ended (M4).

Above: `service` opens the memorizer while the server runs. Below: `extraction` says what is asked,
`workflow.call_model` asks. No client waits for it, and a server that stops finishes it first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from chorus.admission.admission import Admitted
from chorus.clock import running_clock
from chorus.errors import ChorusError
from chorus.events import Delta, Event, Fault, RunFinished, RunStarted
from chorus.journal import Journal, Observer
from chorus.sessions.extraction import Exchange, exchange_of, extraction, noted, read_changes
from chorus.sessions.notes import NoteLimits
from chorus.snapshot import MemorySettings
from chorus.storage.base import Profiles
from chorus.storage.records import Notes
from chorus.tasks import surviving
from chorus.telemetry.tracing import Traced
from chorus.types import ChatRequest
from chorus.workflow.call_model import call_model
from chorus.workflow.judging import temperature
from chorus.workflow.judging.replies import Unreadable, new_word
from chorus.workflow.model import Model
from chorus.workflow.plan import Leaf
from chorus.workflow.run import Run

MAX_WAITING: Final = 256
"""Exchanges that wait or are read; each holds `_MOST_CHARS` characters."""
_MOST_CHARS: Final = 8000
"""Characters of an exchange that the model reads, of longer ones the beginning and the end: about
2,000 tokens, which fit any model beside the instructions and the notes."""
_AT_A_TIME: Final = 4
"""Exchanges that are read at a time: clients' requests come before them."""
_DRAIN_SECS: Final = 10.0
"""How long a server that stops goes on reading exchanges."""
_PATH: Final = ("memorize",)

Admit = Callable[[str, ChatRequest], Admitted]
"""Makes the block in which a request to the model of this name is charged to the caller of the
run. Entering it raises RateLimited or BudgetExhausted."""

_log = structlog.get_logger("chorus.sessions")


@dataclass(frozen=True, slots=True)
class _Work:
    """One exchange of `user`, who belongs to `owner`."""

    profiles: Profiles
    owner: str
    user: str
    model: Model
    settings: MemorySettings
    exchange: Exchange
    observers: Sequence[Observer]
    admit: Admit | None = None


class Memorizer:
    """Reads exchanges with a model, each in a task of the server."""

    def __init__(
        self,
        observer: Callable[[], Observer],
        keep: Callable[[str, Sequence[Event]], None],
        traced: Callable[[str], Traced],
    ) -> None:
        """`observer` makes an observer for each stage that is written; `keep` adds its events to
        the trace of this workflow id, and `traced` returns that trace where spans are made."""
        self._observer = observer
        self._traced = traced
        self._keep = keep
        self._group: TaskGroup | None = None
        self._scopes: set[anyio.CancelScope] = set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Read exchanges while the block lasts, and at its end those that wait still."""
        self._slots = anyio.CapacityLimiter(_AT_A_TIME)
        async with anyio.create_task_group() as self._group:
            try:
                yield
            finally:
                self._group = None
                for scope in self._scopes:
                    scope.deadline = anyio.current_time() + _DRAIN_SECS

    def observers(
        self,
        settings: MemorySettings,
        profiles: Profiles,
        owner: str,
        user: str,
        request: ChatRequest,
        counting: Sequence[Observer] = (),
        admit: Admit | None = None,
    ) -> tuple[Observer, ...]:
        """Return the observers of a run that answers `request`: none where no model is configured.
        `counting` observe the stage that reads the exchange, and `admit` charges its call."""
        model = settings.model
        if model is None:
            return ()
        started: RunStarted | None = None

        def observe(event: Event) -> None:
            nonlocal started
            if isinstance(event, RunStarted):
                started = event
            elif isinstance(event, RunFinished) and started is not None:
                exchange = exchange_of(request, event.answers[0], _MOST_CHARS)
                if exchange is not None:
                    work = _Work(profiles, owner, user, model, settings, exchange, counting, admit)
                    self._start(work, started, event.at)

        return (observe,)

    def _start(self, work: _Work, started: RunStarted, at: float) -> None:
        """Begin to read an exchange that ended `at` seconds after its run had begun."""
        if self._group is None or len(self._scopes) >= MAX_WAITING:
            _log.warning("memory: an exchange is not read", waiting=len(self._scopes))
            return
        traced = self._traced(started.workflow_id)
        observers = (self._observer(), *work.observers, *traced.observers)
        journal = Journal(observers, workflow_id=started.workflow_id)
        request = ChatRequest(work.model.name, ())
        clock = running_clock()
        began = clock() - at
        run = Run(request, started.request_id, {}, {}, journal, Random(), clock, began, streaming=False)
        run.outgoing = traced.headers
        # shielded: a server that is cancelled waits for the drain, too
        scope = anyio.CancelScope(shield=True)
        self._scopes.add(scope)
        self._group.start_soon(self._read, work, run, scope)

    async def _read(self, work: _Work, run: Run, scope: anyio.CancelScope) -> None:
        workflow_id = run.journal.workflow_id
        try:
            with scope, surviving("an exchange could not be read"):
                async with self._slots:
                    await memorize(work, run)
            if scope.cancelled_caught:
                _log.warning("memory: an exchange is not read: the server stops", workflow_id=workflow_id)
        finally:
            self._scopes.discard(scope)
            self._keep(workflow_id, [event for event in run.journal.events if not isinstance(event, Delta)])


async def memorize(work: _Work, run: Run) -> None:
    """Ask the model for notes in the exchange, and merge them into those on the user. What goes
    wrong is in the stage and in the log."""
    model, profiles = work.model, work.profiles
    limits = NoteLimits(work.settings.max_notes, work.settings.max_tokens)
    chosen_temperature = temperature.judge(Leaf(model.name, model.name), model.temperature)
    takes_schema = "json_schema" in model.capabilities
    mark = new_word()
    charge = AsyncExitStack()  # settled after the stage, whose end says what was used
    try:
        async with charge:
            with run.stage(_PATH, "memorize", "memory", model.name, chosen_temperature) as stage:
                profile = await profiles.get(work.owner, work.user)
                before = profile.notes if profile is not None else {}
                request = extraction(
                    model.name, work.exchange, before, mark, chosen_temperature.value, takes_schema=takes_schema
                )
                if work.admit is not None:
                    admitted = await charge.enter_async_context(work.admit(model.name, request))
                    if admitted.bill is not None:
                        run.journal.observe(admitted.bill.watch)
                answer = await call_model(run, stage, model, request, timeout=work.settings.timeout_secs, stream=False)
                try:
                    changes = read_changes(answer.text, mark)
                except Unreadable as problem:
                    fault = Fault("unreadable", f"The notes are unusable: {problem}")
                    _log.warning(
                        "memory: an exchange is not noted", workflow_id=run.journal.workflow_id, code=fault.code
                    )
                    stage.finish("failed", answer=answer, fault=fault)
                    return

                def change(notes: Notes) -> Notes:
                    return noted(notes, changes, limits)

                if changes:
                    await profiles.update(work.owner, work.user, change)
                stage.finish(details={"notes": len(changes)})
    except ChorusError as problem:
        _log.warning(
            "memory: an exchange is not noted",
            workflow_id=run.journal.workflow_id,
            code=problem.code,
            reason=problem.log_message,
        )
