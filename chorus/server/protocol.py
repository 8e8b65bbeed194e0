"""HTTP/1.1 as uvicorn parses it, with bounds on headers and errors in our own shape (S3, A5)."""

from __future__ import annotations

import asyncio
import secrets
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chorus import wirejson
from chorus.errors import ChorusError, HeadersTooLarge, InvalidRequest, RequestTimeout
from chorus.race import Departure
from chorus.server.body_writer import BODY_WRITER, BodyWriter
from chorus.server.errors import error_body, style_of
from chorus.server.wire import DEPARTURE

MAX_HEADER_BYTES: Final = 64 * 1024
REQUEST_SECS: Final = 60.0
"""How long a client may take to send a request, its body included."""


class HttpProtocol(HttpToolsProtocol):
    """One connection. httptools itself reads headers without end, and waits for them, and for a body, without end."""

    _header_bytes = 0
    _resuming = False
    _is_receiving = False
    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come."""
        self.departure = Departure()
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        super().connection_lost(exc)
        self._is_receiving = False
        self._watch_the_clock()
        self.departure.happen()

    def data_received(self, data: bytes) -> None:
        """Bytes of the client. An offer to change the protocol (`Upgrade: h2c`, which Java's client makes with every request)
        is ignored (RFC 9110, 7.8); httptools takes what follows it for the other protocol's, so that another parser has to
        read the body."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._resume(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("")
        self._watch_the_clock()

    def _watch_the_clock(self) -> None:
        """Most requests come in one piece, and need no timer."""
        if self._is_receiving and self._limit is None:
            self._limit = self.loop.call_later(REQUEST_SECS, self._refuse_slow)
        elif not self._is_receiving and self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _refuse_slow(self) -> None:
        if self.cycle is None or not self.cycle.response_started:
            self._refuse(RequestTimeout(f"The request did not arrive within {REQUEST_SECS:g} s."))
        self.transport.close()

    def _resume(self, rest: bytes) -> None:
        """Go on with the body of the request whose headers have just been read."""
        framing = [line for line in self.headers if line[0] in (b"content-length", b"transfer-encoding")]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in framing)
        self.cycle.more_body = True
        self.cycle.message_event.clear()
        self.parser = httptools.HttpRequestParser(self)
        self._resuming = self._is_receiving = True
        self.data_received(b"POST / HTTP/1.1\r\n" + head + b"\r\n")
        self._resuming = False
        self.data_received(rest)

    def on_message_begin(self) -> None:
        """A new request: count anew."""
        if not self._resuming:
            self._header_bytes = 0
            self._is_receiving = True
            super().on_message_begin()
            self.scope["extensions"] = {DEPARTURE: self.departure}  # type: ignore[dict-item]

    def on_url(self, url: bytes) -> None:
        """A piece of the request line."""
        if not self._resuming:
            self._count(len(url))
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        if not self._resuming:
            self._count(len(name) + len(value))
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The headers are whole: the request begins."""
        if not self._resuming:
            super().on_headers_complete()
            self.scope["extensions"][BODY_WRITER] = BodyWriter(self.cycle)  # type: ignore[assignment]

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._is_receiving = False
        super().on_message_complete()

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ValueError("headers too large")  # makes the parser give up, which ends in send_400_response

    def send_400_response(self, msg: str) -> None:
        """Refuse what could not be parsed, and close the connection."""
        error: ChorusError = InvalidRequest("This is not a valid HTTP/1.1 request.")
        if self._header_bytes > MAX_HEADER_BYTES:
            error = HeadersTooLarge(f"The request's headers are larger than {MAX_HEADER_BYTES} bytes.")
        self._refuse(error)
        self._is_receiving = False
        self.transport.close()

    def _refuse(self, error: ChorusError) -> None:
        """Answer without an application."""
        request_id = f"req_{secrets.token_hex(12)}"
        body = wirejson.encode(error_body(error, style_of(self.url.decode("latin-1")), request_id))
        phrase = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large"}[error.status]
        head = (
            f"HTTP/1.1 {error.status} {phrase}\r\ncontent-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
