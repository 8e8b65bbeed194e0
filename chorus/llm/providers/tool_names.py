"""The names of functions as an API takes them. Pure.

MCP servers name tools `github.create_issue`, and clients put the names of servers and plug-ins in
front: Anthropic takes letters, digits, `_` and `-`, and OpenAI no more than 64 of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

import msgspec

from chorus.llm.base import Chunk
from chorus.types import ChatRequest, ToolCall, Tools
from chorus.wirejson import JSON

MOST: Final = 64
"""Characters that OpenAI takes in the name of a function."""
_REFUSED: Final = re.compile(r"[^a-zA-Z0-9_-]")
_NOTHING: Final[Mapping[str, str]] = {}


class _Named(msgspec.Struct, frozen=True, gc=False):
    name: str = ""


class _Tool(msgspec.Struct, gc=False):
    function: _Named = _Named()


_decode: Final = msgspec.json.Decoder(list[_Tool]).decode


def changed_names(request: ChatRequest, most: int) -> Mapping[str, str]:
    """Return the names of functions that an API with at most `most` characters refuses, each with
    the one that stands for it. Empty of most requests.
    """
    names = dict.fromkeys(_names_of(request.tools))
    for message in request.messages:
        if message.tool_calls:
            for call in message.tool_calls:
                names[call.name] = None
    if not names or (not _REFUSED.search("".join(names)) and len(max(names, key=len)) <= most and "" not in names):
        return _NOTHING
    odd = [name for name in names if len(name) > most or not name or _REFUSED.search(name)]
    taken = set(names)
    changed: dict[str, str] = {}
    for name in odd:
        sent = _REFUSED.sub("_", name) or "_"
        if sent in taken or len(sent) > most:
            ending = "_" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
            sent = sent[: most - len(ending)] + ending
        taken.add(sent)
        changed[name] = sent
    return changed


def renamed(request: ChatRequest, most: int) -> ChatRequest:
    """Return `request` with names that an API with at most `most` characters takes."""
    names = changed_names(request, most)
    if not names:
        return request
    return msgspec.structs.replace(
        request,
        tools=Tools([_renamed(tool, names) for tool in request.tools]),
        tool_choice=_renamed(request.tool_choice, names),
        messages=tuple(
            msgspec.structs.replace(
                message, tool_calls=tuple(_renamed_call(call, names) for call in message.tool_calls)
            )
            if message.tool_calls
            else message
            for message in request.messages
        ),
    )


async def with_own_names(chunks: AsyncIterator[Chunk], names: OwnNames) -> AsyncIterator[Chunk]:
    """Yield `chunks` with the client's names of the functions that the model calls."""
    async for chunk in chunks:
        if any(piece.name for piece in chunk.tool_calls):
            pieces = tuple(
                piece if not piece.name else msgspec.structs.replace(piece, name=names.of(piece.name))
                for piece in chunk.tool_calls
            )
            chunk = msgspec.structs.replace(chunk, tool_calls=pieces)
        yield chunk


def _renamed(value: JSON, names: Mapping[str, str]) -> JSON:
    """Return a tool, or a choice among tools, with the names that are sent."""
    if not isinstance(value, Mapping):
        return value
    function, allowed = value.get("function"), value.get("allowed_tools")
    if isinstance(function, Mapping) and function.get("name") in names:
        return {**value, "function": {**function, "name": names[str(function["name"])]}}
    listed = allowed.get("tools") if isinstance(allowed, Mapping) else None
    if isinstance(allowed, Mapping) and isinstance(listed, list):
        return {**value, "allowed_tools": {**allowed, "tools": [_renamed(tool, names) for tool in listed]}}
    return value


def _renamed_call(call: ToolCall, names: Mapping[str, str]) -> ToolCall:
    return call if call.name not in names else msgspec.structs.replace(call, name=names[call.name])


class OwnNames:
    """Turns the names in an answer back into the client's, of a request with functions."""

    def __init__(self, request: ChatRequest, most: int) -> None:
        self._request = request
        self._most = most
        self._names: Mapping[str, str] | None = None

    def of(self, name: str) -> str:
        """Return the client's name for a function that the model calls."""
        if self._names is None:  # not before a call comes: most answers have none
            changed = changed_names(self._request, self._most)
            self._names = {sent: own for own, sent in changed.items()}
        return self._names.get(name, name)


def is_odd(name: JSON) -> bool:
    """Return whether OpenAI refuses the name of a function."""
    return isinstance(name, str) and (len(name) > MOST or not name or _REFUSED.search(name) is not None)


def _names_of(tools: Tools) -> Iterable[str]:
    if not tools:
        return ()
    try:
        return [tool.function.name for tool in _decode(tools.encoded) if tool.function.name]
    except msgspec.ValidationError:  # a tool of another kind
        functions = (tool.get("function") for tool in tools if isinstance(tool, Mapping))
        return [
            str(function["name"]) for function in functions if isinstance(function, Mapping) and function.get("name")
        ]
