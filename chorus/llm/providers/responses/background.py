"""A response that the upstream makes in the background: followed to its end, and cancelled when the
caller leaves.

For models that think for many minutes: no connection has to hold for so long. A stream that breaks
off goes on where it was; a response that is not streamed is asked for again and again."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

import anyio
import structlog

from chorus.errors import LLMError, UpstreamConnect, UpstreamProtocol, UpstreamStatus, UpstreamTimeout
from chorus.llm.base import Call, Chunk
from chorus.llm.providers.learning import Learned
from chorus.llm.providers.responses.reading import ResponseReader, status_of
from chorus.llm.providers.responses.sse_events import events_of
from chorus.llm.providers.taught import LessonOf, Taught
from chorus.llm.providers.traits import Traits
from chorus.llm.transport.clients import Endpoint, Reply, UpstreamEndpoint

POLL_SECS: Final = 0.5
"""The first pause between two looks at a response; each is half as long again, up to
`MAX_POLL_SECS`."""
MAX_POLL_SECS: Final = 10.0
MAX_SECS: Final = 4 * 3600.0
"""How long one response is followed. The caller's own limits are shorter as a rule."""
MAX_FAILURES: Final = 5
"""How often in a row a look at a response may fail."""
CANCEL_SECS: Final = 5.0
"""How long cancelling may take."""

_GOES_ON: Final = frozenset({"queued", "in_progress"})
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")

_log = structlog.get_logger("chorus.llm")


class Follower:
    """Follows one response."""

    def __init__(
        self, upstream: UpstreamEndpoint, reader: ResponseReader, *, path: str, connect_timeout: float
    ) -> None:
        """`path` is that of responses below the address of `upstream`."""
        self._upstream = upstream
        self._reader = reader
        self._path = path
        self._connect_timeout = connect_timeout
        self._until = anyio.current_time() + MAX_SECS
        self._id = ""
        self._later: Reply | None = None
        """The reply that goes on where the first one broke off."""

    async def chunks(self, call: Call, reply: Reply, body: Mapping[str, Any]) -> AsyncIterator[Chunk]:
        """Yield the chunks of the response that `reply` begins; the caller closes `reply`."""
        kind = reply.content_type
        is_stream = kind == "text/event-stream" or (call.stream and kind != "application/json")
        async for chunk in self._streamed(reply) if is_stream else self._polled(await reply.body()):
            yield chunk

    async def leave(self) -> None:
        """Close what is open, and let the upstream stop, where the response is not over."""
        if self._later is not None:
            self._later.close()
        its_id = self._id or self._reader.response_id
        if self._reader.is_over or not _ID.fullmatch(its_id):
            return
        with anyio.move_on_after(CANCEL_SECS, shield=True):
            try:
                endpoint = self._upstream.endpoint(f"{self._path}/{its_id}/cancel")
                (await endpoint.post(b"{}", connect_timeout=self._connect_timeout)).close()
            except LLMError as error:  # it may be over in the meantime
                _log.info("background response not cancelled", model=self._upstream.name, reason=error.log_message)

    async def _streamed(self, reply: Reply) -> AsyncIterator[Chunk]:
        """Yield the chunks of a stream, which goes on by its number where it breaks off."""
        reader, failures = self._reader, 0
        while True:
            before = reader.sequence
            try:
                with reply:
                    async for data in events_of(reply):
                        for chunk in reader.event(data):
                            yield chunk
                        if reader.is_over:
                            return
                broken: LLMError = reader.cut()
            except UpstreamProtocol as error:
                broken = error
            self._id = self._id or reader.response_id
            failures = 0 if reader.sequence > before else failures
            if not self._id or reader.sequence < 0:
                raise broken
            reply, failures = await self._again(
                f"{self._path}/{self._known_id()}?stream=true&starting_after={reader.sequence}", failures + 1, broken
            )
            self._later = reply

    async def _polled(self, raw: bytes) -> AsyncIterator[Chunk]:
        """Yield the chunks of a response that is asked for until it is over."""
        pause = POLL_SECS
        while True:
            its_id, status = status_of(raw)
            if status not in _GOES_ON:
                for chunk in self._reader.whole(raw):
                    yield chunk
                return
            self._id = self._id or its_id
            await self._wait(pause)
            pause = min(pause * 1.5, MAX_POLL_SECS)
            reply, _ = await self._again(f"{self._path}/{self._known_id()}", 0)
            with reply:
                raw = await reply.body()

    async def _again(self, path: str, failures: int, broken: LLMError | None = None) -> tuple[Reply, int]:
        """Return the reply of the response at `path`, and how many looks in a row have failed.

        `broken` is why the last one did.

        Raises:
            LLMError: too many have failed, or another one would not end otherwise.
        """
        while True:
            if broken is not None:
                if failures > MAX_FAILURES:
                    raise broken
                await self._wait(min(POLL_SECS * 2**failures / 2, MAX_POLL_SECS))
            try:
                endpoint = self._upstream.endpoint(path)
                return await endpoint.get(connect_timeout=self._connect_timeout), failures
            except (UpstreamConnect, UpstreamProtocol) as error:
                broken = error
            except UpstreamStatus as error:
                if error.upstream_status < 500 and error.upstream_status not in (408, 409, 429):
                    raise
                broken = error
            failures += 1

    async def _wait(self, secs: float) -> None:
        if anyio.current_time() + secs > self._until:
            raise UpstreamTimeout(f"Upstream '{self._upstream.name}' is still at a background response")
        await anyio.sleep(secs)

    def _known_id(self) -> str:
        """Return the id of the response, which becomes a part of an address."""
        if not _ID.fullmatch(self._id):
            raise UpstreamProtocol(f"Upstream '{self._upstream.name}' named a response by no id that we know")
        return self._id


class FollowedCall(Taught):
    """A call whose response is made in the background. Leaving it cancels a response that is not
    over."""

    __slots__ = ("_follower",)

    def __init__(
        self,
        follower: Follower,
        call: Call,
        instance_id: str,
        learned: Learned,
        written: Callable[[Call, Traits], tuple[Endpoint, dict[str, Any]]],
        lesson_of: LessonOf,
    ) -> None:
        super().__init__(call, instance_id, learned, written, follower.chunks, lesson_of)
        self._follower = follower

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        await super().__aexit__(kind, error, trace)
        await self._follower.leave()
