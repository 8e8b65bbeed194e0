"""What Anthropic's clients send, in our words: turns of blocks (A4). The blocks are read in
`blocks`, the tools in `tools`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from chorus import wirejson
from chorus.anthropic_content import FORMAT, thinking_of
from chorus.errors import InvalidRequest
from chorus.extras import Extras
from chorus.server.dialects.anthropic.blocks import parts_of, result_of, string, texts_of
from chorus.server.dialects.anthropic.own_blocks import OwnBlocks, own_result
from chorus.server.dialects.opaque_reasoning import unseal
from chorus.server.dialects.warnings import Warnings
from chorus.types import ChatRequest, Extra, Message, Part, Role, Text, ToolCall
from chorus.usage import estimate_tokens
from chorus.wirejson import JSON

_ROLES: Final[Mapping[str, Role]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "developer",
}
CALLS: Final = "tool_calls"
"""In a sealed value: the extra fields of the calls of its turn, by their ids."""


class WireMessage(msgspec.Struct):
    """A message; its blocks are read by kind below."""

    role: str
    content: str | list[dict[str, Any]]


class Thinking(msgspec.Struct):
    """Whether and how long to think; `budget_tokens` in tokens."""

    type: str
    budget_tokens: int | None = None


class OutputFormat(msgspec.Struct):
    """A JSON schema for the answer."""

    type: Literal["json_schema"]
    schema: dict[str, Any]


class OutputConfig(msgspec.Struct):
    """The form of the answer."""

    format: OutputFormat | None = None
    effort: str | None = None


def messages(
    system: str | Sequence[Mapping[str, JSON]] | None, turns: Sequence[WireMessage], warnings: Warnings
) -> tuple[Message, ...]:
    """Return the whole conversation.

    What cannot be converted is left out, with a sentence in `warnings`.

    Raises:
        InvalidRequest: a role or block is malformed; `param` names it.
    """
    conversation: list[Message] = []
    if system:
        if isinstance(system, str):
            conversation.append(Message("system", system))
        else:
            own = OwnBlocks("system")
            for block in system:
                own.add({"type": "text", **block})
            parts = _joined(list(_system_parts(system, warnings)))
            conversation.append(Message("system", parts, extra=own.fields()))
    for position, turn in enumerate(turns):
        conversation.extend(_turn(turn, f"messages[{position}]", warnings))
    return tuple(conversation)


def _system_parts(blocks: Sequence[Mapping[str, JSON]], warnings: Warnings) -> Iterator[Part]:
    for index, block in enumerate(blocks):
        yield from parts_of({"type": "text", **block}, f"system[{index}]", warnings)


def _turn(turn: WireMessage, place: str, warnings: Warnings) -> Iterator[Message]:
    """Return one turn.

    Tool results inside a user turn are messages of their own, as everybody else has them.
    """
    role = _ROLES.get(turn.role)
    if role is None:
        raise InvalidRequest(f"Invalid value for '{place}.role': expected user or assistant.", param=f"{place}.role")
    if isinstance(turn.content, str):
        yield Message(role, turn.content)
        return
    parts: list[Part] = []
    calls: list[ToolCall] = []
    thoughts = _Thoughts()
    own = OwnBlocks(role)
    is_told = False
    for index, block in enumerate(turn.content):
        here = f"{place}.content[{index}]"
        kind = block.get("type")
        if kind == "tool_result":
            result = result_of(block, here, warnings)
            call_id = string(block, "tool_use_id", here)
            yield Message("tool", result, tool_call_id=call_id, extra=own_result(block))
            is_told = True
            continue
        if kind == "thinking":
            native = thoughts.add(block, texts_of(block.get("thinking")), "reasoning.text", "signature")
        elif kind == "redacted_thinking":
            native = thoughts.add(block, "", "reasoning.encrypted", "data")
        else:
            native = (block,)
        for item in native:
            own.add(item)
        if kind == "tool_use":
            extra = {"cache_control": block["cache_control"]} if block.get("cache_control") else {}
            name = string(block, "name", here)
            calls.append(ToolCall(string(block, "id", here), name, _arguments(block.get("input")), extra))
        elif kind not in ("thinking", "redacted_thinking"):
            parts.extend(parts_of(block, here, warnings))
    if parts or calls or thoughts.has_any or own.is_needed:
        yield thoughts.message(role, _joined(parts), calls, own.fields())
    elif not is_told and role == "user":
        yield Message(role, "")


class _Thoughts:
    """The thinking of one turn: of our own values what is sealed in them, else the text and the
    provider's signature in OpenRouter's `reasoning_details`, which is where OpenAI's shape has a
    place for it."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._details: list[JSON] = []
        self._extra = Extras()
        self._of_calls: dict[str, JSON] = {}

    @property
    def has_any(self) -> bool:
        """Whether the turn holds any."""
        return bool(self._texts or self._details or self._extra.whole())

    def add(self, block: Mapping[str, JSON], text: str, kind: str, field: str) -> Sequence[Mapping[str, JSON]]:
        """Take a block with this text, and a signed or encrypted value in its `field`.

        Return it as Anthropic wrote it, where it did: a value of ours holds what it was.
        """
        value, native = block.get(field), list[Mapping[str, JSON]]()
        sealed = unseal(value) if isinstance(value, str) else None
        if sealed is not None:
            extra = dict(sealed[1])
            of_calls = extra.pop(CALLS, None)
            self._of_calls |= of_calls if isinstance(of_calls, Mapping) else {}
            self._extra.add(extra)
            native.extend(thinking_of(extra))
            text = sealed[0]  # the block's own text may hold what Chorus said about its work
        elif isinstance(value, str) and value:
            detail = {"type": kind, field: value, "format": FORMAT, "index": len(self._details)}
            self._details.append({**detail, "text": text} if text else detail)
            native.append(block)
        if text:
            self._texts.append(text)
        return native

    def message(self, role: Role, content: str | tuple[Part, ...], calls: Sequence[ToolCall], own: Extra) -> Message:
        """Return the turn with its thinking, and the extra fields of its `own` blocks."""
        if self._details:
            self._extra.add({"reasoning_details": self._details})
        extra = {**self._extra.whole(), **own}
        completed = tuple(
            msgspec.structs.replace(call, extra={**call.extra, **more})
            if isinstance(more := self._of_calls.get(call.id), Mapping)
            else call
            for call in calls
        )
        return Message(role, content, "".join(self._texts), completed, extra=extra)


def _arguments(given: JSON) -> str:
    if isinstance(given, str) and given:
        return given
    return wirejson.encode(given or {}).decode()


def _joined(parts: Sequence[Part]) -> str | tuple[Part, ...]:
    """Return plain texts as one; parts with fields of their own stay apart."""
    if all(isinstance(part, Text) and not part.extra for part in parts):
        return "\n".join(part.text for part in parts if isinstance(part, Text))
    return tuple(parts)


def effort(thinking: Thinking | None, wanted: str | None) -> str | bool | None:
    """Return how much to think, as `reasoning_effort`: the effort itself, else by the budget, else
    whether at all.
    """
    if thinking is not None and thinking.type in ("disabled", "between_tools"):
        return False
    if wanted:
        return wanted
    if thinking is None:
        return None
    budget = thinking.budget_tokens
    if budget is None:
        return True
    return "low" if budget <= _LOW else "medium" if budget <= _MEDIUM else "high"


_LOW: Final = 4_096
_MEDIUM: Final = 16_384
"""Tokens of a thinking budget that stand for an effort: Claude Code's "think" is 4,000, "megathink"
10,000 and "ultrathink" 31,999.
"""


def response_format(wanted: OutputFormat | None) -> JSON:
    """Return Anthropic's output format as OpenAI's `response_format`."""
    if wanted is None:
        return None
    # not `strict`: OpenAI then refuses schemas with optional fields, which Anthropic allows
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": wanted.schema}}


def input_tokens(request: ChatRequest) -> int:
    """Return about how many tokens a model will read.

    An estimate, since each counts in its own way.
    """
    tools = request.tools.encoded.decode() if request.tools else ""
    return sum(map(estimate_tokens, (*(message.text for message in request.messages), tools)))
