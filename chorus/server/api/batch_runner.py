"""The batches that this process runs (M7).

Each is leased to one process; where that stops, another one goes on.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import anyio
import structlog
from anyio.abc import TaskGroup

from chorus.errors import StorageUnavailable
from chorus.server.api.batch_job import BatchJob
from chorus.server.api.batch_requests import BatchRequests
from chorus.service import Chorus
from chorus.storage.records import Batch
from chorus.tasks import cancelled_at_end, surviving

_LOOK_SECS: Final = 1.0
"""Between renewals of leases, at which a process also looks for batches that nobody runs."""
_AWAY_SECS: Final = 5.0
"""Between looks while the store is away: each of them is a warning in the log."""
_MAX_BATCHES: Final = 16
"""Batches that a process runs at a time; their lines share the slots, one batch after the other."""
_RELEASE_SECS: Final = 5.0

_log = structlog.get_logger("chorus.server")


class BatchRunner:
    """Runs batches of the store of `chorus`, `slots` lines at a time."""

    def __init__(self, chorus: Chorus, requests: BatchRequests, slots: int, max_line_bytes: int) -> None:
        self._chorus = chorus
        self._batches = chorus.storage.batches
        self._requests = requests
        self._slots = slots
        self._max_line_bytes = max_line_bytes
        self._process = secrets.token_hex(8)
        self._jobs: dict[tuple[str, str], BatchJob] = {}
        self._news = anyio.Event()
        self._is_away = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Run batches while the block lasts.

        At its end other processes may go on with them at once.
        """
        try:
            async with cancelled_at_end() as group:
                group.start_soon(self._look, group, anyio.Semaphore(self._slots, max_value=self._slots))
                yield
        finally:
            with anyio.move_on_after(_RELEASE_SECS, shield=True), surviving("batches were not released"):
                try:
                    await self._batches.release(self._process)
                except StorageUnavailable as problem:
                    _log.warning("batches wait for the end of their leases", problem=problem.log_message)

    def begin(self) -> None:
        """Look for a new batch at once."""
        self._news.set()

    def cancel(self, owner: str, id: str) -> None:
        """Cancel a batch at once, where this process runs it.

        Else its process learns it from the store.
        """
        job = self._jobs.get((owner, id))
        if job is not None:
            job.cancel()

    async def _look(self, group: TaskGroup, slots: anyio.Semaphore) -> None:
        while True:
            with surviving("batches could not be looked for"):
                try:
                    await self._renew(group, slots)
                    await self._claim(group, slots)
                    self._is_away = False
                except StorageUnavailable as problem:
                    if not self._is_away:
                        _log.warning("batches wait for the store", problem=problem.log_message)
                    self._is_away = True
            is_idle = self._is_away and not self._jobs
            with anyio.move_on_after(_AWAY_SECS if is_idle else _LOOK_SECS):
                await self._news.wait()
            self._news = anyio.Event()

    async def _renew(self, group: TaskGroup, slots: anyio.Semaphore) -> None:
        """Renew the leases of the batches that run, and stop those that are not to go on."""
        jobs = dict(self._jobs)
        if not jobs:
            return
        leased = {(batch.owner, batch.id): batch for batch in await self._batches.renew(self._process)}
        for place, job in jobs.items():
            batch = leased.pop(place, None)
            if batch is None:
                job.lose()
            elif batch.cancelling_at:
                job.cancel()
        for batch in leased.values():  # it failed here, and could not be ended
            self._start(batch, group, slots)

    async def _claim(self, group: TaskGroup, slots: anyio.Semaphore) -> None:
        while len(self._jobs) < _MAX_BATCHES and not self._chorus.is_stopping:
            batch = await self._batches.claim(self._process)
            if batch is None or (batch.owner, batch.id) in self._jobs:
                return
            self._start(batch, group, slots)

    def _start(self, batch: Batch, group: TaskGroup, slots: anyio.Semaphore) -> None:
        job = BatchJob(batch, self._chorus.storage, self._requests, slots, self._max_line_bytes)
        if batch.cancelling_at:
            job.cancel()
        self._jobs[job.place] = job
        group.start_soon(self._run, job, batch)

    async def _run(self, job: BatchJob, batch: Batch) -> None:
        try:
            try:
                await job.run()
            except Exception:
                _log.exception("a batch failed", batch=batch.id)
                with surviving("a batch could not be ended"):
                    await job.fail()
        finally:
            del self._jobs[job.place]
            self._news.set()
