"""Requests as the trace keeps them: without decoded JSON, as bytes for other processes.

MessagePack holds a text as it is: 200,000 characters of code take 6 µs, as JSON 160 µs.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from chorus import encoded_messages, wirejson
from chorus.encoded_messages import EncodedMessages
from chorus.sizes import size_of_request
from chorus.types import ChatRequest, Tools

_EMPTY: Final[dict[str, Any]] = {
    "tool_choice": None,
    "response_format": None,
    "ollama_options": {},
    "responses_options": {},
    "anthropic_options": {},
    "extra": {},
}
"""Fields of a request that hold decoded JSON, empty. They are kept encoded: the tools of 1,000
requests would be millions of objects that the garbage collector walks through."""


_json_fields: Final = attrgetter(*_EMPTY)
_NONE: Final = msgspec.Raw(b"")


class KeptRequest(msgspec.Struct, frozen=True):
    """A request without its JSON fields. `tools`, `packed` and `messages` hold these encoded; they
    are empty where it has none, or has messages that are not encoded."""

    request: ChatRequest
    tools: bytes
    packed: bytes
    messages: msgspec.Raw
    size: int


def packed(request: ChatRequest) -> KeptRequest:
    """Return `request` with its JSON fields encoded."""
    encoded = b""
    if any(_json_fields(request)):
        encoded = wirejson.encode_upstream({name: value for name in _EMPTY if (value := getattr(request, name))})
    tools = request.tools.encoded if request.tools else b""
    if tools or encoded:
        request = msgspec.structs.replace(request, tools=Tools(), **_EMPTY)
    messages = _NONE
    if isinstance(request.messages, EncodedMessages):
        messages = request.messages.encoded
        request = msgspec.structs.replace(request, messages=())
    size = len(tools) + len(encoded) + len(messages) + size_of_request(request)
    return KeptRequest(request, tools, encoded, messages, size)


def unpacked(kept: KeptRequest) -> ChatRequest:
    """Return the request that `packed` was given."""
    return _whole(kept.request, kept.tools, kept.packed, kept.messages)


def encoded(requests: Sequence[KeptRequest]) -> bytes:
    """Return `requests` as bytes, which `decoded` reads."""
    try:
        return _encoder.encode(
            [_Row(kept.request, kept.tools, kept.packed, memoryview(kept.messages)) for kept in requests]
        )
    except OverflowError:  # a number of more than 64 bits, such as a seed
        rows = [
            _JsonRow(kept.request, _raw(kept.tools, b"[]"), _raw(kept.packed, b"{}"), kept.messages or _EMPTY_ARRAY)
            for kept in requests
        ]
        return _json_encoder.encode(rows)


def decoded(data: bytes) -> list[ChatRequest]:
    """Return the requests that `encoded` was given. Raises msgspec.DecodeError where another
    version of Chorus has written them otherwise."""
    is_json = data.startswith(_JSON_ARRAY)
    rows: Sequence[_Row | _JsonRow] = _json_decoder.decode(data) if is_json else _decoder.decode(data)
    return [_whole(row.request, bytes(row.tools), row.packed, msgspec.Raw(row.messages)) for row in rows]


def _whole(request: ChatRequest, tools: bytes, packed: bytes | msgspec.Raw, messages: msgspec.Raw) -> ChatRequest:
    """Return `request` with what is kept beside it."""
    fields: dict[str, Any] = msgspec.json.decode(packed) if packed else {}
    if tools:
        fields["tools"] = Tools(wirejson.decode_array(tools))
    if messages:
        fields["messages"] = encoded_messages.read(messages) or request.messages
    return msgspec.structs.replace(request, **fields) if fields else request


class _Row(msgspec.Struct, frozen=True):
    """A request; its tools, other JSON fields and messages are JSON texts, empty where it has none,
    or has its messages in itself."""

    request: ChatRequest
    tools: bytes
    packed: bytes
    messages: memoryview = msgspec.field(default_factory=lambda: memoryview(b""))


class _JsonRow(msgspec.Struct, frozen=True):
    """The same as earlier versions of Chorus wrote each, in an array of JSON."""

    request: ChatRequest
    tools: msgspec.Raw
    packed: msgspec.Raw
    messages: msgspec.Raw = msgspec.Raw(b"[]")


def _raw(text: bytes, default: bytes) -> msgspec.Raw:
    return msgspec.Raw(text or default)


def _empty_list(tools: object) -> list[object]:
    """Tools stand beside their request: those in it are none."""
    assert isinstance(tools, Tools), "a request holds what cannot be encoded"
    return []


def _made(kind: type[Any], value: object) -> Any:
    return kind(value)


_EMPTY_ARRAY: Final = msgspec.Raw(b"[]")
_JSON_ARRAY: Final = b"["
"""No array of MessagePack begins so."""
_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_empty_list)
_decoder: Final = msgspec.msgpack.Decoder(list[_Row], dec_hook=_made)
_json_encoder: Final = msgspec.json.Encoder(enc_hook=_empty_list)
_json_decoder: Final = msgspec.json.Decoder(list[_JsonRow], dec_hook=_made)
