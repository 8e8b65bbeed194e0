"""Requests without what only a model behind the Responses API takes (`types.RESPONSES_ITEM`).
Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from chorus.errors import MissingInput
from chorus.server.dialects.responses.inputs import NOTHING
from chorus.types import RESPONSES_ITEM, RESPONSES_ITEMS, ChatRequest, Extra, Message

_NAMES = frozenset({RESPONSES_ITEM, RESPONSES_ITEMS, "phase"})


def for_chat(request: ChatRequest) -> ChatRequest:
    """Return `request`, which came in the dialect of Responses, as models behind other APIs get it.

    Raises:
        MissingInput: nothing is left of it.
    """
    messages = request.messages
    if any(_has_items(message) for message in messages):
        messages = tuple(_plain(messages))
        if not messages:
            raise MissingInput(NOTHING, param="input")
    return msgspec.structs.replace(request, messages=messages, responses_options={})


def _has_items(message: Message) -> bool:
    if message.extra and not _NAMES.isdisjoint(message.extra):
        return True
    return any(call.extra and RESPONSES_ITEM in call.extra for call in message.tool_calls)


def _plain(messages: Sequence[Message]) -> Iterator[Message]:
    for message in messages:
        if not _has_items(message):
            yield message
        elif message.content or message.tool_calls:
            calls = tuple(
                msgspec.structs.replace(call, extra=_without(call.extra)) if call.extra else call
                for call in message.tool_calls
            )
            yield msgspec.structs.replace(message, extra=_without(message.extra), tool_calls=calls)


def _without(extra: Extra) -> Extra:
    return {key: value for key, value in extra.items() if key not in _NAMES}
