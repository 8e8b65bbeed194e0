"""The names of functions as an API takes them. Pure.

MCP servers name tools `github.create_issue`, and clients put the names of servers and plug-ins in
front: Anthropic takes letters, digits, `_` and `-`, and OpenAI no more than 64 of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from chorus.types import ChatRequest, Tools

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


def _names_of(tools: Tools) -> Iterable[str]:
    if not tools:
        return ()
    try:
        return [tool.function.name for tool in _decode(tools.encoded) if tool.function.name]
    except msgspec.ValidationError:  # a tool of another kind
        functions = (tool.get("function") for tool in tools if isinstance(tool, Mapping))
        return [str(each["name"]) for each in functions if isinstance(each, Mapping) and each.get("name")]
