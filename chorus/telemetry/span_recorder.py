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
_NO_HEADERS: Final[Headers] = {}
_SAMPLED: Final = int(TraceFlags.SAMPLED)

_SAMPLES_EACH_ROOT: Final = (DEFAULT_ON, ALWAYS_ON)

Attributes = dict[str, Any]
SpanEvent = tuple[str, int, Attributes]
"""Name, nanoseconds since 1970, attributes."""


class TraceContext(msgspec.Struct, frozen=True):
    """The trace of a run or a call: its id, the caller's span, whether it is sampled. `carried` are
    the caller's headers that go on as they are."""

    trace_id: int
    flags: int
    state: TraceState | None
    parent: SpanContext | None
    carried: Headers

    @property
    def is_sampled(self) -> bool:
        return bool(self.flags & _SAMPLED)

    def headers(self, span_id: int) -> Headers:
        """Return the headers of a call that the span makes (W3C Trace Context)."""
        return {"traceparent": f"00-{self.trace_id:032x}-{span_id:016x}-{self.flags:02x}", **self.carried}

    def of(self, span_id: int) -> SpanContext:
        """Return the context of one of its spans."""
        return SpanContext(
            self.trace_id, span_id, is_remote=False, trace_flags=TraceFlags(self.flags), trace_state=self.state
        )


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Name, kind and attributes that many spans have. Its identity is its key: whoever keeps
    something of a shape compares no attributes to find it."""

    name: str
    kind: SpanKind
    attributes: Attributes


class FinishedSpan(msgspec.Struct, frozen=True):
    """A span that is over. `parent_id` None: its parent is the caller's span. Times are nanoseconds
    since 1970. `own` are attributes that no other span has, such as ids and texts. `error` says why
    it failed.
    """

    trace: TraceContext
    span_id: int
    parent_id: int | None
    shape: Shape
    began_ns: int
    ended_ns: int
    own: Attributes
    events: Sequence[SpanEvent] = ()
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Recorder:
    """Makes traces, and hands spans that are over to each of `takers`."""

    sampler: Sampler
    new_trace_id: Callable[[], int]
    new_id: Callable[[], int]
    """Returns the id of a span."""
    takers: Sequence[Callable[[Sequence[FinishedSpan]], object]]

    def join(self, headers: Headers | None, first: Shape) -> TraceContext:
        """Return the trace of a caller with these headers, or a new one.

        The sampler decides with the shape of its `first` span, as far as that is known.
        """
        # asking the default sampler costs 10 µs
        if not headers and self.sampler in _SAMPLES_EACH_ROOT:
            return TraceContext(self.new_trace_id(), _SAMPLED, None, None, _NO_HEADERS)
        parent = _parent(headers) if headers else None
        if parent is None:
            trace_id, around, random = self.new_trace_id(), None, 0
        else:
            trace_id, random = parent.trace_id, parent.trace_flags & ~_SAMPLED
            around = set_span_in_context(NonRecordingSpan(parent))
        carried = {key: value for key, value in headers.items() if key != "traceparent"} if headers else {}
        result = self.sampler.should_sample(around, trace_id, first.name, first.kind, first.attributes, ())
        flags = random | (_SAMPLED if result.decision is Decision.RECORD_AND_SAMPLE else 0)
        return TraceContext(trace_id, flags, result.trace_state or None, parent, carried)

    def record(self, spans: Sequence[FinishedSpan]) -> None:
        """Hand on spans that are over."""
        for take in self.takers:
            take(spans)


@dataclass(frozen=True, slots=True)
class SdkSpans:
    """Hands spans to `processors` of the SDK."""

    resource: Resource
    scope: InstrumentationScope
    processors: Sequence[SpanProcessor]

    def __call__(self, spans: Sequence[FinishedSpan]) -> None:
        """Take spans that are over."""
        for span in spans:
            readable = self.readable(span)
            for processor in self.processors:
                processor.on_end(readable)

    def readable(self, span: FinishedSpan) -> ReadableSpan:
        """Return `span` as the SDK's."""
        trace, shape = span.trace, span.shape
        return ReadableSpan(
            shape.name,
            trace.of(span.span_id),
            trace.of(span.parent_id) if span.parent_id is not None else trace.parent,
            self.resource,
            {**shape.attributes, **span.own},
            [Event(event, values, at) for event, at, values in span.events],
            kind=shape.kind,
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
    state = TraceState.from_header([headers["tracestate"]]) if "tracestate" in headers else None
    flags = TraceFlags(int(match[4], 16))
    context = SpanContext(int(match[2], 16), int(match[3], 16), is_remote=True, trace_flags=flags, trace_state=state)
    return context if context.is_valid else None
