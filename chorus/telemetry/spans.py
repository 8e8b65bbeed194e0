"""Spans of a run, made of its journal with the journal's own times (O3).

Above: `otel` gives the tracer. Below: OpenTelemetry's API. A run is `invoke_workflow`, a stage with a
model is `chat`, a nested workflow is `invoke_workflow` again; the parent of a stage is the stage above
it in its path. Times are explicit, so that a span may be told of late.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from chorus.auth.principal import Principal
from chorus.errors import ChorusError
from chorus.events import Event, Path, RunFailed, RunFinished, RunStarted, StageFinished, StageStarted
from chorus.telemetry import genai
from chorus.telemetry.tracing import HasAddress, Headers, Traced, TracedCall
from chorus.types import Answer, ChatRequest
from chorus.usage import Usage

_MAX_OVER: Final = 1024
"""Runs whose context is kept for what is done behind them."""
_MIN_QUEUE_SECS: Final = 0.001
"""A wait that is shown; anything shorter is the writing of the request, not a queue."""
_MOST_CHARS: Final = 65_536
"""Of a message that is captured."""
_GOOD: Final = ("ok", "skipped")
_OF_STAGE: Final = {"recall": genai.SEARCH_MEMORY, "memorize": genai.UPSERT_MEMORY}

Attributes = dict[str, Any]


class SpanTracing:
    """Makes spans by `tracer`. `captures_content`: whether prompts and answers go into them."""

    def __init__(self, tracer: Tracer, *, captures_content: bool = False) -> None:
        self._tracer = tracer
        self._captures = captures_content
        self._over: OrderedDict[str, RunSpans] = OrderedDict()

    def begin(
        self, caller: Principal | None, models: Mapping[str, HasAddress], requests: Sequence[ChatRequest]
    ) -> Traced:
        """See `Tracing.begin`."""
        parent = propagate.extract((caller.trace if caller is not None else None) or {})
        spans = RunSpans(self._tracer, parent, models, requests if self._captures else (), self._keep)
        return Traced((spans.observe,), spans.headers)

    def after(self, workflow_id: str) -> Traced:
        """See `Tracing.after`."""
        spans = self._over.get(workflow_id)
        return Traced((spans.observe,), spans.headers) if spans is not None else Traced()

    def call(self, parent: Headers, model: str) -> TracedCall:
        """See `Tracing.call`."""
        return CallSpan(self._tracer, propagate.extract(parent), model)

    async def aclose(self) -> None:
        """See `Tracing.aclose`. Who made the tracer exports what waits."""

    def _keep(self, spans: RunSpans) -> None:
        self._over[spans.workflow_id] = spans
        if len(self._over) > _MAX_OVER:
            self._over.popitem(last=False)


class RunSpans:
    """The spans of one run: an observer of its journal."""

    def __init__(
        self,
        tracer: Tracer,
        parent: Context,
        models: Mapping[str, HasAddress],
        captured: Sequence[ChatRequest],
        ended: Any,
    ) -> None:
        """`parent` is the caller's context. `captured` are the requests, where their text is wanted.
        `ended` is called with these spans when the run is over."""
        self.workflow_id = ""
        self._tracer = tracer
        self._models = models
        self._captured = captured
        self._ended = ended
        self._began_ns = 0
        self._contexts: dict[Path, Context] = {(): parent}
        self._open: dict[Path, Span] = {}
        self._started: dict[Path, StageStarted] = {}

    def observe(self, event: Event) -> None:
        """Take an event of the journal in."""
        match event:
            case StageStarted():
                self._stage_started(event)
            case StageFinished():
                self._stage_finished(event)
            case RunStarted():
                self._run_started(event)
            case RunFinished() | RunFailed():
                self._run_over(event)
            case _:
                pass

    def headers(self, path: Path) -> Headers:
        """Return the context of a call that the stage at `path` makes."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier, self._context(path))
        return carrier

    def _run_started(self, event: RunStarted) -> None:
        self.workflow_id = event.workflow_id
        self._began_ns = round(event.started_at * 1e9)
        attributes: Attributes = {
            genai.OPERATION: genai.INVOKE_WORKFLOW,
            genai.WORKFLOW: event.workflow,
            genai.REQUEST_MODEL: event.model,
            genai.RUN_ID: event.workflow_id,
            genai.REQUEST_ID: event.request_id,
        }
        if event.choices > 1:
            attributes[genai.CHOICES] = event.choices
        if self._captured:
            attributes[genai.INPUT_MESSAGES] = _input(self._captured[0])
        self._begin((), f"{genai.INVOKE_WORKFLOW} {event.workflow}", SpanKind.INTERNAL, attributes, 0.0)

    def _stage_started(self, event: StageStarted) -> None:
        self._started[event.path] = event
        attributes: Attributes = {genai.STAGE: event.stage, genai.PATH: "/".join(event.path)}
        kind = SpanKind.INTERNAL
        if event.model is not None:
            entry = self._models.get(event.model)
            operation, name, kind = genai.CHAT, event.model, SpanKind.CLIENT
            attributes[genai.REQUEST_MODEL] = event.model
            if entry is not None:
                attributes |= genai.endpoint_attributes(entry.provider, entry.api_base)
            if event.temperature is not None:
                attributes[genai.TEMPERATURE] = event.temperature
        else:
            operation, name = _OF_STAGE.get(event.stage, genai.INVOKE_WORKFLOW), event.name
            if operation == genai.INVOKE_WORKFLOW:
                attributes[genai.WORKFLOW] = event.name
        attributes[genai.OPERATION] = operation
        self._begin(event.path, f"{operation} {name}", kind, attributes, event.at)

    def _stage_finished(self, event: StageFinished) -> None:
        span = self._open.pop(event.path, None)
        started = self._started.pop(event.path, None)
        if span is None or started is None:
            return
        if span.is_recording():
            span.set_attributes(self._outcome(event))
            for instance, at in zip(event.attempts, event.attempted_at, strict=False):
                span.add_event("attempt", {genai.INSTANCE: instance}, self._ns(at))
            if event.first_token_at is not None:
                span.add_event("first_token", timestamp=self._ns(event.first_token_at))
            if event.fault is not None and event.status not in _GOOD:
                span.set_attribute(genai.ERROR_TYPE, event.fault.code)
                span.set_status(Status(StatusCode.ERROR, event.fault.message))
            if event.queue_secs >= _MIN_QUEUE_SECS:
                self._queue(event, started)
        span.end(self._ns(event.at))

    def _outcome(self, event: StageFinished) -> Attributes:
        attributes: Attributes = {genai.STATUS: event.status}
        if event.instance_id is not None:
            attributes[genai.INSTANCE] = event.instance_id
            attributes[genai.ATTEMPTS] = len(event.attempts)
        if event.usage is not None:
            attributes |= _usage(event.usage)
        if event.answer is not None:
            attributes[genai.FINISH_REASONS] = [event.answer.finish_reason]
            if self._captured:
                attributes[genai.OUTPUT_MESSAGES] = _output([event.answer])
        selected = event.details.get("selected_worker")
        if isinstance(selected, str):
            attributes[genai.SELECTED] = selected
        return attributes

    def _queue(self, event: StageFinished, started: StageStarted) -> None:
        """The wait for a slot, as a span of its own below the stage's."""
        ends = event.attempted_at[0] if event.attempted_at else event.at
        begins = max(started.at, ends - event.queue_secs)
        span = self._tracer.start_span("queue", self._context(event.path), start_time=self._ns(begins))
        span.end(self._ns(ends))

    def _run_over(self, event: RunFinished | RunFailed) -> None:
        for path in [path for path in self._open if path != ()]:  # stages of which nothing follows
            span = self._open.pop(path)
            span.set_attribute(genai.STATUS, "cancelled")
            span.end(self._ns(event.at))
        root = self._open.pop((), None)
        if root is None:
            return
        if root.is_recording():
            root.set_attributes(_usage(event.usage))
            if isinstance(event, RunFinished):
                root.set_attribute(genai.FINISH_REASONS, [answer.finish_reason for answer in event.answers])
                if event.shortcuts:
                    root.set_attribute(genai.SHORTCUTS, [shortcut.name for shortcut in event.shortcuts])
                if event.first_token_at is not None:
                    root.add_event("first_token", timestamp=self._ns(event.first_token_at))
                if self._captured:
                    root.set_attribute(genai.OUTPUT_MESSAGES, _output(event.answers))
            else:
                root.set_attribute(genai.ERROR_TYPE, event.error.code)
                root.set_status(Status(StatusCode.ERROR, event.error.message))
        root.end(self._ns(event.at))
        # only the run's own context is needed from now on, by what is done behind it
        self._contexts = {(): self._contexts[()]}
        self._ended(self)

    def _begin(self, path: Path, name: str, kind: SpanKind, attributes: Attributes, at: float) -> None:
        parent = self._context(path[:-1])
        span = self._tracer.start_span(name, parent, kind=kind, attributes=attributes, start_time=self._ns(at))
        self._open[path] = span
        self._contexts[path] = set_span_in_context(span, parent)

    def _context(self, path: Path) -> Context:
        """The context of the nearest stage at or above `path`."""
        while path not in self._contexts:
            path = path[:-1]
        return self._contexts[path]

    def _ns(self, at: float) -> int:
        return self._began_ns + round(at * 1e9)


class CallSpan:
    """The span of one call that an inference worker answers."""

    def __init__(self, tracer: Tracer, parent: Context, model: str) -> None:
        attributes = {genai.OPERATION: genai.CHAT, genai.REQUEST_MODEL: model}
        self._span = tracer.start_span(f"{genai.CHAT} {model}", parent, kind=SpanKind.SERVER, attributes=attributes)
        self._parent = parent

    @property
    def headers(self) -> Headers:
        """See `TracedCall.headers`."""
        carrier: dict[str, str] = {}
        propagate.inject(carrier, set_span_in_context(self._span, self._parent))
        return carrier

    def took(self, usage: Usage) -> None:
        """See `TracedCall.took`."""
        self._span.set_attributes(_usage(usage))

    def end(self, error: ChorusError | None) -> None:
        """See `TracedCall.end`."""
        if error is not None:
            self._span.set_attribute(genai.ERROR_TYPE, error.code)
            self._span.set_status(Status(StatusCode.ERROR, error.message))
        self._span.end()


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
