"""A connection to another MCP server, made on demand and made again when it breaks (M5).

Above: `mcp_profiles` reads and writes notes. Below: `mcp_link` is one connection. A task of its own
makes and ends each link, since the SDK's cancel scopes belong to one task.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final

import anyio
import anyio.to_thread
import structlog

from chorus.errors import ChorusError, StorageUnavailable
from chorus.wirejson import JSON

if TYPE_CHECKING:
    from chorus.sessions.mcp_link import Link

_CONNECT_SECS: Final = 20.0
"""How long a server may take to start and to list its tools. Requests do not wait that long."""
_RETRY_SECS: Final = 1.0
"""After a connection that failed, requests fail at once for so long."""
_MAX_TIMEOUTS: Final = 3
"""A link on which so many calls in a row have taken too long is made anew."""

_log = structlog.get_logger("chorus.sessions")


@dataclass(frozen=True, slots=True)
class McpAddress:
    """Where the server is: at a `url`, or a `command` that starts it."""

    url: str | None = None
    command: Sequence[str] = ()
    api_key: str | None = None


class _Attempt:
    """One connection, from the wish for it to its end. `link` is None until it is made."""

    def __init__(self) -> None:
        self.wanted = anyio.Event()
        self.made = anyio.Event()
        self.broken = anyio.Event()
        self.ended = anyio.Event()
        self.link: Link | None = None
        self.timeouts = 0


class McpConnection:
    """Calls tools of the server at `address`, each within `limit_secs`."""

    def __init__(self, address: McpAddress, limit_secs: float) -> None:
        self._address = address
        self._limit_secs = limit_secs
        self._attempt = _Attempt()
        self._retry_at = 0.0
        self._is_open = False
        self._last: Link | None = None

    def lacks(self, tool: str) -> bool:
        """Return whether the server had not this tool when it was connected to last."""
        return self._last is not None and not self._last.has(tool)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Connect where it is needed, while the block lasts."""
        await anyio.to_thread.run_sync(_prepare, self._address)
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep)
            self._is_open = True
            try:
                yield
            finally:
                self._is_open = False
                group.cancel_scope.cancel()

    async def call(self, tool: str, user: str, arguments: Mapping[str, JSON]) -> JSON:
        """Return what `tool` says of `user`; see `Link.call`. A link that turns out to be broken is
        made again once.

        Raises:
            StorageUnavailable: the server is away, too slow, or its tool has failed.
        """
        attempt = self._attempt
        with anyio.move_on_after(self._limit_secs):
            try:
                if (made := attempt.link) is not None:
                    try:
                        return await self._called(attempt, made, tool, user, arguments)
                    except _Broken:
                        attempt = await self._renewed(attempt)
                link = await self._link(attempt)
                return await self._called(attempt, link, tool, user, arguments)
            except _Broken:
                raise StorageUnavailable("The memory server cannot be reached.") from None
        attempt.timeouts += 1
        if attempt.timeouts >= _MAX_TIMEOUTS and attempt.link is not None:
            attempt.broken.set()
        raise StorageUnavailable(f"The memory server did not answer within {self._limit_secs:g} s.")

    async def has(self, tool: str) -> bool:
        """Return whether the server has this tool. Raises StorageUnavailable where it is away."""
        with anyio.move_on_after(self._limit_secs):
            try:
                return (await self._link(self._attempt)).has(tool)
            except _Broken:
                pass
        raise StorageUnavailable("The memory server cannot be reached.")

    async def _called(self, attempt: _Attempt, link: Link, tool: str, user: str, arguments: Mapping[str, JSON]) -> JSON:
        try:
            said = await link.call(tool, user, arguments)
        except ChorusError:
            attempt.timeouts = 0
            raise
        except Exception as problem:
            _log.debug("memory: a call of the memory server failed", tool=tool, kind=type(problem).__name__)
            attempt.broken.set()
            raise _Broken from None
        attempt.timeouts = 0
        return said

    async def _link(self, attempt: _Attempt) -> Link:
        """Return the link of `attempt` when it is made. Raises _Broken."""
        if not self._is_open or (attempt.link is None and anyio.current_time() < self._retry_at):
            raise _Broken
        attempt.wanted.set()
        await attempt.made.wait()
        if attempt.link is None:
            raise _Broken
        return attempt.link

    async def _renewed(self, broken: _Attempt) -> _Attempt:
        """Return the attempt that follows one that is broken, when that has ended."""
        await broken.ended.wait()
        return self._attempt

    async def _keep(self) -> None:
        """Make a link whenever one is wanted, and end it when it is broken."""
        while True:
            attempt = self._attempt
            await attempt.wanted.wait()
            try:
                with anyio.move_on_after(_CONNECT_SECS) as scope:
                    async with self._linked() as link:
                        scope.deadline = float("inf")
                        attempt.link = self._last = link
                        attempt.made.set()
                        await attempt.broken.wait()
                if attempt.link is None:
                    _log.warning("memory: the memory server did not answer in time", secs=_CONNECT_SECS)
            except Exception as problem:
                if attempt.link is None:
                    _log.warning("memory: the memory server cannot be reached", kind=_kind(problem))
            finally:
                if attempt.link is None:
                    self._retry_at = anyio.current_time() + _RETRY_SECS
                self._attempt = _Attempt()
                attempt.made.set()
                attempt.ended.set()

    def _linked(self) -> AbstractAsyncContextManager[Link]:
        from chorus.sessions.mcp_link import http_link, process_link

        address = self._address
        return http_link(address.url, address.api_key) if address.url is not None else process_link(address.command)


def _prepare(address: McpAddress) -> None:
    """Do what takes a second or two the first time. Unreadable certificates end no start of the
    server, only connections."""
    link = import_module("chorus.sessions.mcp_link")
    if address.url is not None and address.url.lower().startswith("https:"):
        with suppress(OSError):
            link.certificates()


class _Broken(Exception):
    """There is no link, or it does not work any more."""


def _kind(problem: BaseException) -> str:
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return f"{type(problem).__name__}: {str(problem)[:100]}"
