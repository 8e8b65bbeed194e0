"""`POST /api/v1/render`: Markdown as safe HTML, for pages that must not do it themselves (O4)."""

from __future__ import annotations

from typing import Final

import anyio
import anyio.to_thread
import msgspec
from starlette.types import Scope, Send

from chorus.errors import QueueFull
from chorus.server.http.bodies import RequestBody
from chorus.server.http.wire import send_json

RENDER_PATH: Final = "/api/v1/render"
_MAX_WAITING: Final = 64
"""Requests that wait for the thread: each holds its text."""


class RenderBody(msgspec.Struct):
    """The request body."""

    text: str


class Render:
    """The handler. One text is rendered at a time, in a thread: it is slow, and bounded in time."""

    def __init__(self) -> None:
        self._one = anyio.CapacityLimiter(1)
        self._waiting = 0

    async def answer(self, scope: Scope, body: RequestBody[RenderBody], send: Send) -> None:
        """Send the text as HTML. Raises QueueFull where too many wait."""
        if self._waiting >= _MAX_WAITING:
            raise QueueFull("Too many texts wait to be rendered; try again later.")
        self._waiting += 1
        try:
            html, is_markdown = await anyio.to_thread.run_sync(_rendered, body.fields.text, limiter=self._one)
        finally:
            self._waiting -= 1
        await send_json(send, {"html": html, "is_plain": not is_markdown})


def _rendered(text: str) -> tuple[str, bool]:
    # with pygments it takes 0.1 s to import, here in the thread
    from chorus.server.api import markdown

    return markdown.render(text)
