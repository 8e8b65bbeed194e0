"""Histories of conversations that this process has written or read, while no other process writes.

Above: `conversations`. A request of a session finds its history here, and need not change the
thread twice for it. Everything runs in the event loop of the store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from chorus.storage.records import Conversation, History, Item

MAX_BYTES: Final = 32 * 1024 * 1024
"""Of all histories. A conversation of 50 turns has about 40 kB."""
MAX_RECORD_BYTES: Final = 1024 * 1024
"""Of one. Longer ones are read from the file."""
_RECORD_BYTES: Final = 1000
"""What a history takes beside its items: its conversation, and its place here."""
_decode_raw: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Entry(msgspec.Struct, gc=False):
    epoch: int
    conversation: Conversation
    items: bytes
    count: int
    """How many items there are."""

    @property
    def size(self) -> int:
        return len(self.items) + _RECORD_BYTES


class Ticket(msgspec.Struct, frozen=True, eq=False):
    """One read of a conversation, whose result may be kept."""

    id: str
    epoch: int


class HistoryCache:
    """Whole histories by the ids of their conversations, those that were used last."""

    def __init__(self, epoch: Callable[[], int | None], max_bytes: int = MAX_BYTES) -> None:
        """`epoch` returns a number that stays the same while no other process writes; None where
        nothing may be kept."""
        self._epoch = epoch
        self._max_bytes = max_bytes
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._writing: dict[str, int] = {}
        """Writes of a conversation that are not over."""
        self._tickets: dict[str, Ticket] = {}

    def get(self, owner: str, id: str, limit: int) -> History | None:
        """Return the whole history of a conversation, of `limit` items at most.

        None where it must be read.
        """
        entry = self._entries.get(id)
        if entry is None or entry.conversation.owner != owner or entry.count > limit:
            return None
        if entry.epoch != self._epoch():
            self._drop(id)
            return None
        self._entries.move_to_end(id)
        return History(entry.conversation, entry.items)

    def reading(self, id: str) -> Ticket | None:
        """Note that a conversation is read now. None where the result must not be kept."""
        epoch = self._epoch()
        if epoch is None or id in self._writing:
            return None
        ticket = self._tickets[id] = Ticket(id, epoch)
        return ticket

    def has_read(self, ticket: Ticket | None, history: History | None) -> None:
        """Keep what was read, where it is whole and nothing was written meanwhile."""
        if ticket is None or self._tickets.get(ticket.id) is not ticket:
            return
        del self._tickets[ticket.id]
        if history is not None and history.after is None:
            count = len(_decode_raw(history.items))
            self._put(ticket.id, _Entry(ticket.epoch, history.conversation, history.items, count))

    @property
    def epoch(self) -> int | None:
        """The number that `has_begun` takes, from before its write."""
        return self._epoch()

    def writing(self, id: str) -> None:
        """Note that a conversation will be written. When that is over, one of the following is
        called."""
        self._tickets.pop(id, None)
        self._writing[id] = self._writing.get(id, 0) + 1

    def has_written(self, id: str) -> None:
        """Forget the history of a conversation that may have changed."""
        self._end_of_write(id)
        self._drop(id)

    def has_appended(self, conversation: Conversation, items: Sequence[Item]) -> None:
        """Note that `items` were added at the end of a conversation, which is now as given."""
        id = conversation.id
        self._end_of_write(id)
        if (entry := self._entries.get(id)) is None:
            return
        encoded = _longer(entry.items, items)
        self._put(id, _Entry(entry.epoch, conversation, encoded, entry.count + len(items)))

    def has_begun(self, epoch: int | None, conversation: Conversation, items: Sequence[Item]) -> None:
        """Note that a conversation of `items` was begun. `epoch` is that of before."""
        self._end_of_write(conversation.id)
        if epoch is not None and conversation.id not in self._writing:
            self._put(conversation.id, _Entry(epoch, conversation, _longer(b"[]", items), len(items)))

    def _end_of_write(self, id: str) -> None:
        left = self._writing[id] - 1
        if left:
            self._writing[id] = left
        else:
            del self._writing[id]

    def _put(self, id: str, entry: _Entry) -> None:
        self._drop(id)
        if entry.size > MAX_RECORD_BYTES:
            return
        self._entries[id] = entry
        self._bytes += entry.size
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, id: str) -> None:
        if (entry := self._entries.pop(id, None)) is not None:
            self._bytes -= entry.size


def _longer(encoded: bytes, items: Sequence[Item]) -> bytes:
    """Return the JSON array `encoded` with `items` at its end. It is copied once."""
    parts: list[bytes | memoryview] = []
    for item in items:
        parts += (b",", item.value)
    first = 1 if encoded == b"[]" else 0
    return b"".join((memoryview(encoded)[:-1], *parts[first:], b"]"))
