"""Reading the history of a conversation from the store, within bounds (M3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec

from chorus.storage.base import Conversations
from chorus.storage.records import Conversation, Item
from chorus.wirejson import JSON

MAX_ITEMS: Final = 10_000
MAX_BYTES: Final = 16 * 1024 * 1024
"""How much of a conversation one request reads."""
_PAGE: Final = 200
"""Items read at once: 50 turns with calls."""


@dataclass(frozen=True, slots=True)
class StoredHistory:
    """The items of a conversation, oldest first, and their bytes. `is_whole` is false where older
    ones were not read: then the items begin with a message of the user."""

    items: list[JSON] = field(default_factory=list)
    size: int = 0
    is_whole: bool = True


async def read_history(conversations: Conversations, owner: str, id: str) -> StoredHistory:
    """Return the newest items of a conversation, as many as one request may have. Raises NotFound,
    and StorageUnavailable."""
    newest: list[Item] = []
    size = 0
    after: str | None = None
    while True:
        page = await conversations.page(owner, id, order="desc", after=after, limit=_PAGE)
        newest += page.items
        size += sum(len(item.value) for item in page.items)
        is_whole = not page.has_more
        if is_whole or len(newest) >= MAX_ITEMS or size >= MAX_BYTES:
            break
        after = page.items[-1].id
    # our own texts: they need none of `wirejson`'s checks
    items = [msgspec.json.decode(item.value) for item in reversed(newest)]
    if not is_whole:  # the oldest turn that was read may have lost its beginning
        begins = (place for place, item in enumerate(items) if item.get("role") == "user")
        del items[: next(begins, len(items))]
    return StoredHistory(items, size, is_whole)


def may_use(conversation: Conversation, user: str) -> bool:
    """Return whether `user` of its owner may see the conversation: not where it is another one's."""
    return not user or conversation.user in ("", user)
