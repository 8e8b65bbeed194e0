"""What of a request only Anthropic's own API understands, kept for an upstream that has it.

Everything here is in the request in our words as well, as far as we have words for it: other
upstreams get that, and the client a warning. An upstream of Anthropic's gets the blocks and fields
as the client wrote them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from chorus.anthropic_content import CONTENT, DIRECT, Order
from chorus.server.dialects.base import Options, ParsedRequest
from chorus.types import Extra, Message, Role
from chorus.wirejson import JSON

PROVIDER: Final = "anthropic"
"""The provider whose upstreams get what is kept here."""
FIELDS: Final = (
    *("thinking", "output_config", "output_format", "metadata", "service_tier", "cache_control", "container"),
    *("context_management", "fallbacks", "inference_geo", "mcp_servers", "speed", "diagnostics"),
)
"""Fields of a request that go on as they are."""
_COMMON_SOURCES: Final = frozenset({"base64", "url"})
_OF_TOOLS: Final = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})
_OF_RESULTS: Final = frozenset({"type", "tool_use_id", "content", "cache_control"})
_NOTHING: Final[Extra] = {}
_PRIVATE: Final = "oauth-"
"""What the names of beta features begin with that belong to the client's own key."""


def options_of(body: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the fields of a request for `ChatRequest.anthropic_options`."""
    options = {name: body[name] for name in FIELDS if body.get(name) is not None}
    tools = body.get("tools")
    if isinstance(tools, list) and any(_is_own(tool) for tool in tools):
        options["tools"] = tools
        if body.get("tool_choice") is not None:
            options["tool_choice"] = body["tool_choice"]
    return options


def _is_own(tool: JSON) -> bool:
    """Return whether a tool runs at Anthropic, has a schema of Anthropic's, or fields that
    functions do not have.
    """
    return isinstance(tool, Mapping) and (tool.get("type") not in (None, "custom") or not tool.keys() <= _OF_TOOLS)


def for_provider(parsed: ParsedRequest[Options], provider: str | None, betas: str) -> ParsedRequest[Options]:
    """Return `parsed` as it goes to a model of `provider`, None to a workflow: to Anthropic's own
    API everything goes, and no warning holds. `betas` is the client's `anthropic-beta` header;
    names that belong to the client's own key stay here.
    """
    if provider not in (None, PROVIDER):
        requests = [
            msgspec.structs.replace(
                request, anthropic_options={}, messages=tuple(map(_without_blocks, request.messages))
            )
            for request in parsed.requests
        ]
        return msgspec.structs.replace(parsed, requests=tuple(requests))
    warnings = parsed.warnings if provider is None else ()
    names = [name for part in betas.split(",") if (name := part.strip()) and not name.startswith(_PRIVATE)]
    if names:
        options = [{**request.anthropic_options, "betas": names} for request in parsed.requests]
        requests = [
            msgspec.structs.replace(request, anthropic_options=own)
            for request, own in zip(parsed.requests, options, strict=True)
        ]
        parsed = msgspec.structs.replace(parsed, requests=tuple(requests))
    return msgspec.structs.replace(parsed, warnings=warnings)


def _without_blocks(message: Message) -> Message:
    """Return a message without its blocks, which only Anthropic's own API reads."""
    if not message.extra or CONTENT not in message.extra:
        return message
    extra = {name: value for name, value in message.extra.items() if name != CONTENT}
    return msgspec.structs.replace(message, extra=extra)


class OwnBlocks:
    """The blocks of one turn, kept where a message of ours would lose some of them, their order, or
    that texts are apart: the prompt cache knows a turn by its blocks, whether a mark stands in it
    or no more.
    """

    def __init__(self, role: Role) -> None:
        self._is_answer = role == "assistant"
        self._order = Order()
        self._blocks: list[Mapping[str, JSON]] = []
        self._texts = 0
        self.is_needed = False

    def add(self, block: Mapping[str, JSON]) -> None:
        """Take the next block, which is no result of a tool: thinking with Anthropic's own
        signature.
        """
        self._blocks.append(block)
        self._texts += block.get("type") == "text"
        if self._texts > 1:
            self.is_needed = True
        elif not self.is_needed:
            self.is_needed = self._order.is_unusual(block) if self._is_answer else _is_unusual(block)

    def fields(self) -> Extra:
        """Return the extra fields of the message; empty where it says all of the blocks."""
        if not self.is_needed:
            return _NOTHING
        return {CONTENT: self._blocks}


def _is_unusual(block: Mapping[str, JSON]) -> bool:
    """Return whether a block of a user's turn is one that a part of ours does not say as it is."""
    kind, source = block.get("type"), block.get("source")
    if kind == "text":
        return bool(block.get("citations"))
    if kind not in ("image", "document"):
        return True
    is_common = isinstance(source, Mapping) and source.get("type") in _COMMON_SOURCES
    return not is_common or bool(block.get("citations") or block.get("context"))


def own_result(block: Mapping[str, JSON]) -> Extra:
    """Return the extra fields of a tool's result: the block itself, where a message of ours does
    not say it.
    """
    content = block.get("content")
    inner: list[Any] = content if isinstance(content, list) else []
    entries = [entry for entry in inner if isinstance(entry, Mapping)]
    has_texts = sum(entry.get("type") == "text" for entry in entries) > 1
    is_common = block.keys() <= _OF_RESULTS and not has_texts and not any(map(_is_unusual, entries))
    return _NOTHING if is_common and block.get("caller") in (None, DIRECT) else {CONTENT: [block]}
