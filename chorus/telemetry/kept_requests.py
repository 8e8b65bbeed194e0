"""Requests as the trace keeps them: without decoded JSON, as bytes for other processes.

MessagePack holds a text as it is: 200,000 characters of code take 6 µs, as JSON 160 µs.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from chorus import wirejson
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


class KeptRequest(msgspec.Struct, frozen=True):
    """A request without its JSON fields. `tools` and `packed` hold these encoded; they are empty
    where it has none."""

    request: ChatRequest
    tools: bytes
    packed: bytes
    size: int


def packed(request: ChatRequest) -> KeptRequest:
    """Return `request` with its JSON fields encoded."""
    encoded = b""
    if any(_json_fields(request)):
        encoded = wirejson.encode_upstream({name: value for name in _EMPTY if (value := getattr(request, name))})
    tools = request.tools.encoded if request.tools else b""
    if tools or encoded:
        request = msgspec.structs.replace(request, tools=Tools(), **_EMPTY)
    return KeptRequest(request, tools, encoded, len(tools) + len(encoded) + size_of_request(request))


def unpacked(kept: KeptRequest) -> ChatRequest:
    """Return the request that `packed` was given."""
    if not kept.tools and not kept.packed:
        return kept.request
    fields = msgspec.json.decode(kept.packed) if kept.packed else {}
    tools = Tools(wirejson.decode_array(kept.tools)) if kept.tools else Tools()
    return msgspec.structs.replace(kept.request, tools=tools, **fields)


def encoded(requests: Sequence[KeptRequest]) -> bytes:
    """Return `requests` as bytes, which `decoded` reads."""
    try:
        return _encoder.encode([_Row(kept.request, kept.tools, kept.packed) for kept in requests])
    except OverflowError:  # a number of more than 64 bits, such as a seed
        rows = [_JsonRow(kept.request, _raw(kept.tools, b"[]"), _raw(kept.packed, b"{}")) for kept in requests]
        return _json_encoder.encode(rows)


def decoded(data: bytes) -> list[ChatRequest]:
    """Return the requests that `encoded` was given. Raises msgspec.DecodeError where another
    version of Chorus has written them otherwise."""
    is_json = data.startswith(_JSON_ARRAY)
    rows: Sequence[_Row | _JsonRow] = _json_decoder.decode(data) if is_json else _decoder.decode(data)
    return [
        msgspec.structs.replace(
            row.request,
            tools=Tools(wirejson.decode_array(bytes(row.tools) or b"[]")),
            **msgspec.json.decode(row.packed or b"{}"),
        )
        for row in rows
    ]


class _Row(msgspec.Struct, frozen=True):
    """A request; its tools and other JSON fields are JSON texts, empty where it has none."""

    request: ChatRequest
    tools: bytes
    packed: bytes


class _JsonRow(msgspec.Struct, frozen=True):
    """The same as earlier versions of Chorus wrote each, in an array of JSON."""

    request: ChatRequest
    tools: msgspec.Raw
    packed: msgspec.Raw


def _raw(text: bytes, default: bytes) -> msgspec.Raw:
    return msgspec.Raw(text or default)


def _empty_list(tools: object) -> list[object]:
    """Tools stand beside their request: those in it are none."""
    assert isinstance(tools, Tools), "a request holds what cannot be encoded"
    return []


def _made(kind: type[Any], value: object) -> Any:
    return kind(value)


_JSON_ARRAY: Final = b"["
"""No array of MessagePack begins so."""
_encoder: Final = msgspec.msgpack.Encoder(enc_hook=_empty_list)
_decoder: Final = msgspec.msgpack.Decoder(list[_Row], dec_hook=_made)
_json_encoder: Final = msgspec.json.Encoder(enc_hook=_empty_list)
_json_decoder: Final = msgspec.json.Decoder(list[_JsonRow], dec_hook=_made)
