"""Background runs as all processes see them: a lease in the store says whose a run is (M8).

The process of a run renews its lease; where it stops doing so, the run has failed for everybody.
Another process reads the record, and asks for a run to be cancelled.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import anyio
import msgspec
import structlog

from chorus.errors import StorageUnavailable
from chorus.storage.base import Runs
from chorus.storage.behind import WriteBehind
from chorus.storage.records import RunStatus
from chorus.wirejson import JSON

RENEW_SECS: Final = 1.0
"""Between renewals, at which a process also learns what it has to cancel. A lease lasts 30 s."""
_BEGIN_SECS: Final = 2.0
"""How long a run waits for its lease before it begins without."""
_CANCEL_SECS: Final = 5.0
"""How long who cancels waits for the process of the run to say that it is over."""
_POLL_SECS: Final = 0.1
_MAX_ENDED: Final = 1000
"""Ends that could not be written yet, and are tried again."""

_log = structlog.get_logger("chorus.storage")

Place = tuple[str, str]
"""Owner and id of a run's response."""


class RunRecords:
    """The leases of one process, and the runs of all."""

    def __init__(self, runs: Runs, writes: WriteBehind) -> None:
        self._runs = runs
        self._writes = writes
        self._process = secrets.token_hex(8)
        self._ended: dict[Place, RunStatus] = {}

    async def begin(self, place: Place, response: Mapping[str, JSON]) -> bool:
        """Take the lease of a run. `response` is what other processes answer until it ends. False
        while the store is away: the run goes on, and other processes do not know it."""
        try:
            with anyio.fail_after(_BEGIN_SECS):
                await self._runs.start(*place, self._process, msgspec.json.encode(response))
        except (TimeoutError, StorageUnavailable) as problem:
            _log.warning("storage: other processes do not know a run", id=place[1], problem=str(problem))
            return False
        return True

    def end(self, place: Place, status: RunStatus) -> None:
        """Let it be written how a run ended, behind what was added to the writes before."""
        if not self._writes.add(("runs", *place), 0, partial(self._finish_behind, place, status)):
            self._finish_later(place, status)

    async def renew(self, *, has_runs: bool) -> list[tuple[Place, bool]]:
        """Renew the leases, where this process has runs. Returns those to stop; True with those
        whose lease was over, or that were deleted. Raises StorageUnavailable."""
        for place, status in [*self._ended.items()]:
            await self._finish(place, status)
            del self._ended[place]
        stop = await self._runs.renew(self._process) if has_runs else ()
        records = [(place, await self._runs.get(*place)) for place in stop]
        return [(place, run is None or run.reason != "") for place, run in records]

    async def response(self, place: Place) -> dict[str, Any] | None:
        """Return the response of a run that is going on, or whose process has stopped.

        None of any other: it is kept with the stored responses, or is unknown. Raises
        StorageUnavailable.
        """
        await self._writes.settled(("runs", *place))
        run = await self._runs.get(*place)
        if run is None or (run.status != "in_progress" and not run.reason):
            return None
        error = {"code": "server_error", "message": run.reason} if run.reason else None
        return {**msgspec.json.decode(run.value, type=dict[str, Any]), "status": run.status, "error": error}

    async def cancel(self, place: Place) -> None:
        """Ask the process of a run to cancel it, and wait until it has, or has not for a while.
        Raises StorageUnavailable."""
        run = await self._runs.request_cancel(*place)
        with anyio.move_on_after(_CANCEL_SECS):
            # another process says nothing by itself
            while run is not None and run.status == "in_progress":
                await anyio.sleep(_POLL_SECS)
                run = await self._runs.get(*place)

    async def delete(self, place: Place) -> bool:
        """Forget a run. False where there is none. Raises StorageUnavailable."""
        await self._writes.settled(("runs", *place))
        return await self._runs.delete(*place)

    async def _finish(self, place: Place, status: RunStatus) -> None:
        try:
            await self._runs.finish(*place, self._process, status)
        except StorageUnavailable:
            self._finish_later(place, status)
            raise

    async def _finish_behind(self, place: Place, status: RunStatus) -> None:
        """Do it now, or with the next renewal; nothing waits for the store meanwhile."""
        try:
            await self._finish(place, status)
        except StorageUnavailable as problem:
            _log.warning("storage: the end of a run is not written yet", id=place[1], problem=problem.log_message)

    def _finish_later(self, place: Place, status: RunStatus) -> None:
        """Try it again with the next renewal: else the run would be renewed as if it went on."""
        if len(self._ended) < _MAX_ENDED:
            self._ended[place] = status
