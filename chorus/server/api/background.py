"""Responses that are made in the background (A3): the server owns their runs, not a connection.

Their journals are what late readers follow: `GET /v1/responses/{id}?stream=true&starting_after=N`
reads from its beginning.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import anyio
import structlog
from anyio.abc import TaskGroup, TaskStatus
from starlette.types import Scope, Send

from chorus.auth.principal import Principal
from chorus.cancellation import CancelSignal, run_until
from chorus.errors import ClientGone, NotSupported, Stopping, StorageUnavailable, TooManyRuns
from chorus.events import RunFailed, RunFinished
from chorus.journal import Journal
from chorus.server.api.run_records import RENEW_SECS, RunRecords
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.progress_encoder import ProgressEncoder
from chorus.server.dialects.responses.fields import ResponsesOptions
from chorus.server.dialects.responses.items import response_body
from chorus.server.dialects.responses.stream import ResponsesEncoder
from chorus.server.http.frames import Encoder
from chorus.server.http.framing import SSE
from chorus.server.http.respond import StreamResponse
from chorus.server.http.wire import Header, body_writer_of, disconnect_of
from chorus.service import Chorus
from chorus.storage.records import RunStatus
from chorus.tasks import cancelled_at_end, surviving
from chorus.telemetry.runlog import RunLog

MAX_LIVE: Final = 256
"""Runs in the background at a time.

Nobody holds a connection for them, so nothing else bounds them.
"""
_KEEP_ENDED: Final = 64
_KEEP_BYTES: Final = 64 * 1024 * 1024
"""How many journals of ended runs are kept for late readers, and how much text in them."""

NOT_SHARED: Final = "The storage is away: only this server knows the background response."
_log = structlog.get_logger("chorus.server")


@dataclass(eq=False, slots=True)
class BackgroundRun:
    """One run. `context` is what its encoders need."""

    journal: Journal
    context: ResponseContext[ResponsesOptions]
    cancelled: CancelSignal = field(default_factory=CancelSignal)
    is_local: bool = False
    """Whether other processes do not know it, since the store was away when it began."""

    async def cancel(self) -> None:
        """Stop the run, and wait until its journal has ended."""
        self.cancelled.set()
        await self.journal.ended()


def queued(context: ResponseContext[ResponsesOptions]) -> dict[str, Any]:
    """Return the `Response` of a run that is about to begin."""
    return response_body(context, (), None, "queued")


async def follow(
    run: BackgroundRun,
    scope: Scope,
    send: Send,
    *,
    after: int | None = None,
    heartbeat_secs: float,
    headers: Callable[[], Sequence[Header]] = tuple,
) -> None:
    """Send the events of `run` after sequence number `after`, until it ends or the reader leaves.

    None: from the first event on.
    """
    encoder: Encoder = ResponsesEncoder(run.context, after)
    if run.context.parsed.progress:
        encoder = ProgressEncoder(encoder)
    stream = StreamResponse(send, encoder, SSE(None), headers, heartbeat_secs, body_writer_of(scope))
    try:
        with suppress(ClientGone):
            await run_until(disconnect_of(scope), partial(stream.follow, run.journal, held=False))
    except anyio.get_cancelled_exc_class():  # the server stops
        with anyio.move_on_after(1, shield=True):
            await stream.fail(Stopping(), 0.0)
        raise


def _status(journal: Journal) -> RunStatus:
    """Return how the run of `journal` ended; cancelled where it had not begun."""
    over = journal.events[-1] if journal.events else None
    if isinstance(over, RunFinished):
        return "completed"
    return over.status if isinstance(over, RunFailed) else "cancelled"


class BackgroundRuns:
    """The runs of one server by owner and response id: another owner's run does not exist."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus
        self.records = RunRecords(chorus.storage.runs, chorus.writes)
        self._group: TaskGroup | None = None
        self._runs: OrderedDict[tuple[str, str], BackgroundRun] = OrderedDict()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Let runs be started in this block; leaving it stops those that go on."""
        async with cancelled_at_end() as self._group:
            self._group.start_soon(self._renew)
            yield

    def get(self, owner: str, response_id: str) -> BackgroundRun | None:
        """Return the run of this response of `owner`: live, or ended not long ago."""
        return self._runs.get((owner, response_id))

    def forget(self, owner: str, response_id: str) -> None:
        """Let nobody read this run any more."""
        self._runs.pop((owner, response_id), None)

    async def start(
        self,
        parsed: ParsedRequest[ResponsesOptions],
        begun: Callable[[Journal], ResponseContext[ResponsesOptions]],
        caller: Principal,
        *,
        unique: str,
        request_id: str,
    ) -> BackgroundRun:
        """Begin to answer `parsed`; returns at once. `caller` pays for it and owns the response.
        `begun` is called with the journal before anything stands in it.

        Raises:
            TooManyRuns: as many as there may be are going on.
            RateLimited: a rate limit of the caller is reached.
            UnknownModel: nothing has that name.
            NotSupported: the ASGI server has not run the application's lifespan.
        """
        if self._group is None:
            raise NotSupported("Background responses need a server that runs the application's lifespan.")
        self._forget_old()
        if self._live() >= MAX_LIVE:
            raise TooManyRuns(f"{MAX_LIVE} background responses are being made already; try again later.")
        run: BackgroundRun = await self._group.start(self._drive, parsed, begun, caller, unique, request_id)
        return run

    async def _drive(
        self,
        parsed: ParsedRequest[ResponsesOptions],
        begun: Callable[[Journal], ResponseContext[ResponsesOptions]],
        caller: Principal,
        unique: str,
        request_id: str,
        *,
        task_status: TaskStatus[BackgroundRun],
    ) -> None:
        log = RunLog(self._chorus.repeats)
        cancelled = CancelSignal()
        ids = {"request_id": request_id, "unique": unique}
        run = None
        try:
            async with self._chorus.run(
                parsed.requests,
                **ids,
                streaming=True,
                observers=(log,),
                cancel_signal=cancelled,
                caller=caller,
                side=parsed.side,
                recall_user=parsed.recall_user,
                notes=parsed.notes,
            ) as journal:
                run = BackgroundRun(journal, begun(journal), cancelled)
                place = (caller.owner, run.context.id)
                self._runs[place] = run
                if not await self.records.begin(place, queued(run.context)):
                    run.is_local = True
                    self._chorus.metrics.storage_unavailable("runs")
                    self._chorus.past_runs.note_at_end(journal, NOT_SHARED)
                task_status.started(run)
                await journal.ended()
        except Exception:
            if run is None:
                raise  # to the caller of start
            # and must not end the others
            _log.exception("a background response failed", request_id=request_id)
        finally:
            if run is not None:
                self.records.end((caller.owner, run.context.id), _status(run.journal))
        _log.info("background", request_id=request_id, **log.summary)

    def _live(self) -> int:
        return sum(not run.journal.closed for run in self._runs.values())

    async def _renew(self) -> None:
        """Hold the leases of the runs, and cancel those that other processes want cancelled."""
        while True:
            await anyio.sleep(RENEW_SECS)
            with surviving("the leases of background responses were not renewed"), suppress(StorageUnavailable):
                for place, is_lost in await self.records.renew(has_runs=self._live() > 0):
                    run = self._runs.get(place)
                    # others have read that it failed, so that nobody may read anything else here
                    if is_lost:
                        self.forget(*place)
                    if run is not None:
                        run.cancelled.set()

    def _forget_old(self) -> None:
        """Drop the oldest journals that have ended, where there are too many."""
        ended = [(place, run.journal.size) for place, run in self._runs.items() if run.journal.closed]
        held = sum(size for _, size in ended)
        for position, (place, size) in enumerate(ended):
            if len(ended) - position <= _KEEP_ENDED and held <= _KEEP_BYTES:
                return
            held -= size
            del self._runs[place]
