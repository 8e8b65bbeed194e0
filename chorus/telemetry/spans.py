"""Spans of a run, made of its journal with the journal's own times (O3).

Above: `otel` gives the recorder. A run is `invoke_workflow`, a stage with a model is `chat`, a
nested workflow is `invoke_workflow` again; the parent of a stage is the stage above it in its path.
A run of a single model is its one call: `chat`. The spans of a run are recorded when it is over;
their ids are there before, since calls carry them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from chorus.auth.principal import Principal
from chorus.batched import Batched
from chorus.errors import ChorusError
from chorus.events import Event, Path, RunFailed, RunFinished, RunStarted, StageFinished, StageStarted
from chorus.tasks import surviving
from chorus.telemetry import genai
from chorus.telemetry.span_recorder import Attributes, FinishedSpan, Recorder, SpanEvent, TraceContext
from chorus.telemetry.span_shapes import Facts, queue_shape, shape_of
from chorus.telemetry.tracing import HasAddress, Headers, Traced, TracedCall
from chorus.types import Answer, ChatRequest
from chorus.usage import Usage

_MAX_OVER: Final = 128
"""Runs whose context is kept for what is done behind them, which begins at once. More of them would
only push other things out of the processor's cache."""
_MIN_QUEUE_SECS: Final = 0.001
"""A wait that is shown; anything shorter is the writing of the request, not a queue."""
_MOST_CHARS: Final = 65_536
"""Of a message that is captured."""
_FIRST: Final[Path] = ("0",)
_NOTHING: Final[Attributes] = {}
_GOOD: Final = ("ok", "skipped")
_OF_STAGE: Final = {"recall": genai.SEARCH_MEMORY, "memorize": genai.UPSERT_MEMORY}


class SpanTracing:
    """Records spans by `recorder`. `captures_content`: whether prompts and answers go into them."""

    def __init__(self, recorder: Recorder, *, captures_content: bool = False) -> None:
        self._recorder = recorder
        self._captures = captures_content
        self._ended: Batched[RunSpans] = Batched(self._record)
        self._over: OrderedDict[str, RunSpans] = OrderedDict()

    def begin(
        self, caller: Principal | None, models: Mapping[str, HasAddress], requests: Sequence[ChatRequest]
    ) -> Traced:
        """See `Tracing.begin`."""
        # what is behind a run is a user's memory
        goes_on = caller is not None and caller.user
        ended = self._keep if goes_on else self._ended.add
        parent = caller.trace if caller is not None else None
        run = RunSpans(self._recorder, parent, models, requests if self._captures else (), ended)
        return Traced((run.observe,), run.headers)

    def after(self, workflow_id: str) -> Traced:
        """See `Tracing.after`."""
        run = self._over.get(workflow_id)
        return Traced((run.observe_later,), run.headers) if run is not None else Traced()

    def call(self, parent: Headers, model: str) -> TracedCall:
        """See `Tracing.call`."""
        return CallSpan(self._recorder, parent, model)

    async def aclose(self) -> None:
        """See `Tracing.aclose`. Who made the recorder exports what waits."""
        self._ended.flush()

    def _keep(self, run: RunSpans) -> None:
        self._record((run,))
        run.forget_stages()
        self._over[run.workflow_id] = run
        if len(self._over) > _MAX_OVER:
            self._over.popitem(last=False)

    def _record(self, runs: Sequence[RunSpans]) -> None:
        spans: list[FinishedSpan] = []
        left = iter(runs)
        while True:  # one round, and one more behind each run that fails
            with surviving("spans could not be made"):
                for run in left:
                    spans += run.spans()
                break
        with surviving("spans could not be recorded"):
            self._recorder.record(spans)


class RunSpans:
    """The spans of one run: an observer of its journal."""

    __slots__ = (
        "_began_ns",
        "_captured",
        "_context",
        "_ended",
        "_finished",
        "_ids",
        "_models",
        "_over",
        "_parent",
        "_recorder",
        "_root",
        "_stages",
    )

    def __init__(
        self,
        recorder: Recorder,
        parent: Headers | None,
        models: Mapping[str, HasAddress],
        captured: Sequence[ChatRequest],
        ended: Callable[[RunSpans], None],
    ) -> None:
        """`parent` has the caller's headers.

        `captured` are the requests, where their text is wanted. `ended` is called with this when
        the run is over, and has its spans recorded.
        """
        self._recorder = recorder
        self._parent = parent
        self._models = models
        self._captured = captured
        self._ended = ended
        self._context: TraceContext
        self._root: RunStarted
        self._began_ns = 0
        self._over: RunFinished | RunFailed
        self._ids: dict[Path, int] = {(): recorder.new_id()}
        self._stages: dict[Path, StageStarted] = {}
        self._finished: list[StageFinished] = []

    @property
    def workflow_id(self) -> str:
        return self._root.workflow_id

    def observe(self, event: Event) -> None:
        """Take an event of the journal in."""
        if type(event) is StageStarted:
            path = event.path
            self._stages[path] = event
            if path == _FIRST and event.model == self._root.workflow:
                self._ids[path] = self._ids[()]  # a single model: its call is the run
        elif type(event) is StageFinished:
            self._finished.append(event)
        elif type(event) is RunStarted:
            self._root = event
            self._began_ns = int(event.started_at * 1e9)
            asked = Facts(genai.INVOKE_WORKFLOW, event.workflow, event.model)
            self._context = self._recorder.join(self._parent, shape_of(asked))
        elif type(event) is RunFinished or type(event) is RunFailed:
            self._over = event
            self._ended(self)

    def observe_later(self, event: Event) -> None:
        """Take in an event of what is done behind the run; a stage is recorded when it is over."""
        if type(event) is StageStarted:
            self._stages[event.path] = event
        elif type(event) is StageFinished and self._context.is_sampled:
            self._recorder.record(self._of_stage(event))

    def headers(self, path: Path) -> Headers:
        """Return the context of a call that the stage at `path` makes."""
        return self._context.headers(self._ids.get(path) or self._id(path))

    def spans(self) -> Sequence[FinishedSpan]:
        """Return the spans of the run, which is over."""
        if not self._context.is_sampled:
            return ()
        finished, stages = self._finished, self._stages
        if len(stages) > len(finished):
            missing = stages.keys() - {stage.path for stage in finished}
            # nothing follows of them
            finished += [StageFinished(path, self._over.at, "cancelled") for path in missing]
        alone: StageFinished | None = None
        spans: list[FinishedSpan] = []
        root = self._ids[()]
        for stage in finished:
            if self._ids.get(stage.path) == root:
                alone = stage
                if stage.queue_secs >= _MIN_QUEUE_SECS:
                    spans.append(self._queue(stage))
            else:
                spans += self._of_stage(stage)
        spans.append(self._of_run(alone))
        return spans

    def forget_stages(self) -> None:
        """Keep what the stages behind the run need: its context and its own id."""
        self._ids, self._stages, self._finished = {(): self._ids[()]}, {}, []

    def _of_run(self, alone: StageFinished | None) -> FinishedSpan:
        """Return the span of the run: that of its one call where it is `alone`."""
        root, over = self._root, self._over
        own: Attributes = {genai.RUN_ID: root.workflow_id}
        if not root.request_id.endswith(root.workflow_id[3:]):  # the client's own
            own[genai.REQUEST_ID] = root.request_id
        reasons: tuple[str, ...] | None = None
        shortcuts: tuple[str, ...] = ()
        code = error = None
        events: list[SpanEvent] = []
        if isinstance(over, RunFinished):
            answers = over.answers
            reasons = (*[answer.finish_reason for answer in answers],)
            if over.shortcuts:
                shortcuts = (*[shortcut.name for shortcut in over.shortcuts],)
            if over.first_token_at is not None:
                events.append(self._first_token(over.first_token_at))
        else:
            answers = (alone.answer,) if alone is not None and alone.answer is not None else ()
            code, error = over.error.code, over.error.message
            if answers:
                reasons = (answers[0].finish_reason,)
        if alone is not None:
            asked, usage = self._stages[alone.path], alone.usage
            entry = self._models.get(root.workflow)
            facts = Facts(
                self._operation,
                root.workflow,
                model=asked.model,
                is_call=True,
                provider=entry.provider if entry is not None else None,
                api_base=entry.api_base if entry is not None else None,
                temperature=asked.temperature,
                instance=alone.instance_id,
                finish_reasons=reasons,
                choices=root.choices,
                shortcuts=shortcuts,
                error_type=code,
            )
            if len(alone.attempts) > 1:
                events = [*self._attempts(alone), *events]
        else:
            usage = over.usage
            facts = Facts(
                genai.INVOKE_WORKFLOW,
                root.workflow,
                model=root.model,
                workflow=root.workflow,
                finish_reasons=reasons,
                choices=root.choices,
                shortcuts=shortcuts,
                error_type=code,
            )
        if usage is not None:
            _add_usage(own, usage)
        if self._captured:
            own[genai.INPUT_MESSAGES] = _input(self._captured[0])
            if answers or error is None:
                own[genai.OUTPUT_MESSAGES] = _output(answers)
        ended_ns = max(self._began_ns, self._ns(over.at))
        own_id = self._ids[()]
        return FinishedSpan(self._context, own_id, None, shape_of(facts), self._began_ns, ended_ns, own, events, error)

    def _of_stage(self, event: StageFinished) -> list[FinishedSpan]:
        """Return the span of a stage that is over, and that of its wait."""
        started = self._stages.get(event.path)
        if started is None:
            return []
        own: Attributes = {}
        events = self._attempts(event) if len(event.attempts) > 1 else []
        if event.first_token_at is not None:
            events.append(self._first_token(event.first_token_at))
        if event.usage is not None:
            _add_usage(own, event.usage)
        answer, code, error = event.answer, None, None
        if answer is not None and self._captured:
            own[genai.OUTPUT_MESSAGES] = _output([answer])
        if event.fault is not None and event.status not in _GOOD:
            code, error = event.fault.code, event.fault.message
        model, entry, operation = started.model, None, self._operation
        if model is not None:
            entry = self._models.get(model)
        else:
            operation = _OF_STAGE.get(started.stage, genai.INVOKE_WORKFLOW)
        selected = event.details.get("selected_worker")
        facts = Facts(
            operation,
            model or started.name,
            model=model,
            workflow=started.name if operation == genai.INVOKE_WORKFLOW else None,
            is_call=model is not None,
            provider=entry.provider if entry is not None else None,
            api_base=entry.api_base if entry is not None else None,
            temperature=started.temperature if model is not None else None,
            instance=event.instance_id,
            selected=selected if isinstance(selected, str) else None,
            finish_reasons=(answer.finish_reason,) if answer is not None else None,
            stage=started.stage,
            path="/".join(event.path),
            status=event.status,
            error_type=code,
        )
        span_id, parent = self._id(event.path), self._id(event.path[:-1])
        began_ns = self._ns(started.at)
        ended_ns = max(began_ns, self._ns(event.at))
        span = FinishedSpan(self._context, span_id, parent, shape_of(facts), began_ns, ended_ns, own, events, error)
        return [span, self._queue(event)] if event.queue_secs >= _MIN_QUEUE_SECS else [span]

    def _queue(self, event: StageFinished) -> FinishedSpan:
        """Return the wait for a slot, as a span of its own below the stage's."""
        ends = event.attempted_at[0] if event.attempted_at else event.at
        began_ns = self._ns(max(self._stages[event.path].at, ends - event.queue_secs))
        ended_ns = max(began_ns, self._ns(ends))
        new, parent = self._recorder.new_id(), self._id(event.path)
        return FinishedSpan(self._context, new, parent, queue_shape("/".join(event.path)), began_ns, ended_ns, {})

    @property
    def _operation(self) -> str:
        """What a call of a model is: a chat, or what is relayed, such as "audio/speech"."""
        relay = self._root.relay
        return genai.CHAT if relay is None else relay.strip("/")

    def _attempts(self, event: StageFinished) -> list[SpanEvent]:
        """Return the attempts of a call that was tried more than once, as events."""
        tried = zip(event.attempts, event.attempted_at, strict=False)
        return [("attempt", self._ns(at), {genai.INSTANCE: instance}) for instance, at in tried]

    def _first_token(self, at: float) -> SpanEvent:
        return ("first_token", self._ns(at), _NOTHING)

    def _id(self, path: Path) -> int:
        """Return the id of the nearest stage at or above `path`."""
        while path and path not in self._stages:
            path = path[:-1]
        return self._ids.get(path) or self._ids.setdefault(path, self._recorder.new_id())

    def _ns(self, at: float) -> int:
        return self._began_ns + int(at * 1e9)


class CallSpan:
    """The span of one call that an inference worker answers."""

    def __init__(self, recorder: Recorder, parent: Headers, model: str) -> None:
        self._recorder = recorder
        self._facts = Facts(genai.CHAT, model, model=model, is_served=True)
        self._own: Attributes = {}
        self._context = recorder.join(parent, shape_of(self._facts))
        self._id = recorder.new_id()
        self._began_ns = time.time_ns()

    @property
    def headers(self) -> Headers:
        """See `TracedCall.headers`."""
        return self._context.headers(self._id)

    def took(self, usage: Usage) -> None:
        """See `TracedCall.took`."""
        _add_usage(self._own, usage)

    def end(self, error: ChorusError | None) -> None:
        """See `TracedCall.end`."""
        if not self._context.is_sampled:
            return
        facts, reason = self._facts, None
        if error is not None:
            facts, reason = msgspec.structs.replace(facts, error_type=error.code), error.message
        times = (self._began_ns, max(self._began_ns, time.time_ns()))
        span = FinishedSpan(self._context, self._id, None, shape_of(facts), *times, self._own, (), reason)
        self._recorder.record((span,))


def _add_usage(own: Attributes, usage: Usage) -> None:
    own[genai.INPUT_TOKENS] = usage.prompt_tokens
    own[genai.OUTPUT_TOKENS] = usage.completion_tokens
    if usage.cached_tokens:
        own[genai.CACHED_TOKENS] = usage.cached_tokens
    if usage.reasoning_tokens:
        own[genai.REASONING_TOKENS] = usage.reasoning_tokens
    if usage.cost is not None:
        own[genai.COST] = usage.cost


def _input(request: ChatRequest) -> str:
    messages = [{"role": message.role, "parts": [_text(message.text)]} for message in request.messages]
    return msgspec.json.encode(messages).decode()


def _output(answers: Sequence[Answer]) -> str:
    messages = [
        {"role": "assistant", "parts": [_text(answer.text)], "finish_reason": answer.finish_reason}
        for answer in answers
    ]
    return msgspec.json.encode(messages).decode()


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "content": text[:_MOST_CHARS]}
