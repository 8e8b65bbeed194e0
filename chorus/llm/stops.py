"""Stop words, enforced on the text where an upstream gets them wrong.

Some servers match them on tokens and miss one that two tokens make up, or leave the word in the answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from chorus.llm.base import Call, Chunk, Upstream


class StopCutter:
    """Cuts a streamed text before the first stop word. Text is held back only while it may be the beginning of one; any
    split of the input gives the same text."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._held = ""
        self.stopped = False
        """True once a stop word was met: nothing after it counts."""

    def feed(self, text: str) -> str:
        """What may go out now that `text` has come."""
        if self.stopped:
            return ""
        held = self._held + text
        places = [place for word in self._words if (place := held.find(word)) >= 0]
        if places:
            self.stopped = True
            self._held = ""
            return held[: min(places)]
        keep = max(_overlap(held, word) for word in self._words)
        self._held = held[len(held) - keep :]
        return held[: len(held) - keep]

    def flush(self) -> str:
        """What was held back when the text ended without a stop word."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, word: str) -> int:
    """How many characters at the end of `text` are the beginning of `word`."""
    return next((n for n in range(min(len(word) - 1, len(text)), 0, -1) if text.endswith(word[:n])), 0)


class StopsEnforced:
    """An upstream that holds another and ends its answers at the request's stop words."""

    def __init__(self, inner: Upstream) -> None:
        self._inner = inner

    def open(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """See `Upstream.open`. A call without stop words passes through untouched."""
        return self._open_cut(call) if call.request.sampling.stop else self._inner.open(call)

    @asynccontextmanager
    async def _open_cut(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        async with self._inner.open(
            msgspec.structs.replace(call, begins_again=None)
        ) as chunks:  # a cutter cannot go back
            yield _cut(chunks, StopCutter(call.request.sampling.stop))


async def _cut(chunks: AsyncIterator[Chunk], cutter: StopCutter) -> AsyncIterator[Chunk]:
    """`chunks` up to the first stop word; what the upstream says after it is not waited for."""
    async for chunk in chunks:
        text = cutter.feed(chunk.text)
        if cutter.stopped:
            yield Chunk(text, chunk.reasoning, finish_reason="stop", usage=chunk.usage)
            return
        if chunk.finish_reason is not None:
            text += cutter.flush()
        yield msgspec.structs.replace(chunk, text=text) if text != chunk.text else chunk
