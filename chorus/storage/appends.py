"""The statements that add items to conversations: for one of them, and for many at once.

Above: `conversations`, and the writer, which does the appends that wait together. In each statement
its thread gives up the GIL and waits for it after: with a busy event loop that took more than the
statements. Three statements do any number of appends.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec

from chorus.errors import ChorusError, NotFound
from chorus.storage.database import GroupedWork, check_size, prune, size_of, visible_from
from chorus.storage.records import NO_CONVERSATION, Bounds, Conversation, Item, Notes

COLUMNS: Final = "owner, id, user, created_at, at, title, turns, metadata"
"""The columns that `conversation_of` takes."""
_ROWS: Final = 64
"""Items of one INSERT. Most exchanges have two."""
_TICK_SECS: Final = 1e-6
"""Between the times of appends that are done together, so that they have an order."""
_LOOK: Final = """WITH wanted (place, owner, id, last) AS (VALUES {marks})
SELECT place, conversations.owner, conversations.id, user, created_at, at, title, turns, metadata, seq, size,
    EXISTS (SELECT 1 FROM items WHERE conversation = conversations.seq AND items.id = wanted.last)
FROM wanted CROSS JOIN conversations ON conversations.id = wanted.id AND conversations.owner = wanted.owner
WHERE at >= ?"""
_UPDATE: Final = """WITH new (seq, at, turns, title, size) AS (VALUES {marks})
UPDATE conversations SET (at, turns, title, size) =
    (SELECT new.at, new.turns, new.title, new.size FROM new WHERE new.seq = conversations.seq)
WHERE seq IN (SELECT seq FROM new)"""


class Append(GroupedWork[Conversation]):
    """Adds `items` to a conversation. See `base.Conversations.append`."""

    def __init__(self, bounds: Bounds, owner: str, id: str, items: Sequence[Item], turns: int, title: str) -> None:
        # an exchange: its client has waited for an answer of a model
        super().__init__(may_wait=turns > 0)
        self._bounds = bounds
        self._owner = owner
        self._id = id
        self.items = items
        self._turns = turns
        self._title = title
        self.has_replaced = False
        """Whether an item took the place of one of its id."""

    @property
    def _wanted(self) -> tuple[str, str, str | None]:
        return self._owner, self._id, self.items[-1].id if self.items else None

    def __call__(self, connection: sqlite3.Connection) -> Conversation:
        (outcome,) = self._all(connection, [self])
        if isinstance(outcome, ChorusError):
            raise outcome
        return outcome

    @classmethod
    def together(
        cls, connection: sqlite3.Connection, works: Sequence[Self]
    ) -> Sequence[Conversation | Exception] | None:
        """See `GroupedWork.together`."""
        bounds = works[0]._bounds
        is_bounded = bounds.max_records is not None or bounds.max_bytes is not None
        if is_bounded or len({work._id for work in works}) < len(works):
            return None
        return cls._all(connection, works)

    @classmethod
    def _all(cls, connection: sqlite3.Connection, works: Sequence[Self]) -> Sequence[Conversation | ChorusError]:
        """Do `works`, of different conversations. One that is refused changes nothing."""
        bounds = works[0]._bounds
        outcomes: list[Conversation | ChorusError] = [NotFound(NO_CONVERSATION) for _ in works]
        marks = ", ".join(["(?, ?, ?, ?)"] * len(works))
        wanted = [value for place, work in enumerate(works) for value in (place, *work._wanted)]
        known = connection.execute(_LOOK.format(marks=marks), (*wanted, visible_from(bounds))).fetchall()
        if not known:
            return outcomes
        now = time.time()
        rows = [(seq, item) for place, *_, seq, _, _ in known for item in works[place].items]
        grown = add_items(connection, rows)
        changed: list[Any] = []
        for later, (place, *columns, seq, size, is_repeated) in enumerate(sorted(known)):
            work, before = works[place], conversation_of(tuple(columns))
            bytes_grown, work.has_replaced = grown.get(seq, (0, False))
            check_size(size + bytes_grown, bounds)
            after = msgspec.structs.replace(
                before,
                updated_at=now + later * _TICK_SECS,
                title=before.title or work._title,
                turns=before.turns + (0 if is_repeated else work._turns),
            )
            changed += (seq, after.updated_at, after.turns, after.title, size + bytes_grown)
            outcomes[place] = after
        connection.execute(_UPDATE.format(marks=", ".join(["(?, ?, ?, ?, ?)"] * len(known))), changed)
        prune(connection, "conversations", bounds)
        return outcomes


def conversation_of(row: tuple[Any, ...]) -> Conversation:
    """Return the conversation with these `COLUMNS`."""
    owner, id, user, created_at, at, title, turns, metadata = row
    notes = msgspec.json.decode(metadata, type=Notes)
    return Conversation(owner, id, user, created_at, at, title, turns, notes)


def add_items(connection: sqlite3.Connection, rows: Sequence[tuple[int, Item]]) -> dict[int, tuple[int, bool]]:
    """Add items to the conversations of these row numbers.

    Returns for each number by how many bytes the conversation grows, and whether an item took the
    place of one of its id.
    """
    grown: dict[int, tuple[int, bool]] = {}
    for first in range(0, len(rows), _ROWS):
        some = rows[first : first + _ROWS]
        marks = ", ".join(["(?, ?, ?)"] * len(some))
        values = [value for seq, item in some for value in (seq, item.id, item.value)]
        try:
            connection.execute(f"INSERT INTO items (conversation, id, value) VALUES {marks}", values)
        except sqlite3.IntegrityError:  # an id is there already; no row of these was added
            changes = [_put(connection, seq, item) for seq, item in some]
        else:
            changes = [(size_of(item.id, item.value), False) for _, item in some]
        for (seq, _), (size, is_replaced) in zip(some, changes, strict=True):
            total, has_replaced = grown.get(seq, (0, False))
            grown[seq] = total + size, has_replaced or is_replaced
    return grown


def size_of_item(connection: sqlite3.Connection, seq: int, item_id: str) -> int | None:
    """Return the bytes that an item counts as; None where there is none."""
    row = connection.execute(
        "SELECT LENGTH(value) FROM items WHERE conversation = ? AND id = ?", (seq, item_id)
    ).fetchone()
    return row[0] + size_of(item_id) if row is not None else None


def _put(connection: sqlite3.Connection, seq: int, item: Item) -> tuple[int, bool]:
    """Add an item, or replace the one of its id.

    Returns by how many bytes the conversation grows, and whether it was replaced.
    """
    before = size_of_item(connection, seq, item.id)
    connection.execute(
        "INSERT INTO items (conversation, id, value) VALUES (?, ?, ?) "
        "ON CONFLICT (conversation, id) DO UPDATE SET value = excluded.value",
        (seq, item.id, item.value),
    )
    return size_of(item.id, item.value) - (before or 0), before is not None
