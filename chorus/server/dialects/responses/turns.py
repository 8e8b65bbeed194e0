"""Items of a Responses conversation, put together to the turns that chat upstreams accept (A3).

A response is several items (reasoning, text, calls); for chat they are one assistant message. Each
call must have one result, directly behind its message; else the upstream refuses the conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from chorus.extras import Extras
from chorus.server.dialects.warnings import Warnings
from chorus.types import RESPONSES_ITEMS, Extra, Message, Part, Text, ToolCall
from chorus.wirejson import JSON

NO_RESULT: Final = "(no result)"
"""The result of a call that the conversation has none for."""


class Turns:
    """Collects the messages of a conversation in their order."""

    def __init__(self, warnings: Warnings, *, keeps_items: bool = False) -> None:
        """`keeps_items`: see `inputs.messages`."""
        self._warnings = warnings
        self._keeps_items = keeps_items
        self._messages: list[Message] = []
        self._open: _AssistantTurn | None = None

    def add(self, message: Message) -> None:
        """Take a message of any role."""
        if message.role != "assistant":
            self._close()
            self._messages.append(message)
            return
        if message.reasoning or message.extra:
            self.reason(message.reasoning, message.extra, joint="\n\n")
        if message.content:
            if self._open is not None and self._open.content:
                reasons, items = self._open.take_later()
                self._close()
                self._assistant().reasons, self._assistant().items = reasons, items
            self._assistant().say(message.content)
        for call in message.tool_calls:
            self.call(call)

    def reason(self, reasoning: str, extra: Extra, joint: str) -> None:
        """Take reasoning of the assistant; `joint` goes between it and reasoning before it."""
        self._assistant().reason(reasoning, extra, joint)

    def call(self, call: ToolCall) -> None:
        """Take a call of the assistant.

        One whose id is taken in this turn begins another: results name ids.
        """
        if call.id in self._assistant().calls:
            self._close()
        self._assistant().call(call)

    def item(self, item: Mapping[str, JSON]) -> None:
        """Take an item of the assistant's turn that only a model behind the Responses API knows."""
        self._assistant().items.append({"item": dict(item)})

    def messages(self, call_extras: Mapping[str, Extra]) -> list[Message]:
        """Return all messages, with a result for each call.

        `call_extras` has the fields of calls by their ids.
        """
        self._close()
        messages = [_with_extras(message, call_extras) for message in self._messages]
        self._messages = []
        return paired(messages, self._warnings)

    def _assistant(self) -> _AssistantTurn:
        if self._open is None:
            self._open = _AssistantTurn()
        return self._open

    def _close(self) -> None:
        turn, self._open = self._open, None
        if turn is None:
            return
        message = turn.message()
        if message.content or message.tool_calls or turn.items:
            self._messages.append(message)
        elif message.reasoning:
            self._warnings.add("input: reasoning without a message or call behind it is left out.")


class _Reason(msgspec.Struct):
    text: str
    extra: Extra
    joint: str
    is_later: bool
    """Whether it stands behind text of its turn: it may belong to the next one."""


class _AssistantTurn:
    """The items of the assistant between two of others."""

    def __init__(self) -> None:
        self.content: str | tuple[Part, ...] = ""
        self.calls: dict[str, ToolCall] = {}
        self.reasons: list[_Reason] = []
        self.items: list[dict[str, JSON]] = []
        """Items that only a model behind the Responses API knows, each with what stood behind
        it.
        """

    def say(self, content: str | tuple[Part, ...]) -> None:
        self._place_items("message")
        self.content = content

    def call(self, call: ToolCall) -> None:
        self._place_items(call.id)
        self.calls[call.id] = call

    def _place_items(self, before: str) -> None:
        for entry in self.items:
            entry.setdefault("before", before)

    def reason(self, text: str, extra: Extra, joint: str) -> None:
        self.reasons.append(_Reason(text, extra, joint, bool(self.content)))

    def take_later(self) -> tuple[list[_Reason], list[dict[str, JSON]]]:
        """Return the reasoning and the items behind the text.

        They go to the turn that begins now.
        """
        items = [entry for entry in self.items if "before" not in entry]
        self.items = [entry for entry in self.items if "before" in entry]
        later = [msgspec.structs.replace(reason, is_later=False) for reason in self.reasons if reason.is_later]
        self.reasons = [reason for reason in self.reasons if not reason.is_later]
        return later, items

    def message(self) -> Message:
        texts: list[str] = []
        extras = Extras()
        for reason in self.reasons:
            if reason.text:
                texts += [reason.joint, reason.text] if texts else [reason.text]
            extras.add(reason.extra)
        if self.items:
            extras.add({RESPONSES_ITEMS: self.items})
        calls = tuple(self.calls.values())
        return Message("assistant", self.content, "".join(texts), calls, extra=extras.whole())


def _with_extras(message: Message, call_extras: Mapping[str, Extra]) -> Message:
    if not call_extras or not any(call.id in call_extras for call in message.tool_calls):
        return message
    calls = tuple(
        msgspec.structs.replace(call, extra={**call_extras.get(call.id, {}), **call.extra})
        for call in message.tool_calls
    )
    return msgspec.structs.replace(message, tool_calls=calls)


def paired(messages: Iterable[Message], warnings: Warnings) -> list[Message]:
    """Return `messages` with exactly one result for each call, directly behind the message of the
    call. A result without a call becomes a user message."""
    groups: list[list[Message]] = []
    waiting: dict[str, list[Message]] = {}
    """The group of the last message that has a call of this id without a result yet."""
    for message in messages:
        if message.role == "tool":
            group = waiting.pop(message.tool_call_id or "", None)
            if group is None:
                warnings.add("input: the result of a call that is not there is sent as a user message.")
                groups.append([Message("user", _as_user(message.content))])
            else:
                group.append(message)
            continue
        group = [message]
        groups.append(group)
        for call in message.tool_calls:
            waiting[call.id] = group
    for group in groups:
        _complete(group, warnings)
    return [message for group in groups for message in group]


def _complete(group: list[Message], warnings: Warnings) -> None:
    """Add the results that are missing."""
    calls = group[0].tool_calls
    if len(calls) + 1 == len(group):
        return
    answered = {message.tool_call_id for message in group[1:]}
    for call in calls:
        if call.id not in answered:
            answered.add(call.id)
            warnings.add("input: a call without a result gets an empty one.")
            group.append(Message("tool", NO_RESULT, tool_call_id=call.id))


def _as_user(content: str | tuple[Part, ...]) -> str | tuple[Part, ...]:
    head = "Result of an earlier tool call:"
    return f"{head}\n{content}" if isinstance(content, str) else (Text(head), *content)
