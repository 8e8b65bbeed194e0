"""What is kept: small frozen records. A `value` is a JSON text, which no store looks into.

Times are seconds since 1970 by the store's clock. Sizes are bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

import msgspec

Order = Literal["asc", "desc"]
RunStatus = Literal["in_progress", "completed", "incomplete", "failed", "cancelled"]
FilePurpose = Literal["batch", "batch_output"]
BatchStatus = Literal["validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelled"]
UsageColumn = Literal["key", "user", "model", "day"]
USAGE_COLUMNS: Final[tuple[UsageColumn, ...]] = ("key", "user", "model", "day")
Notes = dict[str, str]
Change = Callable[[Notes], Notes]
"""Makes the new texts of a record from those that it has. It may be called more than once, in
another thread, and may raise: then nothing changes."""

LEASE_SECS: Final = 30.0
"""How long a background run belongs to its process after each renewal."""
LEASE_OVER: Final = "The process that ran this response has stopped, or was out of reach for too long."
ID_TAKEN: Final = "There is a conversation of this id already."
NO_CONVERSATION: Final = "There is no conversation of this id (any more)."
NO_ITEM: Final = "The conversation has no item of this id (any more)."
NO_FILE: Final = "There is no file of this id (any more)."
NO_BATCH: Final = "There is no batch of this id (any more)."
BATCH_LEASE_SECS: Final = 5.0
"""How long a batch belongs to its process after each renewal.

Then another process goes on with it.
"""
UPLOAD_SECS: Final = 3600.0
"""How long an upload that is not finished is kept."""
READ_BYTES: Final = 1024 * 1024
"""How much of a file is read at a time, beside the rest of the last piece."""
DAY_SECS: Final = 86_400.0
BILLIONTHS: Final = 1_000_000_000
"""Costs are kept as whole billionths of the currency's unit: their sum does not depend on order."""


class Conversation(msgspec.Struct, frozen=True):
    """A conversation without its items. `user` is "" where none was named."""

    owner: str
    id: str
    user: str
    created_at: float
    updated_at: float
    title: str
    turns: int
    metadata: Notes


class Item(msgspec.Struct, frozen=True, gc=False):
    """One item of a conversation. Its id is unique in the conversation."""

    id: str
    value: bytes


class Page(msgspec.Struct, frozen=True):
    """A part of a conversation. `has_more` is exact: True means that a next page has an item."""

    items: list[Item]
    has_more: bool


class History(msgspec.Struct, frozen=True):
    """A conversation, and its newest items as a JSON array, oldest first. `after` is the id of the
    oldest of them where there are older ones."""

    conversation: Conversation
    items: bytes
    after: str | None = None


class Run(msgspec.Struct, frozen=True):
    """A background run. `process` holds its lease; `reason` says why it failed, where the store
    knows. `value` is what its process stored when the run began."""

    owner: str
    id: str
    process: str
    status: RunStatus
    value: bytes
    reason: str = ""
    is_cancel_requested: bool = False


class Trace(msgspec.Struct, frozen=True):
    """The events of one workflow run, and the requests that it answered, as texts that the store
    does not read."""

    owner: str
    id: str
    events: bytes
    requests: bytes


class Profile(msgspec.Struct, frozen=True):
    """What is remembered of one user."""

    notes: Notes
    updated_at: float


class UsageRow(msgspec.Struct, frozen=True):
    """Calls and what they used. `day` is an ISO date. In the answer to a query, a column that is
    not grouped by is None. `cost` is in the currency of the configured prices."""

    key: str | None = None
    user: str | None = None
    model: str | None = None
    day: str | None = None
    requests: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0


class StoredFile(msgspec.Struct, frozen=True):
    """A file without its pieces. `size` is in bytes."""

    owner: str
    id: str
    purpose: FilePurpose
    name: str
    size: int
    created_at: float
    expires_at: float


class FilePage(msgspec.Struct, frozen=True):
    """A part of an owner's files. `has_more` is exact."""

    files: list[StoredFile]
    has_more: bool


class FilePart(msgspec.Struct, frozen=True):
    """Pieces of a file in their order, and the number from which to read on; None at the end."""

    pieces: list[bytes]
    next: int | None


class Batch(msgspec.Struct, frozen=True):
    """A batch of requests.

    `process` has its lease, "" where nobody has. `value` is what its process keeps, which the store
    does not look into. `cancelling_at` is 0 where nobody has cancelled it. `completed` and `failed`
    count the lines in `output_file` and `error_file`; the tokens are those of the answers in
    `output_file`.
    """

    owner: str
    id: str
    input_file: str
    output_file: str
    error_file: str
    created_at: float
    expires_at: float
    value: bytes
    status: BatchStatus = "validating"
    process: str = ""
    cancelling_at: float = 0.0
    total: int = 0
    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def is_open(self) -> bool:
        """Whether lines of it may still be run."""
        return self.status in OPEN_BATCH


OPEN_BATCH: Final = ("validating", "in_progress", "finalizing")


class Credit(msgspec.Struct, frozen=True):
    """Counts of one worker for one task type; those of the same `bucket`, a time in seconds since
    1970, are added up. `liked` is the sum of the scores of `feedback`, `won` that of `verdicts`."""

    task_type: str
    worker: str
    bucket: int
    feedback: float = 0.0
    liked: float = 0.0
    verdicts: float = 0.0
    won: float = 0.0
    answers: float = 0.0
    tokens: float = 0.0


CREDIT_COUNTS: Final = ("feedback", "liked", "verdicts", "won", "answers", "tokens")
"""The counts of a `Credit`, which stores keep as whole millionths: these are added and taken away
without a rest."""
MILLIONTHS: Final = 1_000_000


class Outcome(msgspec.Struct, frozen=True):
    """What came of the run `run`, as `source` says it: the owner of the run, whose feedback it is,
    or `VERDICT`. `at` is in seconds since 1970.
    """

    run: str
    source: str
    workflow: str
    at: float
    credits: tuple[Credit, ...] = ()
    score: float | None = None
    comment: str = ""


VERDICT: Final = "verdict"
"""The source of what the judge said. No owner has this id: they are hexadecimal, or `local`."""


def in_millionths(credit: Credit) -> list[int]:
    """Return the counts of `credit` as stores keep them."""
    return [round(getattr(credit, name) * MILLIONTHS) for name in CREDIT_COUNTS]


class BatchPage(msgspec.Struct, frozen=True):
    """A part of an owner's batches. `has_more` is exact."""

    batches: list[Batch]
    has_more: bool


class LineResult(msgspec.Struct, frozen=True):
    """What became of one line: a line of the output file, or of the error file."""

    number: int
    is_error: bool
    data: bytes
    tokens: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Those of the input, of it from a cache, those of the output, of it for reasoning."""


class BatchBounds(msgspec.Struct, frozen=True):
    """What one owner may have: files with their bytes, batches that are not over, and batches in
    all. What would be too much is refused, but the oldest batches that are over make room. Output
    files count, and are never refused."""

    max_files: int = 1000
    max_bytes: int = 2 * 1024 * 1024 * 1024
    max_open: int = 100
    max_batches: int = 1000
    max_age_secs: float = 30 * DAY_SECS
    lease_secs: float = BATCH_LEASE_SECS

    @property
    def too_many_files(self) -> str:
        """The sentence for a file too many."""
        return f"There are {self.max_files} files of this key already; delete some."

    @property
    def too_many_bytes(self) -> str:
        """The sentence for a file that has no room."""
        return f"The files of this key would have more than {self.max_bytes} bytes together; delete some."

    @property
    def too_many_batches(self) -> str:
        """The sentence for a batch too many."""
        return f"{self.max_open} batches of this key are not over yet; try again when one is."


class Bounds(msgspec.Struct, frozen=True):
    """How much of one kind is kept; None is no bound. The record that was changed longest ago goes
    first, and the age counts from the last change.

    Redis holds `max_age_secs` for every kind, and the other two for traces only: it has a memory
    limit of its own.
    """

    max_age_secs: float | None = None
    max_records: int | None = None
    max_bytes: int | None = None


class Retention(msgspec.Struct, frozen=True):
    """The bounds of every kind, and the length of a run's lease in seconds."""

    conversations: Bounds = Bounds()
    responses: Bounds = Bounds(max_age_secs=30 * DAY_SECS)  # as OpenAI keeps them
    runs: Bounds = Bounds(max_age_secs=DAY_SECS)
    traces: Bounds = Bounds(30 * DAY_SECS, 1000, 64 * 1024 * 1024)
    profiles: Bounds = Bounds()
    usage: Bounds = Bounds(max_age_secs=400 * DAY_SECS)  # a year and a month, to compare
    batches: BatchBounds = BatchBounds()
    # as long as a trace, to which a feedback belongs
    outcomes: Bounds = Bounds(30 * DAY_SECS, 100_000)
    tallies: Bounds = Bounds(400 * DAY_SECS, 100_000)
    affinities: Bounds = Bounds(DAY_SECS, 100_000)  # a replica's prompt cache is gone by then
    lease_secs: float = LEASE_SECS


def retention(*, traces: int) -> Retention:
    """Return what is kept in a file or a Redis, with so many traces."""
    usual = Retention()
    return msgspec.structs.replace(usual, traces=msgspec.structs.replace(usual.traces, max_records=traces))


_IN_MEMORY: Final = Bounds(30 * DAY_SECS, 1000, 64 * 1024 * 1024)
IN_MEMORY: Final = Retention(
    conversations=_IN_MEMORY,
    responses=_IN_MEMORY,
    runs=_IN_MEMORY,
    profiles=Bounds(None, 10_000, 64 * 1024 * 1024),
    usage=Bounds(400 * DAY_SECS, 100_000, 64 * 1024 * 1024),
    batches=BatchBounds(max_bytes=64 * 1024 * 1024, max_batches=100),
    outcomes=Bounds(30 * DAY_SECS, 10_000, 32 * 1024 * 1024),
    tallies=Bounds(400 * DAY_SECS, 20_000),
)
"""What a process keeps that keeps everything in its memory."""


def merging(changes: Mapping[str, str | None]) -> Change:
    """Return a change that sets the texts of `changes` and removes those that are None there."""

    def merged(notes: Notes) -> Notes:
        return {name: text for name, text in {**notes, **changes}.items() if text is not None}

    return merged


def too_large(size: int, max_bytes: int) -> str:
    """Return the sentence for a record that has no room even alone."""
    return f"A record of {size} bytes is too large: {max_bytes} are kept in all."
