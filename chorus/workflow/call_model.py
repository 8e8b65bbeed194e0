"""One call of one model in a stage: limits, pieces into the journal, the whole answer back."""

from __future__ import annotations

from contextvars import Token
from types import TracebackType
from typing import Any, Final, Self

import anyio

from chorus.cancellation import gone
from chorus.errors import UpstreamProtocol, UpstreamTimeout
from chorus.llm.base import Call
from chorus.llm.transport.clients import WATCHED
from chorus.types import Answer, ChatRequest
from chorus.usage import Usage
from chorus.workflow.collected import Collected
from chorus.workflow.model import Model
from chorus.workflow.output import write_chunk
from chorus.workflow.run import Run
from chorus.workflow.stage import Stage, fault_of

_DEADLINE_STEPS: Final = 50
"""Steps, per limit, in which the deadline of an outgoing answer moves with its tokens.

Moving a timer for each token costs more than relaying it. An answer that goes silent may so be cut
by a step too early.
"""


async def call_model(
    run: Run,
    stage: Stage,
    model: Model,
    request: ChatRequest,
    *,
    timeout: float,
    idle: float | None = None,
    stream: bool = True,
    output: bool = False,
) -> Answer:
    """Ask `model` and return its whole answer, writing its pieces to the journal as they come.

    `timeout` (seconds) bounds the whole call; for the `output`, whose pieces the client is reading,
    it bounds the silence before and between pieces instead. With `idle`, `timeout` bounds the
    silence before the first byte of the reply, and `idle` that between bytes, comments included:
    the patience for a model that the request names itself. The model's limit on the first token
    goes down with the call, and holds for each instance that is asked.

    The run's deadline bounds everything. An output that it cuts keeps the text so far, as an answer
    that ended by its length.

    Raises:
        LLMError: the model gave no whole answer. `stage.first_token_at` is set where it had begun.
        DeadlineExceeded: the run has no time left.
        BudgetSpent: the run has no budget left.
        ClientGone: the client disconnected.
    """
    run.check()
    run.totals.calls += 1
    stage.queued()
    collected = Collected(model, request)
    choice = run.choice if output else None
    clock, take = run.clock, collected.take
    is_whole = False
    try:
        with _Limit(run, timeout, idle) as limit:
            async with run.slot():
                limit.begin()
                call = _call(run, stage, model, request, limit, collected, stream=stream, output=output)
                with limit.scope:
                    async with model.upstream.open(call) as chunks:
                        async for chunk in chunks:
                            if not take(chunk):
                                continue
                            now = clock()
                            if stage.first_token_at is None:
                                stage.first_token_at = now - run.started
                                if output and chunk.finish_reason is None:
                                    limit.alive()
                            elif output and now >= limit.next_move:
                                limit.alive()
                            write_chunk(run.journal, stage.path, now - run.started, chunk, choice)
        if limit.scope.cancelled_caught:
            _keep_cut_output(run, stage, model, limit, collected, stream=stream, output=output)
        is_whole = True
    finally:
        if not is_whole:
            _account(run, stage, collected.spent())
    answer = collected.answer()
    _account(run, stage, collected.lost + answer.usage)
    return answer


class _Limit:
    """Keeps the deadline of one call, as `call_model` describes it.

    `scope` is cancelled at the deadline, or when the client disconnects. `alive` moves it; while
    the block is open, bytes of an upstream do so too where there is an `idle` limit. `next_move` is
    when it may move again, `silence` the limit that holds, in seconds.
    """

    __slots__ = ("_idle", "_run", "_watched", "next_move", "scope", "silence")

    def __init__(self, run: Run, timeout: float, idle: float | None) -> None:
        self._run = run
        self._idle = idle
        self._watched: Token[Any] | None = None
        self.scope = anyio.CancelScope()
        self.silence = timeout
        self.next_move = 0.0

    @property
    def is_of_single(self) -> bool:
        """Whether the request names the model itself."""
        return self._idle is not None

    def begin(self) -> None:
        """Start the time of the call: its slot is free."""
        now = self._run.clock()
        self.scope.deadline = min(now + self.silence, self._run.deadline)
        # else the first sign of life puts another limit in its place
        if self._idle == self.silence:
            self.next_move = now + self.silence / _DEADLINE_STEPS

    def alive(self) -> None:
        """Move the deadline, since the upstream has sent something."""
        now = self._run.clock()
        if now >= self.next_move:
            self.silence = self._idle or self.silence
            self.scope.deadline = min(now + self.silence, self._run.deadline)
            self.next_move = now + self.silence / _DEADLINE_STEPS

    def has_timed_out(self) -> bool:
        """Return whether the upstream was too slow: this limit has passed, and not the run's."""
        return self._run.clock() >= self.scope.deadline and not self._run.is_late

    def __enter__(self) -> Self:
        if self._run.cancel_signal is not None:
            self._run.cancel_signal.subscribe(self.scope.cancel)
        if self._idle is not None:
            self._watched = WATCHED.set(self.alive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watched is not None:
            WATCHED.reset(self._watched)
        if self._run.cancel_signal is not None:
            self._run.cancel_signal.unsubscribe(self.scope.cancel)


def _call(
    run: Run,
    stage: Stage,
    model: Model,
    request: ChatRequest,
    limit: _Limit,
    collected: Collected,
    *,
    stream: bool,
    output: bool,
) -> Call:
    """Return the call as the upstream gets it. A stream that the client reads must not begin
    again."""
    times = model.timeouts
    first_token = times.single_first_token if limit.is_of_single else times.first_token
    return Call(
        request,
        run.headers(stage.path),
        stream,
        first_token_timeout=first_token if stream else None,
        deadline=run.deadline if output or limit.is_of_single else limit.scope.deadline,
        session=request.session,
        priority=request.priority,
        attempting=stage.attempting,
        warn=stage.warn,
        on_restart=None if output and run.streaming else collected.begin_again,
        timed_out=limit.has_timed_out,
    )


def _keep_cut_output(
    run: Run, stage: Stage, model: Model, limit: _Limit, collected: Collected, *, stream: bool, output: bool
) -> None:
    """Let an output that the run's deadline has cut stand as an answer that ended by its length.

    Raises:
        ClientGone: the client disconnected.
        UpstreamTimeout: the model was too slow.
        DeadlineExceeded: the run's time is over, and there is no text to keep.
    """
    if run.cancel_signal is not None and run.cancel_signal.is_set:
        raise gone(run.cancel_signal)
    if not run.is_late:
        raise _too_slow(stage, model, limit.silence, stream=stream, output=output)
    if not (output and collected.text):
        raise run.late()
    stage.overrun = fault_of(run.late())
    collected.finish_reason = "length"


def _account(run: Run, stage: Stage, usage: Usage | None) -> None:
    """Add the `usage` of one call to its stage and its run."""
    if usage is not None:
        stage.usage = usage
        run.totals.usage += usage


def check_not_empty(model: Model, answer: Answer) -> None:
    """Check that `answer` has a text or a tool call.

    Raises:
        UpstreamProtocol: it has neither.
    """
    if not answer.text.strip() and not answer.tool_calls:
        raise UpstreamProtocol(f"Model '{model.name}' answered with nothing")


def _too_slow(stage: Stage, model: Model, timeout: float, *, stream: bool, output: bool) -> UpstreamTimeout:
    begun, not_begun = ("go on with" if output else "finish"), ("begin" if stream else "give")
    what = not_begun if stage.first_token_at is None else begun
    return UpstreamTimeout(f"Model '{model.name}' did not {what} its answer within {timeout:g} s")
