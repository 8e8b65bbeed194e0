"""One batch as its process runs it: check the lines, run them, make the files exist (M7).

Every step is written before the next one, so that another process can go on where this one stops.
What was being answered then is asked again; a line that has a result is not.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import anyio
import anyio.to_thread
import msgspec
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from chorus.errors import StorageUnavailable
from chorus.server.api.batch_details import changed, details_of
from chorus.server.api.batch_lines import (
    MAX_LINES,
    BatchLine,
    LineChecks,
    LineProblem,
    LineSplitter,
    NumberedLine,
    answer_result,
    in_groups,
    problem_result,
    read_line,
)
from chorus.server.api.batch_requests import BatchAnswer, BatchRequests
from chorus.storage.base import Storage
from chorus.storage.records import Batch, BatchStatus, FilePart, LineResult

T = TypeVar("T")

_STORE_SECS: Final = 10.0
"""How long one command of the store may take before it is tried again."""
_AWAY_SECS: Final = 0.5
"""Between two tries while the store is away."""
_BUSY: Final = frozenset(
    {"rate_limit_exceeded", "queue_full", "queue_timeout", "storage_unavailable", "server_stopping"}
)
"""What does not fail a line: it waits, for as long as its batch may take."""
_PASSING: Final = frozenset(
    {"upstream_rate_limited", "upstream_unavailable", "upstream_connect", "upstream_timeout", "upstream_status"}
)
"""What fails a line when it has been tried `_TRIES` times."""
_TRIES: Final = 4
_FIRST_WAIT_SECS: Final = 0.5
_MAX_WAIT_SECS: Final = 60.0
_EXPIRED: Final = LineProblem(
    "batch_expired", "This request could not be executed before the completion window expired."
)
_CANCELLED: Final = LineProblem("batch_cancelled", "The batch was cancelled before this request was executed.")

_log = structlog.get_logger("chorus.server")


class _Lost(Exception):
    """Another process has the lease of the batch."""


class _InputGone(Exception):
    """The input file is deleted, or its time is over."""


class BatchJob:
    """A batch whose lease this process has. `slots` are shared by all its batches."""

    def __init__(
        self, batch: Batch, storage: Storage, requests: BatchRequests, slots: anyio.Semaphore, max_line_bytes: int
    ) -> None:
        self._batch = batch
        self._details = details_of(batch)
        self._storage = storage
        self._requests = requests
        self._slots = slots
        self._max_line_bytes = max_line_bytes
        self._scope = anyio.CancelScope()
        self._is_lost = False

    @property
    def place(self) -> tuple[str, str]:
        """Owner and id of the batch."""
        return self._batch.owner, self._batch.id

    def cancel(self) -> None:
        """Run no more lines; the batch ends as cancelled."""
        self._scope.cancel()

    def lose(self) -> None:
        """Do nothing more: another process has the batch."""
        self._is_lost = True
        self._scope.cancel()

    async def run(self) -> None:
        """Bring the batch to its end, or stop where another process has it."""
        try:
            try:
                status = await self._ran()
            except* _InputGone:
                self._details.add_error(LineProblem("input_file_gone", "The input file is deleted.", "input_file_id"))
                status = "failed"
            await self._end(status)
        except* _Lost:
            _log.info("batch: another process goes on with it", batch=self._batch.id)

    async def fail(self) -> None:
        """End the batch after an error that nobody foresaw. Raises _Lost."""
        self._details.add_error(LineProblem("server_error", "Internal error; the server's log has the details."))
        await self._end("failed")

    async def _ran(self) -> BatchStatus:
        """Check and run the lines. Returns how the batch ends."""
        with self._scope:
            if self._batch.status == "validating" and not await self._is_valid():
                return "failed"
            left = self._batch.expires_at - time.time()
            with anyio.move_on_after(max(left, 0.0)) as window:
                await self._run_lines()
            if window.cancelled_caught:
                await self._give_up(_EXPIRED)
                return "expired"
            return "completed"
        if self._is_lost:
            raise _Lost
        if self._batch.status != "validating":
            await self._give_up(_CANCELLED)
        return "cancelled"

    async def _is_valid(self) -> bool:
        """Check all lines, and write what is wrong with them. False where none can be run."""
        checks = LineChecks(self._details.endpoint)
        problems: list[tuple[int, LineProblem]] = []
        async for lines in self._lines():
            problems += await anyio.to_thread.run_sync(checks.check, lines)
            if checks.lines > MAX_LINES:
                sentence = f"The batch has more than {MAX_LINES} requests."
                self._details.add_error(LineProblem("too_many_tasks", sentence))
                return False
        if not checks.lines:
            self._details.add_error(LineProblem("empty_file", "The input file has no requests."))
        elif checks.problems == checks.lines:
            for number, problem in problems:
                self._details.add_error(problem, number)
        else:
            await self._keep([problem_result(number, problem) for number, problem in problems])
            self._details.model = checks.model
            self._details.reach("in_progress")
            await self._update("in_progress", checks.lines)
            return True
        return False

    async def _run_lines(self) -> None:
        """Run the lines that have no result yet, as many at a time as there are slots."""
        done = await self._sure(partial(self._storage.batches.done, self._batch))
        send, receive = anyio.create_memory_object_stream[NumberedLine](0)
        async with anyio.create_task_group() as group:
            for _ in range(self._slots.max_value or 1):
                group.start_soon(self._work, receive.clone())
            receive.close()
            await self._feed(send, done)

    async def _feed(self, send: MemoryObjectSendStream[NumberedLine], done: set[int]) -> None:
        async with send:
            async for lines in self._lines():
                for line in lines:
                    if line[0] not in done:
                        # while none is free, lines wait in the store and not here
                        async with self._slots:
                            pass
                        await send.send(line)

    async def _work(self, receive: MemoryObjectReceiveStream[NumberedLine]) -> None:
        async with receive:
            async for number, text in receive:
                line = read_line(text, self._details.endpoint)
                if isinstance(line, LineProblem):
                    await self._keep([problem_result(number, line)])
                    continue
                answer = await self._answer(line)
                await self._keep([answer_result(number, line.custom_id, answer.status, answer.request_id, answer.body)])

    async def _answer(self, line: BatchLine) -> BatchAnswer:
        """Return the answer to a line.

        Where it is refused for want of room, it waits and tries again.
        """
        tries = waits = 0
        while True:
            async with self._slots:
                answer = await self._requests.ask(
                    self._details.endpoint, line.body, self._batch.owner, self._details.user
                )
            if answer.code in _PASSING:
                tries += 1
            if answer.code not in _BUSY and (answer.code not in _PASSING or tries >= _TRIES):
                return answer
            wait = min(max(answer.retry_after or 0.0, _FIRST_WAIT_SECS * 2**waits), _MAX_WAIT_SECS)
            waits = min(waits + 1, 10)
            await anyio.sleep(wait * random.uniform(1.0, 1.2))

    async def _give_up(self, why: LineProblem) -> None:
        """Write `why` for all lines that have no result."""
        done = await self._sure(partial(self._storage.batches.done, self._batch))
        async for lines in self._lines():
            results = []
            for number, text in lines:
                if number not in done:
                    line = read_line(text, self._details.endpoint)
                    results.append(problem_result(number, msgspec.structs.replace(why, custom_id=line.custom_id)))
            await self._keep(results)

    async def _end(self, status: BatchStatus) -> None:
        """Let the files of the batch exist, and end it. Raises _Lost."""
        if status == "completed":
            self._details.reach("finalizing")
            await self._update("finalizing")
        self._details.reach(status)  # type: ignore[arg-type]
        self._batch = changed(self._batch, self._details, status)
        self._check(await self._sure(partial(self._storage.batches.finish, self._batch, self._details.keep_secs)))
        _log.info("batch", batch=self._batch.id, status=status, lines=self._batch.total)

    async def _update(self, status: BatchStatus, total: int | None = None) -> None:
        batch = changed(self._batch, self._details, status, total)
        self._check(await self._sure(partial(self._storage.batches.update, batch)))
        self._batch = batch

    async def _keep(self, results: Sequence[LineResult]) -> None:
        for group in in_groups(results):
            self._check(await self._sure(partial(self._storage.batches.record, self._batch, group)))

    def _check(self, is_ours: bool) -> None:
        """Raises _Lost."""
        if not is_ours:
            self.lose()
            raise _Lost

    async def _lines(self) -> AsyncIterator[list[NumberedLine]]:
        """Return the lines of the input file, part by part. Raises _InputGone."""
        splitter = LineSplitter(self._max_line_bytes)
        first: int | None = 0
        while first is not None:
            part: FilePart | None = await self._sure(
                partial(self._storage.files.read, self._batch.owner, self._batch.input_file, first)
            )
            if part is None:
                raise _InputGone
            first = part.next
            yield splitter.feed(part.pieces, is_last=first is None)

    async def _sure(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what a command of the store returns; it is tried until the store does it. A try is
        not cancelled, so that a result that is there is kept."""
        while True:
            with anyio.move_on_after(_STORE_SECS, shield=True):
                try:
                    return await work()
                except StorageUnavailable as problem:
                    _log.warning("batch: waits for the store", batch=self._batch.id, problem=problem.log_message)
            await anyio.sleep(_AWAY_SECS)
