"""Requests whose bodies come piece by piece, to one URL."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Protocol

from chorus.errors import ChorusError
from chorus.llm.base import NO_HEADERS
from chorus.llm.transport.clients import Endpoint, Incoming, Reply
from chorus.llm.transport.http import decoded, request_head


class StreamedBody(Protocol):
    """A body for one request."""

    @property
    def content_type(self) -> str:
        """Its type."""

    @property
    def is_kept(self) -> bool:
        """Whether it can be sent once more."""

    def length(self, model: str) -> int | None:
        """Return its bytes; None where they are not known."""

    def pieces(self, model: str) -> AsyncGenerator[bytes, None]:
        """Return it piece by piece."""


class RelayEndpoint(Endpoint):
    """One URL that takes a body piece by piece."""

    async def send(
        self, body: StreamedBody, model: str, *, connect_timeout: float, headers: Mapping[str, str] = NO_HEADERS
    ) -> Reply:
        """Send `body` with this name of the `model` and return a successful reply, which the caller
        closes.

        `headers` are those of this request, beside those of the endpoint.

        Raises:
            LLMError: the connection failed, or the status was not 2xx.
            ChorusError: what `body` raised.
        """
        return await self._reply(self._send(body, model, connect_timeout, headers))

    async def _send(
        self, body: StreamedBody, model: str, connect_timeout: float, headers: Mapping[str, str]
    ) -> Incoming:
        length = body.length(model)
        whole = {**self._headers, "content-type": body.content_type, **headers}
        if self._proxy is not None:
            if length is not None:
                whole["content-length"] = str(length)
            return await self._send_proxied(body, model, whole, connect_timeout)
        framing = f"Content-Length: {length}" if length is not None else "Transfer-Encoding: chunked"
        head = request_head("POST", self._url, whole) + f"{framing}\r\n\r\n".encode()
        pieces = body.pieces(model)
        if length is None:
            pieces = _chunked(pieces)
        pool = self._clients.pool(self._origin)
        return decoded(await pool.request_streamed(head, pieces, connect_secs=connect_timeout, is_new=not body.is_kept))

    async def _send_proxied(
        self, body: StreamedBody, model: str, headers: Mapping[str, str], connect_timeout: float
    ) -> Incoming:
        assert self._proxy is not None
        client = self._clients.proxied(self._origin, self._proxy)
        failures: list[ChorusError] = []
        pieces = _noting(body.pieces(model), failures)
        try:
            async with aclosing(pieces):
                return await client.request_streamed(self._url, pieces, headers, connect_secs=connect_timeout)
        except Exception:
            if failures:  # aiohttp raises an error of its own in its place
                raise failures[0] from None
            raise


async def _chunked(pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Return `pieces` as HTTP's chunks (RFC 9112, 7.1)."""
    async with aclosing(pieces):
        async for piece in pieces:
            if piece:
                yield b"%x\r\n%b\r\n" % (len(piece), piece)
        yield b"0\r\n\r\n"


async def _noting(pieces: AsyncGenerator[bytes, None], failures: list[ChorusError]) -> AsyncGenerator[bytes, None]:
    """Return `pieces`; what they raise is noted in `failures`."""
    async with aclosing(pieces):
        try:
            async for piece in pieces:
                yield piece
        except ChorusError as error:
            failures.append(error)
            raise
