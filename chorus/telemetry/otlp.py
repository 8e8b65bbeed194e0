"""Spans as OTLP's protobuf message `ExportTraceServiceRequest`, written field by field. Pure.

Above: `otlp_exporter` sends it. Most attributes of a gateway's spans are the same in each span (the
model, its address, its instance), so that their bytes are kept. The exporter of the SDK makes an
object of each attribute: 70 µs a span where this takes 7 (benchmarks/spans.py).

Links are left out: Chorus makes none. Source: opentelemetry-proto 1.9, trace.proto and
common.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status

_FIXED64: Final = struct.Struct("<Q").pack
_DOUBLE: Final = struct.Struct("<d").pack
_KEPT: Final = 4096
"""Encoded attributes that are kept."""
_KEPT_CHARS: Final = 256
"""The longest text among them."""
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200


def encoded(spans: Iterable[ReadableSpan]) -> bytes:
    """Return `spans` as one request. Those of one resource and scope stand together."""
    resources: dict[int, tuple[Resource, dict[int, list[bytes]]]] = {}
    for span in spans:
        _, scopes = resources.setdefault(id(span.resource), (span.resource, {}))
        scope = scopes.get(id(span.instrumentation_scope))
        if scope is None:
            scope = scopes[id(span.instrumentation_scope)] = [_scope(span.instrumentation_scope)]
        scope.append(_field(2, _span(span)))
    return b"".join(_field(1, _resource(resource, scopes.values())) for resource, scopes in resources.values())


def _resource(resource: Resource, scopes: Iterable[Iterable[bytes]]) -> bytes:
    """A `ResourceSpans`."""
    named = _field(1, _attributes(1, resource.attributes))
    return named + b"".join(_field(2, b"".join(scope)) for scope in scopes)


def _scope(scope: InstrumentationScope | None) -> bytes:
    """The field of a `ScopeSpans` that names the scope."""
    return _field(1, _text(1, scope.name) + _text(2, scope.version or "") if scope is not None else b"")


def _span(span: ReadableSpan) -> bytes:
    context, parent = span.context, span.parent
    assert context is not None, "a span has a context"
    parts = [_context(context)]
    if parent is not None:
        parts.append(_field(4, parent.span_id.to_bytes(8, "big")))
    parts += (
        _text(5, span.name),
        _number(6, span.kind.value + 1),
        b"\x39" + _FIXED64(span.start_time or 0),
        b"\x41" + _FIXED64(span.end_time or 0),
        _attributes(9, span.attributes or {}),
        *(_field(11, _event(event)) for event in span.events),
    )
    parts += (_status(span.status), _flags(16, parent))
    return b"".join(parts)


def _status(status: Status) -> bytes:
    code = _number(3, status.status_code.value) if status.status_code.value else b""
    return _field(15, _text(2, status.description or "") + code)


def _context(context: SpanContext) -> bytes:
    """The fields 1 to 3 of a span."""
    ids = b"\x0a\x10" + context.trace_id.to_bytes(16, "big") + b"\x12\x08" + context.span_id.to_bytes(8, "big")
    state = context.trace_state
    return ids + _text(3, state.to_header()) if state else ids


def _event(event: Event) -> bytes:
    return b"\x09" + _FIXED64(event.timestamp) + _text(2, event.name) + _attributes(3, event.attributes or {})


def _flags(number: int, parent: SpanContext | None) -> bytes:
    """Whether the parent is of another process."""
    is_remote = _IS_REMOTE if parent is not None and parent.is_remote else 0
    return _varint(number << 3 | 5) + struct.pack("<I", _HAS_IS_REMOTE | is_remote)


def _attributes(number: int, attributes: Mapping[str, Any]) -> bytes:
    """`attributes` as the repeated field `number`."""
    parts = []
    for name, value in attributes.items():
        if isinstance(value, str) and len(value) > _KEPT_CHARS:
            parts.append(_attribute(number, name, value))
        else:
            parts.append(_kept(number, name, tuple(value) if isinstance(value, list) else value, type(value).__name__))
    return b"".join(parts)


def _attribute(number: int, name: str, value: Any) -> bytes:
    return _field(number, _text(1, name) + _field(2, _value(value)))


@lru_cache(_KEPT)
def _kept(number: int, name: str, value: Any, kind: str) -> bytes:
    """See `_attribute`. `kind` tells 1 from 1.0 and true, which are equal."""
    return _attribute(number, name, value)


def _value(value: Any) -> bytes:
    """An `AnyValue`. The API lets attributes be these, and sequences of them."""
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
    """A field with a text; nothing for an empty one."""
    return _field(number, text.encode("utf-8", "replace")) if text else b""


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _field(number: int, data: bytes) -> bytes:
    """A field with a text, bytes, or a message."""
    size = len(data)
    if size < 0x80 and number < 0x10:
        return bytes((number << 3 | 2, size)) + data
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
