"""HTTP/1.1 as uvicorn parses it, with bounds on headers and errors in our own shape (S3, A5)."""

from __future__ import annotations

import secrets
from typing import Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chorus import wirejson
from chorus.errors import ChorusError, HeadersTooLarge, InvalidRequest
from chorus.server.errors import error_body, style_of

MAX_HEADER_BYTES: Final = 64 * 1024


class HttpProtocol(HttpToolsProtocol):
    """One connection. httptools itself reads headers without end."""

    _header_bytes = 0
    _resuming = False

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

    def _resume(self, rest: bytes) -> None:
        """Go on with the body of the request whose headers have just been read."""
        framing = [line for line in self.headers if line[0] in (b"content-length", b"transfer-encoding")]
        head = b"".join(name + b": " + value + b"\r\n" for name, value in framing)
        self.cycle.more_body = True
        self.cycle.message_event.clear()
        self.parser = httptools.HttpRequestParser(self)
        self._resuming = True
        self.data_received(b"POST / HTTP/1.1\r\n" + head + b"\r\n")
        self._resuming = False
        self.data_received(rest)

    def on_message_begin(self) -> None:
        """A new request: count anew."""
        if not self._resuming:
            self._header_bytes = 0
            super().on_message_begin()

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

    def _count(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > MAX_HEADER_BYTES:
            raise ValueError("headers too large")  # makes the parser give up, which ends in send_400_response

    def send_400_response(self, msg: str) -> None:
        """Refuse what could not be parsed, and close the connection."""
        error: ChorusError = InvalidRequest("This is not a valid HTTP/1.1 request.")
        if self._header_bytes > MAX_HEADER_BYTES:
            error = HeadersTooLarge(f"The request's headers are larger than {MAX_HEADER_BYTES} bytes.")
        request_id = f"req_{secrets.token_hex(12)}"
        body = wirejson.encode(error_body(error, style_of(self.url.decode("latin-1")), request_id))
        phrase = {400: "Bad Request", 431: "Request Header Fields Too Large"}[error.status]
        head = (
            f"HTTP/1.1 {error.status} {phrase}\r\ncontent-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
