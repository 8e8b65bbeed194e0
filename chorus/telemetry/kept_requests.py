"""Requests as the trace keeps them: without decoded JSON, as one text for other processes."""

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
    """Return `requests` as a JSON text, which `decoded` reads."""
    rows = [
        _Row(kept.request, msgspec.Raw(kept.tools or b"[]"), msgspec.Raw(kept.packed or b"{}")) for kept in requests
    ]
    return _encoder.encode(rows)


def decoded(text: bytes) -> list[ChatRequest]:
    """Return the requests that `encoded` was given. Raises msgspec.DecodeError where another
    version of Chorus has written them otherwise."""
    return [
        msgspec.structs.replace(
            row.request, tools=Tools(wirejson.decode_array(bytes(row.tools))), **msgspec.json.decode(row.packed)
        )
        for row in _decoder.decode(text)
    ]


class _Row(msgspec.Struct, frozen=True):
    request: ChatRequest
    tools: msgspec.Raw
    packed: msgspec.Raw


def _empty_list(tools: object) -> list[object]:
    """Tools stand beside their request: those in it are none."""
    assert isinstance(tools, Tools), "a request holds what cannot be encoded"
    return []


_encoder: Final = msgspec.json.Encoder(enc_hook=_empty_list)
_decoder: Final = msgspec.json.Decoder(list[_Row], dec_hook=lambda kind, value: kind(value))
