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
from opentelemetry.trace import SpanKind

from chorus.auth.principal import Principal
from chorus.batched import Batched
from chorus.errors import ChorusError
from chorus.events import Event, Path, RunFailed, RunFinished, RunStarted, StageFinished, StageStarted
from chorus.tasks import surviving
from chorus.telemetry import genai
from chorus.telemetry.span_recorder import Attributes, FinishedSpan, Recorder, SpanEvent, TraceContext
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
_GOOD: Final = ("ok", "skipped")
_OF_STAGE: Final = {"recall": genai.SEARCH_MEMORY, "memorize": genai.UPSERT_MEMORY}


class SpanTracing:
    """Records spans by `recorder`. `captures_content`: whether prompts and answers go into them."""

    def __init__(self, recorder: Recorder, *, captures_content: bool = False) -> None:
        self._recorder = recorder
        self._captures = captures_content
        self._ended: Batched[RunSpans] = Batched(_record_all)
        self._over: OrderedDict[str, RunSpans] = OrderedDict()

    def begin(
        self, caller: Principal | None, models: Mapping[str, HasAddress], requests: Sequence[ChatRequest]
    ) -> Traced:
        """See `Tracing.begin`."""
        parent = caller.trace if caller is not None else None
        # what is behind a run is a user's memory
        goes_on = caller is not None and bool(caller.user)
        ended = self._keep if goes_on else self._ended.add
        spans = RunSpans(self._recorder, parent, models, requests if self._captures else (), ended)
        return Traced((spans.observe,), spans.headers)

    def after(self, workflow_id: str) -> Traced:
        """See `Tracing.after`."""
        spans = self._over.get(workflow_id)
        return Traced((spans.observe,), spans.headers) if spans is not None else Traced()

    def call(self, parent: Headers, model: str) -> TracedCall:
        """See `Tracing.call`."""
        return CallSpan(self._recorder, parent, model)

    async def aclose(self) -> None:
        """See `Tracing.aclose`. Who made the recorder exports what waits."""
        self._ended.flush()

    def _keep(self, spans: RunSpans) -> None:
        spans.record()
        self._over[spans.workflow_id] = spans
        if len(self._over) > _MAX_OVER:
            self._over.popitem(last=False)


def _record_all(runs: Sequence[RunSpans]) -> None:
    for spans in runs:
        with surviving("spans could not be recorded"):
            spans.record()


class RunSpans:
    """The spans of one run: an observer of its journal."""

    def __init__(
        self,
        recorder: Recorder,
        parent: Headers | None,
        models: Mapping[str, HasAddress],
        captured: Sequence[ChatRequest],
        ended: Callable[[RunSpans], None],
    ) -> None:
        """`parent` has the caller's headers.

        `captured` are the requests, where their text is wanted. `ended` is called with these spans
        when the run is over, and has them recorded.
        """
        self.workflow_id = ""
        self._recorder = recorder
        self._parent = parent
        self._models = models
        self._captured = captured
        self._ended = ended
        self._context: TraceContext
        self._root: RunStarted
        self._began_ns = 0
        self._ids: dict[Path, int] = {}
        self._stages: dict[Path, StageStarted] = {}
        self._finished: list[StageFinished] = []
        self._over: RunFinished | RunFailed | None = None
        self._is_recorded = False

    def observe(self, event: Event) -> None:
        """Take an event of the journal in."""
        if type(event) is StageStarted:
            path = event.path
            self._stages[path] = event
            if path == _FIRST and event.model == self._root.workflow:
                self._ids[path] = self._ids[()]  # a single model: its call is the run
        elif type(event) is StageFinished:
            if self._is_recorded:
                self._record(event)
            else:
                self._finished.append(event)
        elif type(event) is RunStarted:
            self._begin(event)
        elif type(event) is RunFinished or type(event) is RunFailed:
            self._over = event
            self._ended(self)

    def headers(self, path: Path) -> Headers:
        """Return the context of a call that the stage at `path` makes."""
        return self._context.headers(self._id(path))

    def _begin(self, event: RunStarted) -> None:
        self.workflow_id = event.workflow_id
        self._root = event
        self._began_ns = round(event.started_at * 1e9)
        self._ids[()] = self._recorder.new_id()
        name = f"{genai.INVOKE_WORKFLOW} {event.workflow}"
        asked = {genai.OPERATION: genai.INVOKE_WORKFLOW, genai.REQUEST_MODEL: event.model}
        self._context = self._recorder.join(self._parent, name, SpanKind.INTERNAL, asked)

    def record(self) -> None:
        """Record the spans of the run, which is over."""
        event = self._over
        assert event is not None, "the run is not over"
        if self._context.is_sampled:
            alone = self._single()
            for stage in self._finished:
                if stage is not alone:
                    self._record(stage)
            if len(self._stages) > len(self._finished):
                for path in self._stages.keys() - {stage.path for stage in self._finished}:
                    # nothing follows of them
                    self._record(StageFinished(path, event.at, "cancelled"))
            self._record_run(event, alone)
        # only the run's own context is needed from now on, by what is done behind it
        self._ids, self._stages, self._finished = {(): self._ids[()]}, {}, []
        self._is_recorded = True

    @property
    def _operation(self) -> str:
        """What a call of a model is: a chat, or what is relayed, such as "audio/speech"."""
        relay = self._root.relay
        return genai.CHAT if relay is None else relay.strip("/")

    def _single(self) -> StageFinished | None:
        """Return the one call of a run of a single model."""
        root = self._ids[()]
        return next((stage for stage in self._finished if self._ids.get(stage.path) == root), None)

    def _record_run(self, event: RunFinished | RunFailed, alone: StageFinished | None) -> None:
        root = self._root
        own: Attributes = {genai.RUN_ID: root.workflow_id}
        # the client's own
        if root.request_id.rpartition("_")[2] != root.workflow_id.rpartition("_")[2]:
            own[genai.REQUEST_ID] = root.request_id
        kind, events = SpanKind.INTERNAL, self._moments(event.first_token_at) if type(event) is RunFinished else []
        if alone is not None:
            kind = SpanKind.CLIENT
            attributes = self._asked(self._stages[alone.path]) | self._outcome(alone, own)
            events = [*self._attempts(alone), *events]
            name = f"{self._operation} {root.workflow}"
            self._queue(alone)
        else:
            attributes = {genai.OPERATION: genai.INVOKE_WORKFLOW, genai.WORKFLOW: root.workflow}
            attributes[genai.REQUEST_MODEL] = root.model
            own |= _usage(event.usage)
            name = f"{genai.INVOKE_WORKFLOW} {root.workflow}"
        if root.choices > 1:
            attributes[genai.CHOICES] = root.choices
        if self._captured:
            own[genai.INPUT_MESSAGES] = _input(self._captured[0])
        error = None
        if isinstance(event, RunFailed):
            attributes[genai.ERROR_TYPE], error = event.error.code, event.error.message
        else:
            attributes[genai.FINISH_REASONS] = (*[answer.finish_reason for answer in event.answers],)
            if event.shortcuts:
                attributes[genai.SHORTCUTS] = (*[shortcut.name for shortcut in event.shortcuts],)
            if self._captured:
                own[genai.OUTPUT_MESSAGES] = _output(event.answers)
        self._hand_on(self._ids[()], None, name, kind, (0.0, event.at), attributes, own, events, error)

    def _record(self, event: StageFinished) -> None:
        """Record the span of a stage that is over."""
        started = self._stages.get(event.path)
        if started is None or not self._context.is_sampled:
            return
        attributes = {genai.STAGE: started.stage, genai.PATH: "/".join(event.path), genai.STATUS: event.status}
        own: Attributes = {}
        attributes |= self._asked(started) | self._outcome(event, own)
        error = None
        if event.fault is not None and event.status not in _GOOD:
            attributes[genai.ERROR_TYPE], error = event.fault.code, event.fault.message
        name = f"{attributes[genai.OPERATION]} {started.model or started.name}"
        kind = SpanKind.CLIENT if started.model is not None else SpanKind.INTERNAL
        events = [*self._attempts(event), *self._moments(event.first_token_at)]
        span_id, parent = self._id(event.path), self._id(event.path[:-1])
        self._hand_on(span_id, parent, name, kind, (started.at, event.at), attributes, own, events, error)
        self._queue(event)

    def _queue(self, event: StageFinished) -> None:
        """Record the wait for a slot, as a span of its own below the stage's."""
        if event.queue_secs < _MIN_QUEUE_SECS:
            return
        ends = event.attempted_at[0] if event.attempted_at else event.at
        begins = max(self._stages[event.path].at, ends - event.queue_secs)
        new, parent = self._recorder.new_id(), self._id(event.path)
        attributes = {genai.PATH: "/".join(event.path)}
        self._hand_on(new, parent, "queue", SpanKind.INTERNAL, (begins, ends), attributes, {})

    def _hand_on(
        self,
        span_id: int,
        parent_id: int | None,
        name: str,
        kind: SpanKind,
        times: tuple[float, float],
        attributes: Attributes,
        own: Attributes,
        events: Sequence[SpanEvent] = (),
        error: str | None = None,
    ) -> None:
        """Record a span. Times are seconds since the run began."""
        begins, ends = times
        began_ns = self._ns(begins)
        ended_ns = max(began_ns, self._ns(ends))
        span = FinishedSpan(
            self._context, span_id, parent_id, name, kind, began_ns, ended_ns, attributes, own, events, error
        )
        self._recorder.record(span)

    def _asked(self, event: StageStarted) -> Attributes:
        """Return what was known when the stage began."""
        if event.model is None:
            operation = _OF_STAGE.get(event.stage, genai.INVOKE_WORKFLOW)
            named = {genai.WORKFLOW: event.name} if operation == genai.INVOKE_WORKFLOW else {}
            return {genai.OPERATION: operation, **named}
        attributes: Attributes = {genai.OPERATION: self._operation, genai.REQUEST_MODEL: event.model}
        entry = self._models.get(event.model)
        if entry is not None:
            attributes |= genai.endpoint_attributes(entry.provider, entry.api_base)
        if event.temperature is not None:
            attributes[genai.TEMPERATURE] = event.temperature
        return attributes

    def _outcome(self, event: StageFinished, own: Attributes) -> Attributes:
        """Return what came of a stage. What other spans do not have is added to `own`."""
        attributes: Attributes = {}
        if (instance := event.instance_id) is not None:
            attributes[genai.INSTANCE] = instance
        if event.usage is not None:
            own |= _usage(event.usage)
        if event.answer is not None:
            attributes[genai.FINISH_REASONS] = (event.answer.finish_reason,)
            if self._captured:
                own[genai.OUTPUT_MESSAGES] = _output([event.answer])
        selected = event.details.get("selected_worker")
        if isinstance(selected, str):
            attributes[genai.SELECTED] = selected
        return attributes

    def _attempts(self, event: StageFinished) -> list[SpanEvent]:
        """Return the attempts of a call that was tried more than once, as events."""
        if len(event.attempts) < 2:
            return []
        tried = zip(event.attempts, event.attempted_at, strict=False)
        return [("attempt", self._ns(at), {genai.INSTANCE: instance}) for instance, at in tried]

    def _moments(self, first_token_at: float | None) -> list[SpanEvent]:
        return [] if first_token_at is None else [("first_token", self._ns(first_token_at), {})]

    def _id(self, path: Path) -> int:
        """Return the id of the nearest stage at or above `path`."""
        while path and path not in self._stages:
            path = path[:-1]
        return self._ids.get(path) or self._ids.setdefault(path, self._recorder.new_id())

    def _ns(self, at: float) -> int:
        return self._began_ns + round(at * 1e9)


class CallSpan:
    """The span of one call that an inference worker answers."""

    def __init__(self, recorder: Recorder, parent: Headers, model: str) -> None:
        self._recorder = recorder
        self._name = f"{genai.CHAT} {model}"
        self._attributes: Attributes = {genai.OPERATION: genai.CHAT, genai.REQUEST_MODEL: model}
        self._own: Attributes = {}
        self._context = recorder.join(parent, self._name, SpanKind.SERVER, self._attributes)
        self._id = recorder.new_id()
        self._began_ns = time.time_ns()

    @property
    def headers(self) -> Headers:
        """See `TracedCall.headers`."""
        return self._context.headers(self._id)

    def took(self, usage: Usage) -> None:
        """See `TracedCall.took`."""
        self._own |= _usage(usage)

    def end(self, error: ChorusError | None) -> None:
        """See `TracedCall.end`."""
        if not self._context.is_sampled:
            return
        if error is not None:
            self._attributes[genai.ERROR_TYPE] = error.code
        reason = error.message if error is not None else None
        times = (self._began_ns, max(self._began_ns, time.time_ns()))
        span = FinishedSpan(
            self._context, self._id, None, self._name, SpanKind.SERVER, *times, self._attributes, self._own, (), reason
        )
        self._recorder.record(span)


def _usage(usage: Usage) -> Attributes:
    attributes: Attributes = {
        genai.INPUT_TOKENS: usage.prompt_tokens,
        genai.OUTPUT_TOKENS: usage.completion_tokens,
    }
    if usage.cached_tokens:
        attributes[genai.CACHED_TOKENS] = usage.cached_tokens
    if usage.reasoning_tokens:
        attributes[genai.REASONING_TOKENS] = usage.reasoning_tokens
    if usage.cost is not None:
        attributes[genai.COST] = usage.cost
    return attributes


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
