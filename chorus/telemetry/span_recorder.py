"""Finished spans for the processors of OpenTelemetry's SDK, and W3C's headers (O3).

Above: `spans` says what a span holds. Below: the SDK samples, batches and exports. A span is made
once, when it is over: the SDK's own span, which can be written while it is open, takes 80 µs with
our attributes, this one 15 (benchmarks/spans.py).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler
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

Attributes = dict[str, Any]


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


@dataclass(frozen=True, slots=True)
class Recorder:
    """Where spans go: each processor gets each span when it is over."""

    sampler: Sampler
    ids: IdGenerator
    resource: Resource
    scope: InstrumentationScope
    processors: Sequence[SpanProcessor]

    def join(self, headers: Headers | None, name: str, kind: SpanKind, attributes: Attributes) -> TraceContext:
        """Return the trace of a caller with these headers, or a new one.

        The sampler decides with the first span's name, kind and attributes.
        """
        parent = _parent(headers or {})
        trace_id = parent.trace_id if parent is not None else self.ids.generate_trace_id()
        around = set_span_in_context(NonRecordingSpan(parent)) if parent is not None else None
        result = self.sampler.should_sample(around, trace_id, name, kind, attributes, ())
        random = parent.trace_flags & ~TraceFlags.SAMPLED if parent is not None else 0
        flags = random | (TraceFlags.SAMPLED if result.decision is Decision.RECORD_AND_SAMPLE else 0)
        carried = {key: value for key, value in (headers or {}).items() if key != "traceparent"}
        return TraceContext(trace_id, flags, result.trace_state or _NO_STATE, parent, carried)

    def new_id(self) -> int:
        """Return the id of a span."""
        return self.ids.generate_span_id()

    def record(
        self,
        context: TraceContext,
        span_id: int,
        parent_id: int | None,
        name: str,
        kind: SpanKind,
        began_ns: int,
        ended_ns: int,
        attributes: Attributes,
        events: Sequence[tuple[str, int, Attributes]] = (),
        error: str | None = None,
    ) -> None:
        """Hand on a span that is over.

        `parent_id` None: the caller's span. Times are nanoseconds since 1970; `error` says why it
        failed.
        """
        span = ReadableSpan(
            name,
            context.of(span_id),
            context.of(parent_id) if parent_id is not None else context.parent,
            self.resource,
            attributes,
            [Event(event, values, at) for event, at, values in events],
            kind=kind,
            status=Status(StatusCode.ERROR, error) if error is not None else _OK,
            start_time=began_ns,
            end_time=max(ended_ns, began_ns),
            instrumentation_scope=self.scope,
        )
        for processor in self.processors:
            processor.on_end(span)


def _parent(headers: Headers) -> SpanContext | None:
    """Return the caller's span; None where there is none, or none that can be read."""
    match = _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip())
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5]):
        return None
    state = TraceState.from_header([headers["tracestate"]]) if "tracestate" in headers else _NO_STATE
    flags = TraceFlags(int(match[4], 16))
    context = SpanContext(int(match[2], 16), int(match[3], 16), is_remote=True, trace_flags=flags, trace_state=state)
    return context if context.is_valid else None
