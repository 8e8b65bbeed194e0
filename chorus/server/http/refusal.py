"""The answer to a request that no application sees: oversized or slow headers, or no HTTP."""

from __future__ import annotations

from http import HTTPStatus

from chorus import wirejson
from chorus.errors import ChorusError
from chorus.server.http.errors import error_body, style_of


def refusal(error: ChorusError, url: bytes, request_id: str) -> bytes:
    """Return a whole HTTP/1.1 response that closes the connection, in the error shape of the path
    `url`, which may be cut short."""
    body = wirejson.encode(error_body(error, style_of(url.decode("latin-1")), request_id))
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
        f"content-type: application/json; charset=utf-8\r\ncontent-length: {len(body)}\r\n"
        f"x-request-id: {request_id}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body
