"""Spans as OTLP's protobuf message `ExportTraceServiceRequest`, written field by field. Pure.

Above: `otlp_batches` keeps the bytes of spans, `otlp_exporter` sends them. Fields of a message may
come in any order, and most of a gateway's span is the same in each (the model, its address, its
instance): the bytes of such a shape are kept. The exporter of the SDK makes an object of each
attribute: 70 µs a span.

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

from chorus.telemetry.span_recorder import FinishedSpan, Shape

_IDS_AND_TIMES: Final = struct.Struct("<2s16s2s8scQcQ").pack
_FIXED64: Final = struct.Struct("<Q").pack
_DOUBLE: Final = struct.Struct("<d").pack
_KEPT: Final = 1024
"""Encoded shapes, numbers, and beginnings of texts, that are kept; of each as many."""
_SHORT: Final = tuple([tuple([bytes((number << 3 | 2, size)) for size in range(0x80)]) for number in range(0x10)])
"""What begins a field of this number with so many bytes."""
_KEPT_SIZE: Final = 256
"""Texts up to so many bytes, whose beginnings are kept: ids are all of a size, prompts are not."""
_LOCAL_OK: Final = b"\x7a\x00\x85\x01\x00\x01\x00\x00"
_REMOTE_OK: Final = b"\x7a\x00\x85\x01\x00\x03\x00\x00"
"""The fields `status`, which is unset, and `flags`: it is known whether the parent is of another
process; and it is."""
_FAILED: Final = b"\x18\x02"
"""STATUS_CODE_ERROR."""


def request(resource: Resource, scope: InstrumentationScope, spans: Iterable[bytes]) -> bytes:
    """Return a request with `spans`, which `encoded` has made."""
    named = _field(1, _attributes(1, resource.attributes))
    scoped = _field(1, _text(1, scope.name) + _text(2, scope.version or "")) + b"".join(spans)
    return _field(1, named + _field(2, scoped))


def encoded(span: FinishedSpan) -> bytes:
    """Return `span` as a field of a `ScopeSpans`."""
    trace, parent_id = span.trace, span.parent_id
    end = _LOCAL_OK
    if parent_id is None and (parent := trace.parent) is not None:
        parent_id = parent.span_id
        if parent.is_remote:
            end = _REMOTE_OK
    trace_id, span_id = trace.trace_id.to_bytes(16, "big"), span.span_id.to_bytes(8, "big")
    parts = [
        _IDS_AND_TIMES(b"\x0a\x10", trace_id, b"\x12\x08", span_id, b"\x39", span.began_ns, b"\x41", span.ended_ns),
        _kept_shape(span.shape),
    ]
    if parent_id is not None:
        parts += (b"\x22\x08", parent_id.to_bytes(8, "big"))
    if trace.state:
        parts.append(_text(3, trace.state.to_header()))
    for name, value in span.own.items():
        # in place: a call for each of three attributes is a tenth of a span
        if type(value) is int:
            parts.append(_kept_number(name, value))
        elif type(value) is str and len(value) <= _KEPT_SIZE:
            data = value.encode("utf-8", "replace")
            parts += (_begin_text(name, len(data)), data)
        else:
            parts.append(_attribute(9, name, value))
    for event, at, attributes in span.events:
        if attributes:
            parts.append(_field(11, _text(2, event) + _attributes(3, attributes) + b"\x09" + _FIXED64(at)))
        else:
            parts += (_begin_event(event), _FIXED64(at))
    parts.append(end if span.error is None else _field(15, _text(2, span.error) + _FAILED) + end[2:])
    return _field(2, b"".join(parts))


@lru_cache(_KEPT)
def _kept_shape(shape: Shape) -> bytes:
    return _text(5, shape.name) + b"\x30" + _varint(shape.kind.value + 1) + _attributes(9, shape.attributes)


@lru_cache(_KEPT)
def _kept_number(name: str, value: int) -> bytes:
    """See `_attribute`. Numbers of tokens come again."""
    return _attribute(9, name, value)


@lru_cache(_KEPT)
def _begin_text(name: str, size: int) -> bytes:
    """Return what stands before a text of `size` bytes that is the value of an attribute."""
    return _attribute(9, name, "x" * size)[: -size or None]


@lru_cache(_KEPT)
def _begin_event(name: str) -> bytes:
    """Return an event without attributes up to its time, which is its end."""
    return _field(11, _text(2, name) + b"\x09" + bytes(8))[:-8]


def _attributes(number: int, attributes: Mapping[str, Any]) -> bytes:
    """`attributes` as the repeated field `number`."""
    return b"".join([_attribute(number, name, value) for name, value in attributes.items()])


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


def _field(number: int, data: bytes) -> bytes:
    """Return a field with a text, bytes, or a message."""
    size = len(data)
    if size < 0x80 and number < 0x10:
        return _SHORT[number][size] + data
    if size < 0x4000 and number < 0x10:
        return bytes((number << 3 | 2, size & 0x7F | 0x80, size >> 7)) + data
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
