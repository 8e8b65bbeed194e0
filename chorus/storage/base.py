"""What every store does, one protocol for each kind of record (M2).

Every record has an owner: the id of a client key, or `local`. Another owner's record does not
exist: `get` returns None, and what needs a record raises NotFound. Where `owner` may be None, None
means all owners; only an administrator may ask so.

Every method raises StorageUnavailable where the store is away, full or damaged. A write is kept
when the method returns; a caller that is cancelled before leaves the whole write or none of it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Final, Protocol, Self

from chorus.storage.outcomes import Outcomes
from chorus.storage.records import (
    Batch,
    BatchPage,
    Change,
    Conversation,
    FilePage,
    FilePart,
    FilePurpose,
    History,
    Item,
    LineResult,
    Order,
    Page,
    Profile,
    Run,
    RunStatus,
    StoredFile,
    Trace,
    UsageColumn,
    UsageRow,
)

READ_SECS: Final = 2.0
"""How long a read may take: a store in the same building answers in milliseconds."""
WRITE_SECS: Final = 6.0
"""How long a write may take: SQLite waits 5 s for the lock of another process."""


class Conversations(Protocol):
    """Conversations with their items in order.

    The ids of conversations are unique among all owners.
    """

    async def create(
        self,
        owner: str,
        id: str,
        *,
        user: str = "",
        metadata: Mapping[str, str] | None = None,
        items: Sequence[Item] = (),
    ) -> Conversation:
        """Begin a conversation. Raises InvalidRequest where the id is taken."""
        ...

    async def get(self, owner: str, id: str) -> Conversation | None:
        """Return the conversation of this id."""
        ...

    async def recent(self, owner: str, user: str, limit: int) -> list[Conversation]:
        """Return the conversations of `user`, the one that was changed last first."""
        ...

    async def update(self, owner: str, id: str, change: Change) -> Conversation:
        """Change the metadata. Raises NotFound, and what `change` raises."""
        ...

    async def delete(self, owner: str, id: str) -> bool:
        """Delete the conversation and its items. False where there is none."""
        ...

    async def append(
        self, owner: str, id: str, items: Sequence[Item], *, turns: int = 0, title: str = ""
    ) -> Conversation:
        """Add `items` together: no other item comes between them. An item whose id the conversation
        has already replaces that one in its place, so that an append can be repeated. `turns` is
        added to the number of turns, but not where the last of `items` is there already; `title` is
        set where there is none. Raises NotFound."""
        ...

    async def page(
        self, owner: str, id: str, *, order: Order = "asc", after: str | None = None, limit: int = 20
    ) -> Page:
        """Return at most `limit` items in `order`, from the first behind the item of id `after`.

        Raises:
            NotFound: there is no such conversation, or it has no item `after` (`param` says so).
        """
        ...

    async def history(self, owner: str, id: str, limit: int) -> History | None:
        """Return the conversation with its newest items, `limit` at most.

        None where there is none.
        """
        ...

    async def item(self, owner: str, id: str, item_id: str) -> Item | None:
        """Return one item of the conversation."""
        ...

    async def delete_item(self, owner: str, id: str, item_id: str) -> Conversation:
        """Remove one item; returns the conversation. Raises NotFound."""
        ...


class Responses(Protocol):
    """Finished responses with what led to them, as JSON texts."""

    async def get(self, owner: str, id: str) -> bytes | None:
        """Return the response of this id."""
        ...

    async def put(self, owner: str, id: str, value: bytes) -> None:
        """Keep a response, in place of one that has this id. Raises InvalidRequest where it is
        larger than all responses together may be."""
        ...

    async def delete(self, owner: str, id: str) -> bool:
        """Delete a response. False where there is none."""
        ...


class Runs(Protocol):
    """Background runs. Each is leased to the process that runs it; a run whose lease is over has
    failed, and stays so."""

    async def start(self, owner: str, id: str, process: str, value: bytes) -> None:
        """Record that `process` begins a run and has its lease."""
        ...

    async def get(self, owner: str, id: str) -> Run | None:
        """Return the run of this id; `failed` with a reason where its lease is over."""
        ...

    async def renew(self, process: str) -> set[tuple[str, str]]:
        """Renew the leases of all runs of `process`. Returns owner and id of those to stop: they
        are to be cancelled, or their lease was over before."""
        ...

    async def request_cancel(self, owner: str, id: str) -> Run | None:
        """Ask the process of a run to cancel it, at its next renewal. Returns the run."""
        ...

    async def finish(self, owner: str, id: str, process: str, status: RunStatus) -> bool:
        """Record how a run ended. False where `process` has not its lease (any more): then nothing
        changes."""
        ...

    async def delete(self, owner: str, id: str) -> bool:
        """Delete a run. False where there is none."""
        ...


class Traces(Protocol):
    """The traces of the last runs."""

    async def put(self, traces: Sequence[Trace]) -> None:
        """Keep `traces`, the newest last, each in place of the one that has its id. They share the
        cost of a write. Raises InvalidRequest where one is larger than all traces together may be;
        the others are kept."""
        ...

    async def get(self, owner: str | None, id: str) -> Trace | None:
        """Return the trace of this id."""
        ...

    async def recent(self, limit: int) -> list[tuple[str, bytes]]:
        """Return the ids and events of the newest traces of all owners, newest first."""
        ...


class Profiles(Protocol):
    """Notes on users. A user belongs to an owner: one name under two owners is two users."""

    async def get(self, owner: str, user: str) -> Profile | None:
        """Return what is remembered of `user`."""
        ...

    async def update(self, owner: str, user: str, change: Change) -> Profile:
        """Change the notes, of which a new user has none. Raises what `change` raises."""
        ...

    async def delete(self, owner: str, user: str) -> bool:
        """Forget everything of `user`. False where there is nothing."""
        ...


class Affinities(Protocol):
    """The replica of a model that a session stays with. It is a hint: a store may lose it."""

    async def get(self, owner: str, session: str, model: str) -> str | None:
        """Return the name of the replica."""
        ...

    async def put(self, owner: str, session: str, model: str, replica: str) -> None:
        """Let the session stay with `replica`."""
        ...


class UsageCounts(Protocol):
    """Calls, tokens and costs by key, user, model and day. The key is the owner."""

    async def add(self, *rows: UsageRow) -> None:
        """Add the counts of `rows` together. Their columns are all set."""
        ...

    async def query(
        self,
        owner: str | None,
        *,
        group_by: Collection[UsageColumn] = (),
        start: str | None = None,
        end: str | None = None,
        limit: int | None = None,
    ) -> list[UsageRow]:
        """Return the sums for each value of the columns `group_by`, in the order of these columns,
        over the days from `start` to `end`, both included. Without rows there is no sum. There are
        at most `limit` of them; where there are so many, a store may not have counted all.
        """
        ...


class Files(Protocol):
    """Files in pieces.

    A file exists for readers when it is finished, and until its time is over.
    """

    async def create(self, owner: str, id: str, purpose: FilePurpose, name: str) -> None:
        """Begin a file. Raises InvalidRequest where its owner has as many as may be."""
        ...

    async def add(self, owner: str, id: str, number: int, data: bytes) -> None:
        """Add a piece. Raises NotFound where the file is gone, and InvalidRequest where its owner
        has as many bytes as may be."""
        ...

    async def finish(self, owner: str, id: str, keep_secs: float) -> StoredFile:
        """Let the file exist, for so long. Raises NotFound where it is gone."""
        ...

    async def get(self, owner: str, id: str) -> StoredFile | None:
        """Return the file of this id."""
        ...

    async def page(
        self,
        owner: str,
        *,
        purpose: str | None = None,
        order: Order = "desc",
        after: str | None = None,
        limit: int = 20,
    ) -> FilePage:
        """Return at most `limit` files in the order of their making, from the first behind `after`.

        Raises NotFound where there is no file `after`.
        """
        ...

    async def read(self, owner: str, id: str, first: int = 0) -> FilePart | None:
        """Return the pieces from number `first` on, about `READ_BYTES` of them.

        None where there is no such file.
        """
        ...

    async def delete(self, owner: str, id: str) -> bool:
        """Delete a file, also one that is not finished. False where there is none."""
        ...


class Batches(Protocol):
    """Batches, each leased to the process that runs it. One whose lease is over goes on in another
    process; a process that has lost its lease changes nothing any more."""

    async def create(self, batch: Batch) -> Batch:
        """Begin a batch, which nobody runs yet. Raises TooManyRuns where its owner has as many as
        may be."""
        ...

    async def get(self, owner: str, id: str) -> Batch | None:
        """Return the batch of this id."""
        ...

    async def page(self, owner: str, *, after: str | None = None, limit: int = 20) -> BatchPage:
        """Return at most `limit` batches, newest first, from the first behind `after`.

        Raises NotFound where there is no batch `after`.
        """
        ...

    async def request_cancel(self, owner: str, id: str) -> Batch | None:
        """Ask for the end of a batch that is not over. Returns the batch."""
        ...

    async def claim(self, process: str) -> Batch | None:
        """Give `process` the lease of the oldest batch that is not over and that nobody runs."""
        ...

    async def renew(self, process: str) -> list[Batch]:
        """Renew the leases of `process`. Returns its batches."""
        ...

    async def release(self, process: str) -> None:
        """End the leases of `process`, so that others go on at once."""
        ...

    async def update(self, batch: Batch) -> bool:
        """Write `status`, `total` and `value`. False where `batch.process` has not its lease."""
        ...

    async def record(self, batch: Batch, results: Sequence[LineResult]) -> bool:
        """Add lines to the files of a batch, and count them. A line that has a result keeps it.
        False where `batch.process` has not its lease: then nothing changes."""
        ...

    async def done(self, batch: Batch) -> set[int]:
        """Return the numbers of the lines that have a result."""
        ...

    async def finish(self, batch: Batch, keep_secs: float) -> bool:
        """Write `status` and `value` of a batch that is over, and let its files exist for so long.
        False where `batch.process` has not its lease."""
        ...


class Backend(Protocol):
    """What a store has open: files, threads, connections. `limits_time`: what takes too long raises
    TimeoutError by itself."""

    limits_time: bool

    async def open(self) -> None:
        """Make the store ready. Raises StorageUnavailable where it can never be used as it is."""
        ...

    async def aclose(self) -> None:
        """Finish the writes that wait, and close everything. Never raises."""
        ...


class Storage:
    """Everything that is kept, by kind. It is an async context manager."""

    def __init__(
        self,
        backend: Backend,
        *,
        conversations: Conversations,
        responses: Responses,
        runs: Runs,
        traces: Traces,
        profiles: Profiles,
        usage: UsageCounts,
        files: Files,
        batches: Batches,
        affinities: Affinities,
        outcomes: Outcomes,
    ) -> None:
        self._backend = backend
        self.conversations = conversations
        self.responses = responses
        self.runs = runs
        self.traces = traces
        self.profiles = profiles
        self.usage = usage
        self.files = files
        self.batches = batches
        self.affinities = affinities
        self.outcomes = outcomes

    @property
    def limits_time(self) -> bool:
        """Whether an operation that takes too long raises TimeoutError by itself."""
        return self._backend.limits_time

    async def __aenter__(self) -> Self:
        """Open the store. Raises StorageUnavailable where it can never be used as it is."""
        await self._backend.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Finish the writes that wait, and close everything. Never raises."""
        await self._backend.aclose()
