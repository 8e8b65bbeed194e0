"""Ollama's `context`: a conversation as a list of numbers, which a client of `/api/generate` sends
back to go on with it.

Ollama's numbers are one model's tokens. Ours are the conversation itself: a check sum, then the
bytes of a JSON list with the system prompt and the texts of each turn. So nothing is kept between
requests, and every model can go on with it.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import cycle
from typing import Final

import msgspec

from chorus.types import Message, Role

LIMIT: Final = 32 * 1024
"""How many bytes a context may hold; older turns are forgotten beyond it."""

_ROLES: Final[tuple[Role, Role]] = ("user", "assistant")
_read = msgspec.json.Decoder(list[str]).decode
_write = msgspec.json.encode


def conversation(context: Sequence[int] | None, system: str | None) -> tuple[Message, ...] | None:
    """Return what was said before a prompt.

    A new `system` prompt takes the place of the old one. None where the numbers are no context of
    ours: another server's, or what is left of ours.
    """
    texts = _texts(context) if context else [""]
    if texts is None:
        return None
    earlier, *turns = texts
    system_turn = [Message("system", system or earlier)] if system or earlier else []
    return (*system_turn, *(Message(role, text) for role, text in zip(cycle(_ROLES), turns, strict=False)))


def context_of(messages: Sequence[Message], answer: str) -> list[int]:
    """Return the conversation `messages` with its answer; empty where not even that fits."""
    system = messages[0].text if messages[0].role == "system" else ""
    turns = [message.text for message in messages if message.role != "system"] + [answer]
    room = LIMIT - len(_write([system]))
    oldest = len(turns)
    for place in range(len(turns) - 2, -1, -2):
        room -= len(_write(turns[place : place + 2]))
        if room < 0:
            break
        oldest = place
    if oldest == len(turns):
        return []
    packed = _write([system, *turns[oldest:]])
    return [_sum(packed), *packed]


def _texts(context: Sequence[int]) -> list[str] | None:
    """Return the system prompt, and turns of the user and the assistant.

    None where the numbers are not ours.
    """
    checksum, *numbers = context
    try:
        packed = bytes(numbers)
        texts = _read(packed) if _sum(packed) == checksum else []
    except (ValueError, msgspec.DecodeError):
        return None
    return texts if len(texts) % 2 else None


def _sum(packed: bytes) -> int:
    """Return the check sum that tells our numbers from others, and from what is left of ours; it
    fits into a signed number of 32 bits."""
    return zlib.crc32(packed) & 0x7FFFFFFF
