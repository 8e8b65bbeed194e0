"""How frames become bytes: server-sent events or JSON lines.

One switch, apart from the dialects.
"""

from __future__ import annotations

from typing import Final, Protocol

from chorus import wirejson
from chorus.server.http.frames import Frame
from chorus.server.http.wire import Header

_UNBUFFERED: Final[tuple[Header, ...]] = (
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would otherwise collect the stream
)


class Framer(Protocol):
    """Turns frames into bytes. `heartbeat` is None where the format has no room for one."""

    headers: tuple[Header, ...]
    heartbeat: bytes | None

    def frame(self, frame: Frame) -> bytes: ...

    def end(self) -> bytes: ...


def _bytes(frame: Frame) -> bytes:
    """Return a frame's data as JSON; an encoder that knows a quick way has written it already."""
    data = frame.data
    return data if type(data) is bytes else wirejson.encode(data)


class SSE:
    """Server-sent events; `done` is the payload that ends the stream, if the dialect has one."""

    headers = ((b"content-type", b"text/event-stream; charset=utf-8"), *_UNBUFFERED)
    heartbeat: bytes | None = b": keep-alive\n\n"

    def __init__(self, done: bytes | None) -> None:
        self._end = b"data: " + done + b"\n\n" if done is not None else b""

    def frame(self, frame: Frame) -> bytes:
        """Return one event, closed by its blank line."""
        data = frame.data
        data = b"data: %b\n\n" % (data if type(data) is bytes else wirejson.encode(data))
        if frame.event is None:
            return data
        named = b"event: " + frame.event.encode() + b"\n" + data
        return named if frame.id is None else b"id: %d\n%b" % (frame.id, named)

    def end(self) -> bytes:
        """Return what comes behind the last frame."""
        return self._end


class NDJSON:
    """JSON lines, as Ollama's clients read them.

    There is no comment in this format, so no heartbeat.
    """

    headers = ((b"content-type", b"application/x-ndjson"), *_UNBUFFERED)
    heartbeat: bytes | None = None

    def frame(self, frame: Frame) -> bytes:
        """Return one line."""
        return _bytes(frame) + b"\n"

    def end(self) -> bytes:
        """Return nothing: the last line says that it is the last."""
        return b""
