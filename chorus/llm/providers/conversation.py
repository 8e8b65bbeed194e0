"""Arrange a conversation as a provider takes it: the place of system messages and of results,
images of tool results. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Final

import msgspec

from chorus.llm.providers.traits import Traits
from chorus.types import Message, Part, Text

_BETWEEN: Final = "\n\n"
"""What stands between the texts of two system messages that become one."""
_SYSTEM: Final = frozenset(("system", "developer"))
_role_of: Final = attrgetter("role")
_SEE_BELOW: Final = "The result is in the user message that follows."
_FROM_TOOL: Final = "From the result of tool call"


def arranged(messages: Sequence[Message], traits: Traits) -> Sequence[Message]:
    """`messages` as the provider takes them; the same sequence where nothing is to be changed."""
    return _tool_texts(systems_arranged(messages, traits))


def systems_arranged(messages: Sequence[Message], traits: Traits) -> Sequence[Message]:
    """`messages` with system messages where the provider takes them."""
    if _SYSTEM.isdisjoint(map(_role_of, messages)):  # most have none
        return messages
    places = [place for place, message in enumerate(messages) if message.role in _SYSTEM]
    if traits.system == "first":
        if places != [0]:
            merged = _merged([messages[place] for place in places])
            return [merged, *(message for message in messages if message.role not in _SYSTEM)]
        if messages[0].role == "system":
            return messages
        return [msgspec.structs.replace(messages[0], role="system"), *messages[1:]]
    if traits.developer:
        return messages
    return [
        msgspec.structs.replace(message, role="system") if message.role == "developer" else message
        for message in messages
    ]


def results_placed(messages: Sequence[Message]) -> Sequence[Message]:
    """`messages` with each result behind the turn that called the tool; the same sequence where
    that is so.

    A user who speaks while a tool runs stands between the two, and some clients write the calls of
    one turn as several turns.
    """
    waiting: set[str] = set()
    for message in messages:
        if message.role == "tool":
            waiting.discard(message.tool_call_id or "")
        elif waiting:
            break
        if message.tool_calls:
            waiting = {call.id for call in message.tool_calls}
    else:
        return messages
    behind: dict[int, list[int]] = {}
    """The places of results by those of the turns that called."""
    caller: dict[str, int] = {}
    for place, message in enumerate(messages):
        if message.role == "tool" and (turn := caller.pop(message.tool_call_id or "", None)) is not None:
            behind.setdefault(turn, []).append(place)
        for call in message.tool_calls:
            caller[call.id] = place
    moved = {place for places in behind.values() for place in places}
    placed: list[Message] = []
    for place, message in enumerate(messages):
        if place not in moved:
            placed.append(message)
            placed += [messages[at] for at in behind.get(place, ())]
    return placed


def _merged(systems: Sequence[Message]) -> Message:
    """Return one system message with all texts in their order.

    Parts with extra fields (`cache_control`) stay parts.
    """
    if len(systems) == 1:
        return msgspec.structs.replace(systems[0], role="system")
    said = [message for message in systems if message.content]
    extra = {key: value for message in systems for key, value in message.extra.items()}
    if all(_is_plain(message) for message in said):
        return Message("system", _BETWEEN.join(message.text for message in said), extra=extra)
    parts: list[Part] = []
    for message in said:
        more = (Text(message.content),) if isinstance(message.content, str) else message.content
        first = more[0]
        if parts and isinstance(first, Text):
            # at the front: a cached beginning of the prompt stays as it is when another message
            # comes behind it
            more = (msgspec.structs.replace(first, text=_BETWEEN + first.text), *more[1:])
        parts.extend(more)
    return Message("system", tuple(parts), extra=extra)


def _is_plain(message: Message) -> bool:
    if isinstance(message.content, str):
        return True
    return all(isinstance(part, Text) and not part.extra for part in message.content)


def _tool_texts(messages: Sequence[Message]) -> Sequence[Message]:
    """`messages` with text only in tool messages.

    What else a result holds goes into a user message behind all results of that turn; a user
    message that stands there already takes it in.
    """
    if "tool" not in map(_role_of, messages):
        return messages
    if not any(map(_holds_more_than_text, messages)):
        return messages
    written: list[Message] = []
    waiting: list[Part] = []
    for message in messages:
        if message.role == "tool":
            if _holds_more_than_text(message):
                assert not isinstance(message.content, str)
                others = [part for part in message.content if not isinstance(part, Text)]
                waiting += [Text(f"{_FROM_TOOL} {message.tool_call_id or message.name or ''}".rstrip() + ":"), *others]
                message = _text_only(message)
        elif waiting:
            if message.role == "user":
                message = msgspec.structs.replace(message, content=(*waiting, *_parts(message)))
            else:
                written.append(Message("user", tuple(waiting)))
            waiting = []
        written.append(message)
    if waiting:
        written.append(Message("user", tuple(waiting)))
    return written


def _holds_more_than_text(message: Message) -> bool:
    return (
        message.role == "tool"
        and not isinstance(message.content, str)
        and not all(isinstance(part, Text) for part in message.content)
    )


def _text_only(message: Message) -> Message:
    assert not isinstance(message.content, str)
    texts = tuple(part for part in message.content if isinstance(part, Text))
    if any(part.extra for part in texts):
        return msgspec.structs.replace(message, content=texts)
    return msgspec.structs.replace(message, content="\n".join(part.text for part in texts) or _SEE_BELOW)


def _parts(message: Message) -> Iterable[Part]:
    if isinstance(message.content, str):
        return (Text(message.content),) if message.content else ()
    return message.content
