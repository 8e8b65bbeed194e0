"""Server-sent events as a browser reads them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ServerSent:
    """One event of a stream."""

    type: str
    id: str
    data: Any


def server_sent(text: str) -> list[ServerSent]:
    """Return the events of a whole stream."""
    blocks = (_event(block.splitlines()) for block in text.split("\n\n"))
    return [event for event in blocks if event is not None]


async def read_server_sent(lines: AsyncIterable[str]) -> AsyncIterator[ServerSent]:
    """Return the events of a stream as they come."""
    block: list[str] = []
    async for line in lines:
        if line:
            block.append(line)
            continue
        if (event := _event(block)) is not None:
            yield event
        block = []


def _event(lines: Iterable[str]) -> ServerSent | None:
    fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
    return (
        ServerSent(fields.get("event", "message"), fields.get("id", ""), json.loads(fields["data"]))
        if "data" in fields
        else None
    )
