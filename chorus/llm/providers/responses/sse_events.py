"""The events of a stream of the Responses API."""

from __future__ import annotations

from collections.abc import AsyncIterator

from chorus.llm.transport.clients import Reply
from chorus.llm.transport.sse import SSEDecoder


async def events_of(reply: Reply) -> AsyncIterator[bytes]:
    """Yield the data of the events, up to the end of the stream or what some servers write
    there.
    """
    decoder = SSEDecoder()
    async for part in reply.parts():
        for data in decoder.feed(part):
            if data.startswith(b"[DONE]"):
                return
            yield data
    for data in decoder.flush():
        yield data
