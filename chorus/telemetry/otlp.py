"""Spans as OTLP's protobuf message `ExportTraceServiceRequest`, written field by field. Pure.

Above: `otlp_batches` keeps the bytes of spans, `otlp_exporter` sends them. Most attributes of a
gateway's spans are the same in each span (the model, its address, its instance), so that the bytes
of such a set are kept. The exporter of the SDK makes an object of each attribute: 70 µs a span.

Links are left out: Chorus makes none. Source: opentelemetry-proto 1.9, trace.proto and
common.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from chorus.telemetry.span_recorder import Attributes, FinishedSpan, SpanEvent

_TIMES: Final = struct.Struct("<cQcQ").pack
_TIME: Final = struct.Struct("<cQ").pack
_DOUBLE: Final = struct.Struct("<d").pack
_KEPT: Final = 1024
"""Encoded sets of attributes, and names, that are kept."""
_SHORT: Final = tuple([tuple([bytes((number << 3 | 2, size)) for size in range(0x80)]) for number in range(0x10)])
"""What begins a field of this number with so many bytes."""
_NO_STATUS: Final = b"\x7a\x00"
_FAILED: Final = b"\x18\x02"
"""STATUS_CODE_ERROR."""
_IS_LOCAL: Final = b"\x85\x01\x00\x01\x00\x00"
_IS_REMOTE: Final = b"\x85\x01\x00\x03\x00\x00"
"""The field `flags`: it is known whether the parent is of another process; and it is."""


def request(resource: Resource, scope: InstrumentationScope, spans: Iterable[bytes]) -> bytes:
    """Return a request with `spans`, which `encoded` has made."""
    named = _field(1, _attributes(1, resource.attributes))
    scoped = _field(1, _text(1, scope.name) + _text(2, scope.version or "")) + b"".join(spans)
    return _field(1, named + _field(2, scoped))


def encoded(span: FinishedSpan) -> bytes:
    """Return `span` as a field of a `ScopeSpans`."""
    trace = span.trace
    parent, parent_id = trace.parent, span.parent_id
    is_remote = parent_id is None and parent is not None and parent.is_remote
    if parent_id is None and parent is not None:
        parent_id = parent.span_id
    parts = [b"\x0a\x10", trace.trace_id.to_bytes(16, "big"), b"\x12\x08", span.span_id.to_bytes(8, "big")]
    if trace.state:
        parts.append(_text(3, trace.state.to_header()))
    if parent_id is not None:
        parts += (b"\x22\x08", parent_id.to_bytes(8, "big"))
    parts += (
        _name_and_kind(span.name, span.kind.value + 1),
        _TIMES(b"\x39", span.began_ns, b"\x41", span.ended_ns),
        _shared_attributes(span.attributes),
        _attributes(9, span.own),
        *[_field(11, _event(event)) for event in span.events],
        _NO_STATUS if span.error is None else _field(15, _text(2, span.error) + _FAILED),
        _IS_REMOTE if is_remote else _IS_LOCAL,
    )
    return _field(2, b"".join(parts))


@lru_cache(_KEPT)
def _name_and_kind(name: str, kind: int) -> bytes:
    return _text(5, name) + _number(6, kind)


def _event(event: SpanEvent) -> bytes:
    name, at, attributes = event
    return _TIME(b"\x09", at) + _text(2, name) + _attributes(3, attributes)


def _attributes(number: int, attributes: Mapping[str, Any]) -> bytes:
    """`attributes` as the repeated field `number`."""
    return b"".join(
        [
            _kept_number(number, name, value) if type(value) is int else _attribute(number, name, value)
            for name, value in attributes.items()
        ]
    )


@lru_cache(_KEPT)
def _kept_number(number: int, name: str, value: int) -> bytes:
    """See `_attribute`. Numbers of tokens come again."""
    return _attribute(number, name, value)


def _shared_attributes(attributes: Attributes) -> bytes:
    """Return attributes of a span, which other spans have too."""
    try:
        # the types tell 1 from 1.0 and true, which are equal
        return _kept_attributes((*attributes.items(),), (*map(type, attributes.values()),))
    except TypeError:  # a list
        return _attributes(9, attributes)


@lru_cache(_KEPT)
def _kept_attributes(attributes: tuple[tuple[str, Any], ...], types: tuple[type, ...]) -> bytes:
    return _attributes(9, dict(attributes))


def _attribute(number: int, name: str, value: Any) -> bytes:
    return _field(number, _text(1, name) + _field(2, _value(value)))


def _value(value: Any) -> bytes:
    """Return an `AnyValue`. The API lets attributes be these, and sequences of them."""
    if isinstance(value, str):
        return _field(1, value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value & 0xFFFFFFFFFFFFFFFF)
    if isinstance(value, float):
        return b"\x21" + _DOUBLE(value)
    if isinstance(value, bytes):
        return _field(7, value)
    if isinstance(value, Sequence):
        return _field(5, b"".join(_field(1, _value(item)) for item in value))
    return _field(1, str(value).encode("utf-8", "replace"))


def _text(number: int, text: str) -> bytes:
    """Return a field with a text; nothing for an empty one."""
    return _field(number, text.encode("utf-8", "replace")) if text else b""


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _field(number: int, data: bytes) -> bytes:
    """Return a field with a text, bytes, or a message."""
    size = len(data)
    if size < 0x80 and number < 0x10:
        return _SHORT[number][size] + data
    return _varint(number << 3 | 2) + _varint(size) + data


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
