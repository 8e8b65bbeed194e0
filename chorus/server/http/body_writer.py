"""Writing pieces of a response without a wait, where the server is ours (`protocol.py`)."""

from __future__ import annotations

import weakref
from typing import Final

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

BODY_WRITER: Final = "chorus.body_writer"
"""The extension of ASGI in which the protocol keeps it."""


class BodyWriter:
    """Writes pieces of one response's body. ASGI's `send` is a coroutine: a task has to be woken
    for each token, which is a third of a paced stream's CPU (benchmarks/passthrough.py). The status
    line and the last piece go by `send`."""

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        # weak, since the scope of `cycle` holds this writer: a reference cycle would keep the
        # request until the next collection of garbage
        self._cycle = weakref.ref(cycle)

    @property
    def is_ready(self) -> bool:
        """Whether a piece may be written now: the response has begun, and its client is reading."""
        cycle = self._cycle()
        return (
            cycle is not None
            and cycle.response_started
            and not cycle.response_complete
            and not cycle.flow.write_paused
            and not cycle.disconnected
        )

    def write(self, data: bytes) -> None:
        """Write a piece, which is not empty, while `is_ready`."""
        cycle = self._cycle()
        assert cycle is not None, "the response is over"
        cycle.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if cycle.chunked_encoding else data)
