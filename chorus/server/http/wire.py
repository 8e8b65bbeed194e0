"""Bytes in and out of one HTTP exchange: headers, bodies within bounds, JSON out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import anyio.to_thread
from anyio.lowlevel import checkpoint
from starlette.types import Receive, Scope, Send

from chorus import wirejson
from chorus.cancellation import CancelSignal
from chorus.errors import BodyTooLarge, ClientGone, InvalidRequest
from chorus.server.http.body_writer import BODY_WRITER, BodyWriter
from chorus.server.http.context import header, request_context
from chorus.server.http.decompression import decompressed
from chorus.server.http.exchange import BODY_FOLLOWS
from chorus.wirejson import JSON, FieldReader, Structure

Header = tuple[bytes, bytes]

DISCONNECT: Final = "chorus.disconnect"
"""The extension of ASGI in which the protocol keeps it."""

_SCANNED_HERE: Final = 1024 * 1024
"""Bytes whose structure is scanned on the event loop: 5 ms at worst.

Larger bodies are scanned in a worker thread.
"""

_PIECE: Final = 64 * 1024

_JSON_TYPE: Final[Header] = (b"content-type", b"application/json; charset=utf-8")


def wants_sse(scope: Scope, *, always: bool) -> bool:
    """Return whether a client of Ollama's dialect gets SSE (A1).

    It asks for it by `Accept`, or the configuration says `always`.
    """
    return always or "text/event-stream" in (header(scope, b"accept") or "").lower()


async def read_body(
    scope: Scope, receive: Receive, readers: Mapping[str, FieldReader] | None = None
) -> tuple[JSON, Structure]:
    """Return the request body as JSON, whatever its content type says (A6), and the structure of
    what of it is decoded. `readers` read fields of a large one.

    Raises:
        UnsupportedEncoding: it is compressed in a way that is not read.
        BodyTooLarge: longer than the context's `max_body_bytes`, by its declared length, as it
            comes, or decompressed.
        InvalidRequest: it is not JSON as `wirejson` reads it.
        ClientGone: the client left while sending it.
    """
    raw = await read_bytes(scope, receive)
    if not raw.strip():
        raise InvalidRequest("The request has no body; expected a JSON object.")
    try:
        is_large = len(raw) > _SCANNED_HERE
        checked = await anyio.to_thread.run_sync(wirejson.check, raw) if is_large else None
        body, structure = wirejson.decode_fields(raw, readers or {}, checked)
        # 50 MiB of escapes take 0.3 s to decode, and as long to encode again: others come in
        # between
        if is_large:
            await checkpoint()
        return body, structure
    except ValueError as problem:
        raise InvalidRequest(f"The request body is not valid JSON: {problem}.") from None


async def read_bytes(scope: Scope, receive: Receive) -> bytes:
    """Return the request body, decompressed.

    Raises as `read_body` does for its length and encoding.
    """
    max_bytes = request_context(scope).max_body_bytes
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    raw = await _read(receive, max_bytes)
    encoding = header(scope, b"content-encoding")
    return raw if encoding is None else await decompressed(raw, encoding, max_bytes)


async def _read(receive: Receive, max_bytes: int) -> bytes:
    """Return the whole body.

    Small pieces are joined as they come: a list of them takes 40 times their bytes. Large ones are
    copied once.
    """
    parts: list[bytes] = []
    small = bytearray()
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone("The client left before its request was complete.")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise _too_large(max_bytes)
        is_last = not message.get("more_body", False)
        if is_last and not parts and not small:
            return part
        if not small and len(part) >= _PIECE:
            parts.append(part)
        else:
            small += part
            if is_last or len(small) >= _PIECE:
                parts.append(bytes(small))
                small.clear()
        if is_last:
            return b"".join(parts)


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The request body is larger than the {max_bytes} bytes that are read ([server] max_body_bytes)."
    )


async def send_json(send: Send, data: JSON, status: int = 200, headers: Sequence[Header] = ()) -> None:
    """Send a whole JSON response."""
    body = wirejson.encode(data)
    length = (b"content-length", str(len(body)).encode())
    start = {"type": "http.response.start", "status": status, "headers": [_JSON_TYPE, length, *headers]}
    await send({**start, BODY_FOLLOWS: True})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def disconnect_of(scope: Scope) -> CancelSignal:
    """Return the signal that this request's client has disconnected (W13): the connection's own
    under `HttpProtocol`, under other servers the one that `serve_watched` reads from `receive`, so
    that the body has to be read before."""
    disconnect: CancelSignal = scope["extensions"][DISCONNECT]
    return disconnect


def body_writer_of(scope: Scope) -> BodyWriter | None:
    """Return the quick way to write the body of this request's response.

    None where the server is not ours.
    """
    writer: BodyWriter | None = scope.get("extensions", {}).get(BODY_WRITER)
    return writer


async def send_text(send: Send, body: bytes, content_type: str) -> None:
    """Send a whole body that is no JSON, with status 200."""
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers, BODY_FOLLOWS: True})
    await send({"type": "http.response.body", "body": body, "more_body": False})
