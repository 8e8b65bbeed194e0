"""Requests that are relayed to a single model: reranking, images, audio, moderations. They are
admitted, charged, counted and traced as runs of one call, and nothing of them is held.

Above: `service`, and the endpoints of `server`. Below: `admission` lets in, the model's relay sends
the body and reads the answer, `journal` shows observers what happened.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final, Self

import anyio
import structlog

from chorus.accounting.ledger import UsageLedger
from chorus.admission.admission import Admission
from chorus.auth.principal import LOCAL, Principal
from chorus.cancellation import CancelSignal, gone, run_until
from chorus.clock import running_clock
from chorus.errors import AnswerTooLong, ChorusError, ClientGone, DeadlineExceeded, Internal, UpstreamTimeout
from chorus.events import FailureStatus, Fault, Path, RunFailed, RunFinished, RunStarted, Status
from chorus.journal import Journal, Observer
from chorus.live_runs import LiveRuns
from chorus.llm.base import CONNECT_SECS, context_headers
from chorus.llm.reading.relayed_usage import UsageReader
from chorus.llm.relay import Relay, RelayAnswer, RelayBody, RelayCall
from chorus.snapshot import ServedModel, Snapshot
from chorus.telemetry.metrics import Metrics
from chorus.telemetry.tracing import Tracing
from chorus.types import Answer, Priority
from chorus.usage import Usage
from chorus.wirejson import JSON
from chorus.workflow.stage import Stage

MAX_ANSWER: Final = 512 * 1024 * 1024
"""Bytes of one answer: ten images of 50 MB. They are not held; an answer without an end is cut."""

_PATH: Final[Path] = ("0",)
_log = structlog.get_logger("chorus.workflow")


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayRequest:
    """A request as it is to be relayed. `unique` becomes the workflow's id, by which the trace is
    found. The client's disconnect, `cancel_signal`, cancels the call."""

    model: str
    path: str
    """See `RelayCall.path`."""
    body: RelayBody
    text_tokens: int = 0
    """About how many tokens a text has: charged beforehand, counted without a reported usage."""
    request_id: str
    unique: str
    priority: Priority = "default"
    caller: Principal | None = None
    cancel_signal: CancelSignal
    observers: Sequence[Observer] = ()


class Relayed:
    """The answer to a relayed request. Iterated over once, it gives the body as it comes."""

    def __init__(
        self, answer: RelayAnswer, patience: _Patience, secs: float, workflow_id: str, notes: Sequence[str]
    ) -> None:
        """`secs` is how long the upstream may be silent between two pieces."""
        self.status = answer.status
        self.headers = answer.headers
        """By names in lower case."""
        self.workflow_id = workflow_id
        self.notes = notes
        """What happened to the request, in sentences."""
        self.size = 0
        self.reader = UsageReader(answer.headers.get("content-type", ""))
        self._parts = answer.parts
        self._patience = patience
        self._secs = secs

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        self._patience.begin(self._secs)
        part = await anext(self._parts)
        self._patience.rest()  # how long the client takes is not the upstream's
        self.size += len(part)
        if self.size > MAX_ANSWER:
            raise AnswerTooLong(f"The answer is longer than {MAX_ANSWER >> 20} MiB and was stopped.")
        self.reader.feed(part)
        return part


class Relaying:
    """Relays requests to the models of a server."""

    def __init__(
        self,
        snapshot: Callable[[], Snapshot],
        admission: Admission,
        live_runs: LiveRuns,
        tracing: Tracing,
        recorder: Callable[[str], Observer],
        metrics: Metrics,
        usage: UsageLedger,
    ) -> None:
        """`recorder` returns what keeps the trace of a run of an owner."""
        self._snapshot = snapshot
        self._admission = admission
        self._live_runs = live_runs
        self._tracing = tracing
        self._recorder = recorder
        self._metrics = metrics
        self._usage = usage

    @asynccontextmanager
    async def open(self, request: RelayRequest) -> AsyncIterator[Relayed]:
        """Relay `request`; the block has its answer, whose first bytes have come. Leaving the block
        has stopped the upstream's call.

        Raises:
            UnknownModel: nothing has that name.
            UnsupportedFeature: it is a workflow, or a model that nothing is relayed to.
            BudgetExhausted, RateLimited, QueueFull, QueueTimeout: as `Chorus.run` does.
            LLMError: the upstream failed; while the answer is read, it broke off.
            ClientGone: the client disconnected, or somebody has cancelled the run.
        """
        snapshot = self._snapshot()
        model, relay, total = snapshot.relayed_model(request.model)
        caller = request.caller
        live = self._live_runs.entry(f"wf_{request.unique}", request.model, caller, request.cancel_signal)
        traced = self._tracing.begin(caller, snapshot.entries, ())
        counting = (self._usage.observer(caller),) if caller is not None else ()
        kept = self._recorder(caller.owner if caller is not None else LOCAL)
        observers = (kept, self._metrics.observer(), *counting, *request.observers, *traced.observers)
        tokens = request.text_tokens
        admitted = self._admission.admit(
            caller, snapshot.limits, model.name, {model.name: 1}, lambda: tokens, request.priority
        )
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(admitted)
            except ChorusError as error:
                live.refuse(error.code)
                raise
            live.watch_client()
            stack.callback(live.leave)
            journal = Journal(observers, workflow_id=live.id)
            live.enter(journal)
            if admitted.bill is not None:
                journal.observe(admitted.bill.watch)
            run = _Run(request, model, relay, journal, live.cancel_signal, total, tuple(admitted.notes))
            own = context_headers(request.request_id)
            async with run.recorded():
                await run_until(live.cancel_signal, admitted.wait)
                headers = {**own, **traced.headers(_PATH)} if traced.headers is not None else own
                async with run.call(headers) as relayed:
                    yield relayed


class _Run:
    """One relayed request in its journal."""

    def __init__(
        self,
        request: RelayRequest,
        model: ServedModel,
        relay: Relay,
        journal: Journal,
        cancel_signal: CancelSignal,
        total: float | None,
        notes: tuple[str, ...],
    ) -> None:
        """`total` is how many seconds the whole may take."""
        self._request = request
        self._model = model
        self._relay = relay
        self._journal = journal
        self._cancel_signal = cancel_signal
        self._total = total
        self._notes = notes
        self._clock = running_clock()
        self._began = self._clock()
        self._usage = Usage()

    def _now(self) -> float:
        return self._clock() - self._began

    @asynccontextmanager
    async def recorded(self) -> AsyncIterator[None]:
        """Write the first event of the run, and the last one, whatever happens in the block."""
        request, journal, name = self._request, self._journal, self._model.name
        journal.write(
            RunStarted(
                journal.workflow_id,
                request.request_id,
                request.model,
                name,
                time.time(),
                notes=self._notes,
                relay=request.path,
            )
        )
        try:
            yield
        except ChorusError as error:
            self._fail(error, "cancelled" if isinstance(error, ClientGone) else "failed")
            raise
        except Exception as error:
            _log.error("run crashed", request_id=request.request_id, workflow_id=journal.workflow_id, exc_info=error)
            self._fail(Internal(), "failed")
            raise
        except BaseException:
            self._fail(gone(self._cancel_signal), "cancelled")
            raise
        journal.write(RunFinished(self._now(), (), self._usage))

    def _fail(self, error: ChorusError, status: FailureStatus) -> None:
        shown = type(error).__new__(type(error), error.log_message)
        # the one that is raised keeps its traceback, and with it the request
        vars(shown).update(vars(error))
        self._journal.write(RunFailed(self._now(), shown, status, self._usage))

    @asynccontextmanager
    async def call(self, headers: Mapping[str, str]) -> AsyncIterator[Relayed]:
        """Make the call; its stage is written whatever happens in the block."""
        model, signal = self._model, self._cancel_signal
        times = model.timeouts
        patience = _Patience(self._clock, self._total)
        body = _TimedBody(self._request.body, patience, times.first_byte)
        stage = _RelayStage(self._journal, self._now, model.name, body)
        with stage:
            stage.queued()
            with patience.scope:
                signal.subscribe(patience.scope.cancel)
                try:
                    call = RelayCall(
                        self._request.path,
                        body,
                        headers,
                        CONNECT_SECS,
                        self._request.priority,
                        stage.attempting,
                        patience.has_timed_out,
                    )
                    patience.begin(times.first_byte)
                    async with self._relay.open(call) as answer:
                        patience.rest()
                        stage.relayed = relayed = Relayed(
                            answer, patience, times.idle, self._journal.workflow_id, self._notes
                        )
                        yield relayed
                finally:
                    signal.unsubscribe(patience.scope.cancel)
            if patience.scope.cancelled_caught:
                raise gone(signal) if signal.is_set else self._too_slow(patience, stage)
            self._usage = stage.usage = model.priced(self._used(stage))

    def _used(self, stage: _RelayStage) -> Usage:
        """Return the usage that the answer reports; of a text without a report an estimate."""
        usage = stage.relayed.reader.usage() if stage.relayed is not None else None
        if usage is None:
            tokens = self._request.text_tokens
            usage = Usage(tokens, estimated=tokens > 0)
        return usage

    def _too_slow(self, patience: _Patience, stage: _RelayStage) -> ChorusError:
        if patience.is_late:
            return DeadlineExceeded(f"The whole request has taken the {self._total or 0:g} s that it may take")
        what = "begin" if stage.relayed is None else "go on with"
        return UpstreamTimeout(f"Model '{self._model.name}' did not {what} its answer within {patience.secs:g} s")


class _Patience:
    """The time limits of one call: of silence of the upstream, and of the whole.

    `scope` is cancelled when either is over.
    """

    def __init__(self, clock: Callable[[], float], total: float | None) -> None:
        self._clock = clock
        self._ends = clock() + total if total is not None else math.inf
        self.scope = anyio.CancelScope(deadline=self._ends)
        self.secs = 0.0
        """The limit that holds now."""

    def begin(self, secs: float) -> None:
        """The upstream has something to do, and `secs` for it."""
        self.secs = secs
        self.scope.deadline = min(self._clock() + secs, self._ends)

    def rest(self) -> None:
        """It is the client's turn, whose connection has clocks of its own."""
        self.scope.deadline = self._ends

    @property
    def is_late(self) -> bool:
        """Whether the whole has taken as long as it may."""
        return self._clock() >= self._ends

    def has_timed_out(self) -> bool:
        """Return whether the upstream was too slow."""
        return self._clock() >= self.scope.deadline and not self.is_late


class _TimedBody:
    """A body whose pieces are counted. While the client's next one is waited for, the upstream's
    time stands still."""

    def __init__(self, inner: RelayBody, patience: _Patience, secs: float) -> None:
        """`secs` is how long the upstream may take to accept a piece, and to answer the whole."""
        self._inner = inner
        self._patience = patience
        self._secs = secs
        self.size = 0

    @property
    def content_type(self) -> str:
        """See `RelayBody.content_type`."""
        return self._inner.content_type

    @property
    def is_kept(self) -> bool:
        """See `RelayBody.is_kept`."""
        return self._inner.is_kept

    @property
    def can_be_sent(self) -> bool:
        """See `RelayBody.can_be_sent`."""
        return self._inner.can_be_sent

    def length(self, model: str) -> int | None:
        """See `RelayBody.length`."""
        return self._inner.length(model)

    async def pieces(self, model: str) -> AsyncGenerator[bytes, None]:
        """See `RelayBody.pieces`."""
        self.size = 0  # of the last attempt
        async with aclosing(self._inner.pieces(model)) as pieces:
            self._patience.rest()
            async for piece in pieces:
                self.size += len(piece)
                self._patience.begin(self._secs)
                yield piece
                self._patience.rest()
        self._patience.begin(self._secs)


class _RelayStage(Stage):
    """The stage of a relayed call, which shows what went through."""

    def __init__(self, journal: Journal, now: Callable[[], float], model: str, body: _TimedBody) -> None:
        super().__init__(journal, now, _PATH, "worker", model, model, None)
        self._body = body
        self.relayed: Relayed | None = None
        """The answer; None before it has begun."""

    def finish(
        self,
        status: Status = "ok",
        *,
        answer: Answer | None = None,
        fault: Fault | None = None,
        details: Mapping[str, JSON] | None = None,
    ) -> None:
        """See `Stage.finish`."""
        shown: dict[str, JSON] = {"bytes_in": self._body.size}
        if self.relayed is not None:
            kind = self.relayed.headers.get("content-type", "")[:100]
            shown |= {"bytes_out": self.relayed.size, "upstream_status": self.relayed.status, "content_type": kind}
        super().finish(status, answer=answer, fault=fault, details={**(details or {}), "relayed": shown})
