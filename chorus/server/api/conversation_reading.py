"""Reading the history of a conversation from the store, within bounds (M3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import msgspec

from chorus.storage.base import Conversations
from chorus.storage.records import Conversation
from chorus.wirejson import JSON

MAX_ITEMS: Final = 10_000
MAX_BYTES: Final = 16 * 1024 * 1024
"""How much of a conversation one request reads."""
_PAGE: Final = 200
"""Items read at once: 50 turns with calls."""


@dataclass(frozen=True)
class StoredHistory:
    """The items of a conversation as a JSON array, oldest first.

    `is_whole` is false where older ones were not read: then the items begin with a message of the
    user.
    """

    encoded: bytes = b"[]"
    is_whole: bool = True

    @property
    def size(self) -> int:
        """The bytes of all items."""
        return len(self.encoded)

    def __bool__(self) -> bool:
        """Return whether there are items."""
        return len(self.encoded) > len(b"[]")

    @cached_property
    def items(self) -> list[JSON]:
        """The items, decoded. They are our own texts, and need none of `wirejson`'s checks."""
        return list(msgspec.json.decode(self.encoded))

    def keeping(self, wanted: Sequence[JSON]) -> StoredHistory:
        """Return the history with those of `items` only that are objects of `wanted`."""
        kept = {id(item) for item in wanted}
        values = [value for value, item in zip(_values(self.encoded), self.items, strict=True) if id(item) in kept]
        return StoredHistory(_array(values), self.is_whole)


async def read_history(conversations: Conversations, owner: str, id: str) -> tuple[Conversation, StoredHistory] | None:
    """Return a conversation with its newest items, at most as many as one request may have.

    None where there is no conversation.

    Raises:
        NotFound: it is deleted meanwhile.
        StorageUnavailable: the store is away.
    """
    history = await conversations.history(owner, id, _PAGE)
    if history is None:
        return None
    after = history.after
    if after is None:
        return history.conversation, StoredHistory(history.items)
    newest = _values(history.items)[::-1]
    size = len(history.items)
    while after is not None and len(newest) < MAX_ITEMS and size < MAX_BYTES:
        page = await conversations.page(owner, id, order="desc", after=after, limit=_PAGE)
        after = page.items[-1].id if page.has_more else None
        newest += (item.value for item in page.items)
        size += sum(len(item.value) for item in page.items)
    newest.reverse()
    if after is not None:  # the oldest turn that was read may have lost its beginning
        begins = (place for place, value in enumerate(newest) if _is_of_user(value))
        del newest[: next(begins, len(newest))]
    return history.conversation, StoredHistory(_array(newest), after is None)


def may_use(conversation: Conversation, user: str) -> bool:
    """Return whether `user` of its owner may see the conversation: it is not another user's."""
    return not user or conversation.user in ("", user)


def _is_of_user(value: bytes) -> bool:
    return bool(msgspec.json.decode(value).get("role") == "user")


def _values(encoded: bytes) -> list[bytes]:
    """Return the JSON texts of the items of an array."""
    return [*map(bytes, msgspec.json.decode(encoded, type=list[msgspec.Raw]))]


def _array(values: Sequence[bytes]) -> bytes:
    return b"[%b]" % b",".join(values)
