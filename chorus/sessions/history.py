"""The history of a conversation in front of a request, within a context window (M3). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from chorus.encoded_messages import in_a_row
from chorus.types import ChatRequest, Message, Text
from chorus.usage import estimate_tokens

SYSTEM_ROLES: Final = ("system", "developer")
_SYSTEM_ROLES: Final = frozenset(SYSTEM_ROLES)
_role_of: Final = attrgetter("role")
_MESSAGE_TOKENS: Final = 4
"""What a chat template adds to each message, about."""
_MEDIA_TOKENS: Final = 1000
"""Of an image or a file: OpenAI counts 765 for an image of 1024 by 1024 pixels, others up to
1300.
"""
_BYTES_PER_TOKEN: Final = 4
"""Of the definitions of tools."""


@dataclass(frozen=True, slots=True)
class JoinedHistory:
    """The messages of a request behind those of its conversation. `dropped_turns` is how many turns
    at the beginning of the conversation do not fit."""

    messages: tuple[Message, ...]
    dropped_turns: int = 0


def joined(history: Sequence[Message], request: Sequence[Message], room: int | None) -> JoinedHistory:
    """Return `history` in front of the messages of `request`, in at most `room` tokens.

    System messages come first and are never dropped: those of the request, or those of the history
    where the request has none. Whole turns are dropped from the beginning, so that a tool's result
    never stands without its call; the last turn stays where the request goes on with the result of
    a tool. The request itself is never cut. Without `room` nothing is dropped.
    """
    leading = _leading_systems(request)
    systems, past = request[:leading], history
    if not _SYSTEM_ROLES.isdisjoint(map(_role_of, history)):  # most have none
        systems = systems or [message for message in history if message.role in SYSTEM_ROLES]
        past = [message for message in history if message.role not in SYSTEM_ROLES]
    if room is not None:
        room -= sum(map(message_tokens, systems)) + sum(map(message_tokens, request[leading:]))
    if room is None or sum(map(message_tokens, past)) <= room:
        return JoinedHistory(in_a_row(systems, past, request[leading:] if leading else request))
    turns = turns_of(past)
    is_result = leading < len(request) and request[leading].role == "tool"
    kept = 0
    for turn in reversed(turns):
        room -= sum(map(message_tokens, turn))
        if room < 0 and not (is_result and kept == 0):
            break
        kept += 1
    past = [message for turn in turns[len(turns) - kept :] for message in turn]
    return JoinedHistory((*systems, *past, *request[leading:]), len(turns) - kept)


def trimmed(messages: Sequence[Message], room: int | None) -> JoinedHistory:
    """Return `messages`, a history with the request as its last turn, in at most `room` tokens.
    Messages that fit stay as they are; others are those that `joined` keeps."""
    if room is None or sum(map(message_tokens, messages)) <= room:
        return JoinedHistory(tuple(messages))
    last = len(messages) - 1
    while last > 0 and not (messages[last].role == "user" and messages[last - 1].role != "user"):
        last -= 1
    return joined(messages[:last], messages[last:], room)


def turns_of(messages: Sequence[Message]) -> list[list[Message]]:
    """Return `messages` in turns.

    A turn begins with the first of the user's messages after another's.
    """
    turns: list[list[Message]] = []
    last_role = ""
    for message in messages:
        if not turns or (message.role == "user" and last_role != "user"):
            turns.append([])
        turns[-1].append(message)
        last_role = message.role
    return turns


def room_for(window: int, request: ChatRequest) -> int | None:
    """Return how many tokens the messages of `request` may have in a context window of `window`
    tokens: what its tools and its answer leave. None where the window is unknown, which is 0.

    The answer has `max_tokens`, or a quarter of the window; never more than a half.
    """
    if window <= 0:
        return None
    answer = min(request.sampling.max_tokens or window // 4, window // 2)
    tools = len(request.tools.encoded) // _BYTES_PER_TOKEN if request.tools else 0
    return window - answer - tools


def message_tokens(message: Message) -> int:
    """Return about how many tokens `message` takes in a prompt: its text, its images and files, and
    its tool calls."""
    content = message.content
    if not isinstance(content, str):
        tokens = estimate_tokens(message.text) + sum(_MEDIA_TOKENS for part in content if not isinstance(part, Text))
    else:
        tokens = estimate_tokens(content)
    for call in message.tool_calls:
        tokens += estimate_tokens(call.name) + estimate_tokens(call.arguments)
    return _MESSAGE_TOKENS + tokens


def _leading_systems(messages: Sequence[Message]) -> int:
    """Return how many system messages stand at the beginning."""
    for position, message in enumerate(messages):
        if message.role not in SYSTEM_ROLES:
            return position
    return len(messages)
