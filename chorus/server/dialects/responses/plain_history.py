"""A stored history of texts only, read in one step: a twentieth of the careful reading (M3)."""

from __future__ import annotations

from operator import attrgetter, itemgetter
from typing import Annotated, Final, Literal

import msgspec

from chorus.types import Message


class _TextPart(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    type: Literal["input_text", "output_text"]
    text: str
    annotations: msgspec.Raw = msgspec.Raw()
    logprobs: msgspec.Raw = msgspec.Raw()


class _TextItem(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message of texts, as most of those that we store."""

    type: Literal["message"]
    id: str
    role: Literal["system", "developer", "user", "assistant"]
    content: list[_TextPart]
    status: str


class _FilledPart(_TextPart, forbid_unknown_fields=True, gc=False):
    text: Annotated[str, msgspec.Meta(min_length=1)]


class _FinishedItem(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A message of one text that was not cut, of the user or of the assistant."""

    type: Literal["message"]
    id: str
    role: Literal["user", "assistant"]
    content: tuple[_FilledPart]
    status: Literal["completed"]


_decoder: Final = msgspec.json.Decoder(list[_TextItem])
_finished_decoder: Final = msgspec.json.Decoder(list[_FinishedItem])
_role_of: Final = attrgetter("role")
_content_of: Final = attrgetter("content")
_first_of: Final = itemgetter(0)
_text_of: Final = attrgetter("text")


def finished_messages(encoded: bytes) -> list[Message] | None:
    """Return what `plain_messages` does, where each item is a message of one text, of the user or
    of the assistant, that was not cut; else None. It takes half as long.
    """
    try:
        items = _finished_decoder.decode(encoded)
    except msgspec.ValidationError:
        return None
    texts = map(_text_of, map(_first_of, map(_content_of, items)))
    return [*map(Message, map(_role_of, items), texts)]


def plain_messages(encoded: bytes) -> list[Message] | None:
    """Return the stored items of the JSON array `encoded` as messages; None where one of them is
    more than a message of texts. Those without a text are left out, as elsewhere."""
    try:
        items = _decoder.decode(encoded)
    except msgspec.ValidationError:
        return None
    messages: list[Message] = []
    for item in items:
        content = item.content
        text = content[0].text if len(content) == 1 else "\n".join([part.text for part in content])
        if text:
            messages.append(Message(item.role, text))
    return messages
