"""The conversation as input items of the Responses API. Pure.

The whole of it is sent each time, and nothing is stored at the upstream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any, Final

from chorus import wirejson
from chorus.encoded_messages import is_text
from chorus.llm.providers.call_ids import NO_RESULT, CallIds
from chorus.llm.providers.responses.reasoning import MESSAGE, Placed, is_foreign, items_of, name_of
from chorus.types import (
    RESPONSES_ITEM,
    RESPONSES_ITEMS,
    Extra,
    Image,
    Message,
    Opaque,
    Part,
    Text,
    ToolCall,
)
from chorus.wirejson import JSON

_NOTHING: Final[Mapping[str, str]] = {}
_MAX_CALL_ID: Final = 64
"""Characters; OpenAI refuses longer ones."""
_IN_RESULTS: Final = frozenset({"input_text", "input_image", "input_file"})
_KINDS: Final = {
    "user": _IN_RESULTS | {"input_audio"},
    "system": frozenset({"input_text"}),
    "developer": frozenset({"input_text"}),
}
"""The parts that a message of each role takes."""
_FILE_FIELDS: Final = ("file_id", "file_url", "file_data", "filename")


class InputWriter:
    """Writes the items of one request."""

    def __init__(
        self,
        customs: Mapping[str, str],
        warn: Callable[[str], None],
        *,
        names: Mapping[str, str] = _NOTHING,
        sends_reasoning: bool = True,
    ) -> None:
        """`customs` has the names of custom tools by those of the functions that stand for them,
        and `names` those of tools that are sent under another one. Without `sends_reasoning`
        reasoning is left out, which the upstream cannot read, and so are the items that are bound
        to it.
        """
        self._customs = customs
        self._names = names
        self._warn = warn
        self._sends_reasoning = sends_reasoning
        self._custom_calls: set[str] = set()
        self._whole_calls: set[str] = set()
        """Calls whose item holds their result."""
        self._ids = CallIds(short_id)
        self._item_ids: set[str] = set()

    def items(self, messages: Sequence[Message]) -> list[Any]:
        """Return `messages` as items. One with a role and a text only is one as it is."""
        items: list[Any] = []
        for message in messages:
            if message.role == "tool":
                items += self._result(message)
            elif is_text(message):
                items.append(message)
            elif message.role == "assistant":
                items += self._answer(message)
            else:
                items += self._said(message)
        if waiting := set(self._ids.close()):
            self._warn("A tool call without a result gets one that says so.")
            items = list(_with_results(items, waiting))
        return items

    def _said(self, message: Message) -> Iterator[Any]:
        """Yield the message of a user or of the system."""
        if message.name:
            self._warn("The names of messages are left out: the Responses API has no place for them.")
        if isinstance(message.content, str):
            yield {"role": message.role, "content": message.content}
        elif parts := self._parts(message.content, _KINDS[message.role]):
            yield {"role": message.role, "content": parts}

    def _parts(self, content: Sequence[Part], kinds: frozenset[str]) -> list[JSON]:
        """Return the parts of a message or of a result, which takes those of these `kinds`."""
        parts = [part for piece in content if (part := _part(piece)) is not None and part["type"] in kinds]
        if len(parts) < len(content):
            self._warn("Parts of messages that the Responses API does not take there are left out.")
        return parts

    def _answer(self, message: Message) -> list[Any]:
        """Return the items of one answer: what was before its text or a call stands there again."""
        sequence: list[tuple[str, Any]] = list(self._followers(message))
        first = 0
        for placed in (*self._own_items(message.extra), *self._reasoning(message)):
            places = [place for place, _ in sequence]
            if placed.before in places:
                at = places.index(placed.before)
            elif placed.item.get("type") == "reasoning":
                at, first = first, first + 1
            else:
                at = len(sequence)
            sequence.insert(at, (name_of(placed.item), placed.item))
        if sequence and _is_reasoning(sequence[-1][1]):
            self._warn("Reasoning behind which nothing stands is left out: the API refuses it.")
            while sequence and _is_reasoning(sequence[-1][1]):
                sequence.pop()
        return [item for _, item in sequence if self._is_new(item)]

    def _is_new(self, item: Mapping[str, JSON]) -> bool:
        """Return whether no item with the same id has been written: the API refuses a second
        one.
        """
        given = item.get("id")
        if not isinstance(given, str):
            return True
        is_new = given not in self._item_ids
        self._item_ids.add(given)
        return is_new

    def _reasoning(self, message: Message) -> list[Placed]:
        placed = items_of(message.extra)
        if not self._sends_reasoning and placed:
            self._warn("The reasoning of earlier turns is left out: the upstream cannot read it.")
            return []
        sent_on = any(own.item.get("type") == "reasoning" for own in self._own_items(message.extra))
        if is_foreign(message.extra) or (message.reasoning and not placed and not sent_on):
            self._warn("Reasoning that the upstream has not signed is left out of earlier turns.")
        return placed

    def _own_items(self, extra: Extra) -> list[Placed]:
        """Return the client's items that have no other place."""
        listed = extra.get(RESPONSES_ITEMS) if self._sends_reasoning else None
        return [
            Placed(entry["item"], entry.get("before"))
            for entry in (listed if isinstance(listed, list) else ())
            if isinstance(entry, Mapping) and isinstance(entry.get("item"), dict)
        ]

    def _own_item(self, extra: Extra) -> Mapping[str, JSON] | None:
        """Return the client's item for a call or a result."""
        item = extra.get(RESPONSES_ITEM) if self._sends_reasoning else None
        return item if isinstance(item, Mapping) else None

    def _followers(self, message: Message) -> Iterator[tuple[str, Any]]:
        """Yield the text and the calls of an answer, each with the name by which `before` knows
        it.
        """
        if not isinstance(message.content, str) and not all(isinstance(part, Text) for part in message.content):
            self._warn("Images and files of earlier answers are left out.")
        if text := message.text:
            phase = message.extra.get("phase")
            yield MESSAGE, {"role": "assistant", "content": text, **({"phase": phase} if phase else {})}
        for call in message.tool_calls:
            yield call.id, self._call(call)

    def _call(self, call: ToolCall) -> Mapping[str, JSON]:
        item = self._own_item(call.extra)
        if item is not None:
            if not str(item.get("type")).endswith(_ANSWERED_BY_CLIENT):
                self._whole_calls.add(call.id)
            else:
                self._ids.keep(call.id)
            return item
        custom = self._customs.get(call.name)
        call_id = self._ids.of_call(call.id)
        if custom is None:
            name = self._names.get(call.name, call.name)
            return {"type": "function_call", "call_id": call_id, "name": name, "arguments": call.arguments or "{}"}
        self._custom_calls.add(call.id)
        return {"type": "custom_tool_call", "call_id": call_id, "name": custom, "input": text_input(call.arguments)}

    def _result(self, message: Message) -> Iterator[Mapping[str, JSON]]:
        item = self._own_item(message.extra)
        call_id = message.tool_call_id or self._ids.first_waiting() or ""
        if item is not None:
            self._ids.of_result(call_id)
            yield item
            return
        if call_id in self._whole_calls:
            return
        content = message.content
        output = content if isinstance(content, str) else self._parts(content, _IN_RESULTS) or ""
        given = self._ids.of_result(call_id)
        if given is not None:
            kind = "custom_tool_call_output" if call_id in self._custom_calls else "function_call_output"
            yield {"type": kind, "call_id": given, "output": output}
            return
        self._warn("The result of a tool call that is not there is sent as a text.")
        head = f"Result of {message.name or message.tool_call_id or 'a tool'}:"
        if isinstance(output, str):
            yield {"role": "user", "content": f"{head}\n\n{output}"}
        else:
            yield {"role": "user", "content": [{"type": "input_text", "text": head}, *output]}


_ANSWERED_BY_CLIENT: Final = (
    "computer_call",
    "custom_tool_call",
    "function_call",
    "shell_call",
    "apply_patch_call",
    "tool_search_call",
)
"""Kinds of calls whose results are items of their own."""


def _is_reasoning(item: Any) -> bool:
    return isinstance(item, Mapping) and item.get("type") == "reasoning"


def _with_results(items: Sequence[Any], waiting: Set[str]) -> Iterator[Any]:
    """Yield `items`, and a result behind each call that is `waiting` for one."""
    for item in items:
        yield item
        if isinstance(item, Mapping) and item.get("call_id") in waiting and item["type"] in _OUTPUTS:
            yield {"type": _OUTPUTS[item["type"]], "call_id": item["call_id"], "output": NO_RESULT}


_OUTPUTS: Final = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}


def text_input(arguments: str) -> str:
    """Return the text for a custom tool out of the arguments of the function that stands for it."""
    try:
        value = wirejson.decode(arguments)
    except ValueError:
        return arguments
    text = value.get("input") if isinstance(value, dict) else None
    return text if isinstance(text, str) else arguments


def short_id(call_id: str) -> str:
    """Return the id of a call as the API takes it: the same for the call and its result."""
    if len(call_id) <= _MAX_CALL_ID:
        return call_id
    return f"call_{hashlib.sha256(call_id.encode()).hexdigest()[:32]}"


def _part(part: Part) -> dict[str, JSON] | None:
    """Return one part; None for one that the API has no place for."""
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, Image):
        return {"type": "input_image", "image_url": part.url, "detail": part.detail or "auto"}
    return _opaque(part)


def _opaque(part: Opaque) -> dict[str, JSON] | None:
    kind = part.data.get("type")
    if kind in ("file", "input_file"):
        inner = part.data.get("file")
        file = inner if isinstance(inner, Mapping) else part.data
        return {"type": "input_file", **{key: file[key] for key in _FILE_FIELDS if file.get(key)}}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.data.get("input_audio")}
    return None
