"""Bytes in and out of one HTTP exchange: bodies within bounds, JSON out, and noticing that the client has left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import anyio
from starlette.types import Receive, Scope, Send

from chorus import wirejson
from chorus.errors import BodyTooLarge, ClientGone, InvalidRequest, RequestTimeout, UnsupportedEncoding
from chorus.race import unless
from chorus.wirejson import JSON

Header = tuple[bytes, bytes]
_T = TypeVar("_T")

BODY_SECS: Final = 60.0
"""How long a client may take to send its body."""

_JSON_TYPE: Final[Header] = (b"content-type", b"application/json; charset=utf-8")


def header(scope: Scope, name: bytes) -> str | None:
    """The header called `name` (lower case); None when there is none."""
    value: bytes | None = scope["state"]["headers"].get(name)
    return value.decode("latin-1") if value is not None else None


def wants_sse(scope: Scope, *, always: bool) -> bool:
    """Whether a client of Ollama's dialect asked for SSE: by its `Accept`, or `always` by configuration (A1)."""
    return always or "text/event-stream" in (header(scope, b"accept") or "").lower()


async def read_json(scope: Scope, receive: Receive, max_bytes: int) -> JSON:
    """The request body as JSON, whatever its content type says (A6).

    Raises:
        UnsupportedEncoding: it is compressed.
        BodyTooLarge: longer than `max_bytes`, by its declared length or as it comes.
        RequestTimeout: it does not come.
        InvalidRequest: it is not JSON as `wirejson` reads it.
        ClientGone: the client left while sending it.
    """
    encoding = header(scope, b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        raise UnsupportedEncoding("Compressed request bodies are not read; send it as it is.")
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    with anyio.move_on_after(BODY_SECS) as limit:
        raw = await _read(receive, max_bytes)
    if limit.cancelled_caught:
        raise RequestTimeout(f"The request body did not arrive within {BODY_SECS:g} s.")
    if not raw.strip():
        raise InvalidRequest("The request has no body; expected a JSON object.")
    try:
        return wirejson.decode(raw)
    except ValueError as problem:
        raise InvalidRequest(f"The request body is not valid JSON: {problem}.") from None


async def _read(receive: Receive, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("The client left before its request was complete.")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The request body is larger than the {max_bytes} bytes that are read ([server] max_body_bytes)."
    )


async def send_json(send: Send, data: JSON, status: int = 200, headers: Sequence[Header] = ()) -> None:
    """Send a whole JSON response."""
    body = wirejson.encode(data)
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [_JSON_TYPE, length, *headers]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def while_connected(receive: Receive, work: Callable[[], Awaitable[_T]]) -> _T:
    """What `work` returns; it is cancelled when the client leaves first.

    Raises:
        ClientGone: it has left.
        Exception: whatever `work` raised.
    """
    return await unless(partial(disconnected, receive), work)


async def disconnected(receive: Receive) -> None:
    """Return when the client has left (or has its whole response). The request's body must have been read.

    Starlette watches for this in streams only; a plain handler would run on for nobody (W13).
    """
    while (await receive())["type"] != "http.disconnect":
        pass
