"""Finished spans, who takes them, and W3C's headers (O3).

Above: `spans` says what a span holds. Below: `otlp_batches` encodes spans and sends them;
`SdkSpans` hands them to processors of OpenTelemetry's SDK. A span is made once, when it is over:
the SDK's own, which can be written while it is open, takes 80 µs with our attributes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, DEFAULT_ON, Decision, Sampler
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from chorus.telemetry.tracing import Headers

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_OK: Final = Status(StatusCode.UNSET)
_NO_STATE: Final = TraceState()

_SAMPLES_EACH_ROOT: Final = (DEFAULT_ON, ALWAYS_ON)

Attributes = dict[str, Any]
SpanEvent = tuple[str, int, Attributes]
"""Name, nanoseconds since 1970, attributes."""


class TraceContext:
    """The trace of a run or a call: its id, the caller's span, whether it is sampled."""

    __slots__ = ("_carried", "flags", "parent", "state", "trace_id")

    def __init__(
        self, trace_id: int, flags: int, state: TraceState, parent: SpanContext | None, carried: Headers
    ) -> None:
        self.trace_id = trace_id
        self.flags = flags
        self.state = state
        self.parent = parent
        self._carried = carried

    @property
    def is_sampled(self) -> bool:
        return bool(self.flags & TraceFlags.SAMPLED)

    def headers(self, span_id: int) -> Headers:
        """Return the headers of a call that the span makes (W3C Trace Context)."""
        return {"traceparent": f"00-{self.trace_id:032x}-{span_id:016x}-{self.flags:02x}", **self._carried}

    def of(self, span_id: int) -> SpanContext:
        """Return the context of one of its spans."""
        return SpanContext(
            self.trace_id, span_id, is_remote=False, trace_flags=TraceFlags(self.flags), trace_state=self.state
        )


class FinishedSpan(msgspec.Struct, frozen=True):
    """A span that is over. `parent_id` None: its parent is the caller's span. Times are nanoseconds
    since 1970. Other spans have the same `attributes`, and none has the same `own` ones, such as
    ids and texts. `error` says why it failed.
    """

    trace: TraceContext
    span_id: int
    parent_id: int | None
    name: str
    kind: SpanKind
    began_ns: int
    ended_ns: int
    attributes: Attributes
    own: Attributes
    events: Sequence[SpanEvent] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Recorder:
    """Makes traces, and hands each span that is over to each of `takers`."""

    sampler: Sampler
    ids: IdGenerator
    takers: Sequence[Callable[[FinishedSpan], object]]

    def join(self, headers: Headers | None, name: str, kind: SpanKind, attributes: Attributes) -> TraceContext:
        """Return the trace of a caller with these headers, or a new one.

        The sampler decides with the first span's name, kind and attributes.
        """
        parent = _parent(headers) if headers else None
        if parent is None:
            trace_id, around, random = self.ids.generate_trace_id(), None, 0
        else:
            trace_id, random = parent.trace_id, parent.trace_flags & ~TraceFlags.SAMPLED
            around = set_span_in_context(NonRecordingSpan(parent))
        carried = {key: value for key, value in headers.items() if key != "traceparent"} if headers else {}
        # asking the default one costs 10 µs
        if parent is None and self.sampler in _SAMPLES_EACH_ROOT:
            return TraceContext(trace_id, TraceFlags.SAMPLED, _NO_STATE, None, carried)
        result = self.sampler.should_sample(around, trace_id, name, kind, attributes, ())
        flags = random | (TraceFlags.SAMPLED if result.decision is Decision.RECORD_AND_SAMPLE else 0)
        return TraceContext(trace_id, flags, result.trace_state or _NO_STATE, parent, carried)

    def new_id(self) -> int:
        """Return the id of a span."""
        return self.ids.generate_span_id()

    def record(self, span: FinishedSpan) -> None:
        """Hand on a span that is over."""
        for take in self.takers:
            take(span)


@dataclass(frozen=True, slots=True)
class SdkSpans:
    """Hands spans to `processors` of the SDK."""

    resource: Resource
    scope: InstrumentationScope
    processors: Sequence[SpanProcessor]

    def __call__(self, span: FinishedSpan) -> None:
        """Take a span that is over."""
        readable = self.readable(span)
        for processor in self.processors:
            processor.on_end(readable)

    def readable(self, span: FinishedSpan) -> ReadableSpan:
        """Return `span` as the SDK's."""
        trace = span.trace
        return ReadableSpan(
            span.name,
            trace.of(span.span_id),
            trace.of(span.parent_id) if span.parent_id is not None else trace.parent,
            self.resource,
            {**span.attributes, **span.own},
            [Event(event, values, at) for event, at, values in span.events],
            kind=span.kind,
            status=Status(StatusCode.ERROR, span.error) if span.error is not None else _OK,
            start_time=span.began_ns,
            end_time=span.ended_ns,
            instrumentation_scope=self.scope,
        )


def _parent(headers: Headers) -> SpanContext | None:
    """Return the caller's span; None where there is none, or none that can be read."""
    match = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip())
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    state = TraceState.from_header([headers["tracestate"]]) if "tracestate" in headers else _NO_STATE
    flags = TraceFlags(int(match[4], 16))
    context = SpanContext(int(match[2], 16), int(match[3], 16), is_remote=True, trace_flags=flags, trace_state=state)
    return context if context.is_valid else None
