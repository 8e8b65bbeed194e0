"""The schema of the SQLite store, as numbered steps: a file has had as many as its `user_version`.

Above: `database`. A step that was released is never changed; a change is one more step.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from chorus.errors import StorageUnavailable

APPLICATION_ID: Final = 0x43484F52
"""Marks a file as ours ("CHOR"), so that no other program's file gets our tables."""


def _counted(table: str) -> tuple[str, ...]:
    """Triggers that keep the number and the size of the rows of `table` in `totals`: counting them
    for each write would take as long as there are rows."""
    change = "UPDATE totals SET records = records + {}, bytes = bytes + {} WHERE name = '{}'"
    added = change.format(1, "NEW.size", table)
    removed = change.format(-1, "-OLD.size", table)
    resized = change.format(0, "NEW.size - OLD.size", table)
    return (
        f"INSERT INTO totals VALUES ('{table}', 0, 0)",
        f"CREATE TRIGGER {table}_added AFTER INSERT ON {table} BEGIN {added}; END",
        f"CREATE TRIGGER {table}_removed AFTER DELETE ON {table} BEGIN {removed}; END",
        f"CREATE TRIGGER {table}_resized AFTER UPDATE OF size ON {table} BEGIN {resized}; END",
        f"CREATE INDEX {table}_by_age ON {table} (at)",
    )


# `at` is the time of the last change, `size` the bytes that the row counts as.
_KEPT: Final = "seq INTEGER PRIMARY KEY, owner TEXT NOT NULL, at REAL NOT NULL, size INTEGER NOT NULL"

_FIRST: Final = (
    "CREATE TABLE totals (name TEXT PRIMARY KEY, records INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    f"""CREATE TABLE conversations ({_KEPT}, id TEXT NOT NULL UNIQUE, user TEXT NOT NULL, created_at REAL NOT NULL,
        title TEXT NOT NULL, turns INTEGER NOT NULL, metadata BLOB NOT NULL)""",
    "CREATE INDEX conversations_by_user ON conversations (owner, user, at)",
    """CREATE TABLE items (seq INTEGER PRIMARY KEY,
        conversation INTEGER NOT NULL REFERENCES conversations (seq) ON DELETE CASCADE,
        id TEXT NOT NULL, value BLOB NOT NULL, UNIQUE (conversation, id))""",
    "CREATE INDEX items_in_order ON items (conversation, seq)",
    f"CREATE TABLE responses ({_KEPT}, id TEXT NOT NULL, value BLOB NOT NULL, UNIQUE (owner, id))",
    f"""CREATE TABLE runs ({_KEPT}, id TEXT NOT NULL, process TEXT NOT NULL, status TEXT NOT NULL,
        reason TEXT NOT NULL, leased_until REAL NOT NULL, is_cancel_requested INTEGER NOT NULL,
        value BLOB NOT NULL, UNIQUE (owner, id))""",
    "CREATE INDEX runs_of_process ON runs (process) WHERE status = 'in_progress'",
    f"""CREATE TABLE traces ({_KEPT}, id TEXT NOT NULL, details BLOB NOT NULL, requests BLOB NOT NULL,
        UNIQUE (owner, id))""",
    "CREATE INDEX traces_by_id ON traces (id)",
    "CREATE INDEX traces_in_order ON traces (owner, seq)",
    f"CREATE TABLE profiles ({_KEPT}, id TEXT NOT NULL, notes BLOB NOT NULL, UNIQUE (owner, id))",
    f"""CREATE TABLE usage ({_KEPT}, user TEXT NOT NULL, model TEXT NOT NULL, day TEXT NOT NULL,
        requests INTEGER NOT NULL, calls INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL, cost INTEGER NOT NULL, UNIQUE (owner, day, user, model))""",
    *(
        statement
        for table in ("conversations", "responses", "runs", "traces", "profiles", "usage")
        for statement in _counted(table)
    ),
)

_BATCHES: Final = (
    """CREATE TABLE files (seq INTEGER PRIMARY KEY, owner TEXT NOT NULL, id TEXT NOT NULL, purpose TEXT NOT NULL,
        name TEXT NOT NULL, size INTEGER NOT NULL, created_at REAL NOT NULL, expires_at REAL NOT NULL,
        is_ready INTEGER NOT NULL, UNIQUE (owner, id))""",
    "CREATE INDEX files_by_end ON files (expires_at)",
    """CREATE TABLE pieces (file INTEGER NOT NULL REFERENCES files (seq) ON DELETE CASCADE,
        number INTEGER NOT NULL, value BLOB NOT NULL, PRIMARY KEY (file, number))""",
    """CREATE TABLE batches (seq INTEGER PRIMARY KEY, owner TEXT NOT NULL, id TEXT NOT NULL,
        input_file TEXT NOT NULL, output_file TEXT NOT NULL, error_file TEXT NOT NULL, created_at REAL NOT NULL,
        expires_at REAL NOT NULL, value BLOB NOT NULL, status TEXT NOT NULL, process TEXT NOT NULL,
        cancelling_at REAL NOT NULL, total INTEGER NOT NULL, completed INTEGER NOT NULL, failed INTEGER NOT NULL,
        input_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL, is_open INTEGER NOT NULL, leased_until REAL NOT NULL, UNIQUE (owner, id))""",
    "CREATE INDEX batches_to_run ON batches (seq) WHERE is_open",
)

_AFFINITIES: Final = (
    f"CREATE TABLE affinities ({_KEPT}, id TEXT NOT NULL, replica TEXT NOT NULL, UNIQUE (owner, id))",
    *_counted("affinities"),
)

_TRACE_WRITES: Final = (
    # Traces of earlier versions are forgotten: they were kept in another form.
    "DROP TABLE traces",
    "DELETE FROM totals WHERE name = 'traces'",
    # `records_until` and `bytes_until` are sums over this write and all before it
    """CREATE TABLE trace_writes (number INTEGER PRIMARY KEY, at REAL NOT NULL, size INTEGER NOT NULL,
        records_until INTEGER NOT NULL, bytes_until INTEGER NOT NULL, ids TEXT NOT NULL, runs BLOB NOT NULL)""",
)

_OUTCOMES: Final = (
    # `owner` is the source of an outcome, and the workflow of a tally
    f"""CREATE TABLE outcomes ({_KEPT}, id TEXT NOT NULL, workflow TEXT NOT NULL, value BLOB NOT NULL,
        credits BLOB NOT NULL, UNIQUE (id, owner))""",
    "CREATE INDEX outcomes_of_workflow ON outcomes (workflow)",
    f"""CREATE TABLE tallies ({_KEPT}, task_type TEXT NOT NULL, worker TEXT NOT NULL, bucket INTEGER NOT NULL,
        feedback INTEGER NOT NULL, liked INTEGER NOT NULL, verdicts INTEGER NOT NULL, won INTEGER NOT NULL,
        answers INTEGER NOT NULL, tokens INTEGER NOT NULL, UNIQUE (owner, bucket, task_type, worker))""",
    *_counted("outcomes"),
    *_counted("tallies"),
)

STEPS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, _BATCHES, _AFFINITIES, _TRACE_WRITES, _OUTCOMES)


def migrate(connection: sqlite3.Connection, steps: Sequence[Sequence[str]] = STEPS) -> None:
    """Bring the file to the newest schema. Processes that start together do it one after the other,
    so that the first does all of it.

    Raises:
        StorageUnavailable: the file is of a newer Chorus, or another program's.
        sqlite3.Error: it cannot be written; it is as it was.
    """
    if _version(connection) == len(steps) and _is_ours(connection):
        return
    connection.execute("BEGIN EXCLUSIVE")
    try:
        version = _version(connection)
        is_new = version == 0 and not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        if not is_new and not _is_ours(connection):
            raise StorageUnavailable("The database file of [storage] url belongs to another program.")
        if version > len(steps):
            raise StorageUnavailable(
                f"The database file has schema {version}, and this version of Chorus knows {len(steps)}: it was "
                "written by a newer version. Use that one, or another file."
            )
        for step in steps[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _is_ours(connection: sqlite3.Connection) -> bool:
    number: int = connection.execute("PRAGMA application_id").fetchone()[0]
    return number == APPLICATION_ID
