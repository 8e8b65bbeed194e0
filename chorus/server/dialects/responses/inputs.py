"""Every form of input that `/v1/responses` takes, as messages (A3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from chorus.errors import InvalidRequest, MissingInput, UnsupportedFeature
from chorus.server.dialects.responses.history import History, result, string
from chorus.server.dialects.responses.parts import PARTS, content, parts
from chorus.server.dialects.responses.tools import ToolTable, arguments_text
from chorus.server.dialects.responses.turns import Turns
from chorus.server.dialects.warnings import Warnings
from chorus.types import Message, Role, Text, ToolCall
from chorus.wirejson import JSON

_ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_CALL_FIELDS: Final = frozenset({"id", "type", "function", "index"})
NOTHING: Final = "invalid request: missing input/messages/prompt/instructions"


def messages(
    instructions: JSON,
    given: JSON,
    turns: JSON,
    prompt: JSON,
    table: ToolTable,
    warnings: Warnings,
    *,
    keeps_items: bool = False,
) -> tuple[Message, ...]:
    """Return the conversation of `instructions`, then `input`, `messages` and `prompt`, as far as
    each is there. `table` has the names of the functions that stand for tools. With `keeps_items`
    messages have the items in them that only a model behind the Responses API takes
    (`types.RESPONSES_ITEM`), which `upstream_items.for_chat` removes.

    Instructions alone are what is asked, so they go as the user's turn.

    Raises:
        MissingInput: nothing usable is there.
        UnsupportedFeature: `prompt` names a template that OpenAI keeps.
        InvalidRequest: an item has a shape that we do not know; `param` names it.
    """
    if isinstance(prompt, Mapping) and "id" in prompt and not prompt.keys() & {"content", "text", "type", "role"}:
        raise UnsupportedFeature("Prompt templates by id are kept at OpenAI; send the prompt itself.", param="prompt")
    reader = _Reader(table, warnings, keeps_items=keeps_items)
    for value, place in ((given, "input"), (turns, "messages"), (prompt, "prompt")):
        reader.read(value, place)
    conversation = reader.messages()
    system = "\n".join(part.text for part in parts(instructions, "instructions", warnings) if isinstance(part, Text))
    if system.strip():
        conversation.insert(0, Message("system" if conversation else "user", system))
    if not conversation:
        raise MissingInput(NOTHING, param="input")
    return tuple(conversation)


class _Reader:
    def __init__(self, table: ToolTable, warnings: Warnings, *, keeps_items: bool) -> None:
        self._warnings = warnings
        self._turns = Turns(warnings, keeps_items=keeps_items)
        self._history = History(self._turns, table, warnings, keeps_items=keeps_items)

    def messages(self) -> list[Message]:
        """Return the messages of all that was read."""
        return self._turns.messages(self._history.call_extras)

    def read(self, value: JSON, place: str) -> None:
        """Take a string, an item, or items nested in lists."""
        if value is None:
            return
        if isinstance(value, str):
            if value.strip():
                self._turns.add(Message("user", value))
        elif isinstance(value, list):
            for position, item in enumerate(value):
                self.read(item, f"{place}[{position}]")
        elif isinstance(value, Mapping):
            self._item(value, place)
        else:
            raise InvalidRequest(f"Invalid value for '{place}': expected a string, an item or a list.", param=place)

    def _item(self, item: Mapping[str, Any], place: str) -> None:
        """Take one item. Items without `type` are messages, as the SDK's shorthand has them."""
        kind = item.get("type", "message")
        if kind == "message":
            self._message(item, place)
        elif kind == "item_reference":
            raise InvalidRequest(f"Invalid value for '{place}': there is no stored item of this id.", param=place)
        elif isinstance(kind, str) and kind in PARTS:
            text = content([item], place, self._warnings)
            if text:
                self._turns.add(Message("assistant" if kind == "output_text" else "user", text))
        else:
            self._history.read(item, place)

    def _message(self, item: Mapping[str, Any], place: str) -> None:
        role = item.get("role", "user")
        if not isinstance(role, str) or role not in _ROLES:
            raise InvalidRequest(
                f"Invalid value for '{place}.role': expected one of {', '.join(_ROLES)}.", param=f"{place}.role"
            )
        given = item.get("content", item.get("text"))
        if role == "tool":
            text = result(given, f"{place}.content", self._warnings)
            call_id = string(item, "tool_call_id", place)
            self._turns.add(Message("tool", text, tool_call_id=call_id))
            return
        text = content(given, f"{place}.content", self._warnings)
        calls = tuple(_chat_calls(item.get("tool_calls"), f"{place}.tool_calls"))
        reasoning = item.get("reasoning_content") or item.get("reasoning")
        name = item.get("name")
        if text or calls:
            self._turns.add(
                Message(
                    _ROLES[role],
                    text,
                    reasoning if isinstance(reasoning, str) else "",
                    calls,
                    name=name if isinstance(name, str) else None,
                    extra=self._history.phase_of(item),
                )
            )


def _chat_calls(calls: JSON, place: str) -> Iterator[ToolCall]:
    """Return tool calls of a message in chat's shape, which `messages` may hold."""
    for position, call in enumerate(calls if isinstance(calls, list) else ()):
        here = f"{place}[{position}]"
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise InvalidRequest(f"Invalid value for '{here}': expected a function call.", param=here)
        extra = {key: value for key, value in call.items() if key not in _CALL_FIELDS}
        arguments = arguments_text(function.get("arguments"))
        yield ToolCall(string(call, "id", here), string(function, "name", here), arguments, extra)
