"""HTTP/1.1 as uvicorn parses it, with bounds on headers and errors in our own shape (S3, A5)."""

from __future__ import annotations

import secrets
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from chorus import wirejson
from chorus.errors import ChorusError, HeadersTooLarge, InvalidRequest
from chorus.server.errors import error_body

MAX_HEADER_BYTES: Final = 64 * 1024


class HttpProtocol(HttpToolsProtocol):
    """One connection. httptools itself reads headers without end."""

    _header_bytes = 0

    def on_message_begin(self) -> None:
        """A new request: count anew."""
        self._header_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the request line."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

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
        body = wirejson.encode(error_body(error, "openai", request_id))
        phrase = {400: "Bad Request", 431: "Request Header Fields Too Large"}[error.status]
        head = (
            f"HTTP/1.1 {error.status} {phrase}\r\ncontent-type: application/json; charset=utf-8\r\n"
            f"content-length: {len(body)}\r\nx-request-id: {request_id}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
