"""Stop words, enforced on the text where an upstream gets them wrong.

Some servers match them on tokens and miss one that two tokens make up, or leave the word in the
answer.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import msgspec
from anyio.lowlevel import checkpoint

from chorus.errors import InvalidRequest
from chorus.llm.base import Call, Chunk, Upstream

MAX_STOPS: Final = 256
"""Stop words of one request.

OpenAI allows 4; each costs something with every piece of the answer.
"""
MAX_STOP_CHARS: Final = 1024
"""Characters of one stop word: as many may be held back of an answer, and are compared again with
each piece that comes."""

_SLICE: Final = 4096
"""Characters that are searched between two looks at the event loop: 4 ms where every character may
begin a word, 0.1 ms in a common text."""


def check_stops(words: Sequence[str], param: str) -> None:
    """Refuse more stop words, or longer ones, than an answer can be searched for.

    Raises:
        InvalidRequest: there are more than `MAX_STOPS`, or one has more than `MAX_STOP_CHARS`
            characters. `param` is what the client calls the field.
    """
    if len(words) > MAX_STOPS:
        raise InvalidRequest(
            f"Invalid value for '{param}': expected at most {MAX_STOPS} stop words, got {len(words)}.", param=param
        )
    if any(len(word) > MAX_STOP_CHARS for word in words):
        raise InvalidRequest(
            f"Invalid value for '{param}': expected stop words of at most {MAX_STOP_CHARS} characters.", param=param
        )


class StopCutter:
    """Cuts a streamed text before the first stop word.

    Text is held back only while it may be the beginning of a word; any split of the input gives the
    same text. The cost is linear in the text and hardly depends on the number of words: they are
    sorted, and each place where one may begin is looked up by bisection.
    """

    def __init__(self, words: Sequence[str]) -> None:
        """`words` are not empty, and none of them is."""
        self._words: list[str] = []
        for word in sorted(words):
            # a word that begins with another one can never be the first to be met
            if not (self._words and word.startswith(self._words[-1])):
                self._words.append(word)
        self._longest = max(map(len, self._words))
        self._begins = re.compile(f"[{''.join(re.escape(first) for first in {word[0] for word in self._words})}]")
        self._held = ""
        self.stopped = False
        """True once a stop word was met: nothing after it counts."""

    def feed(self, text: str) -> str:
        """Return what may go out now that `text` has come."""
        return "" if self.stopped else self._search(self._held + text, is_last=False)

    def flush(self) -> str:
        """Return what was held back, up to the first stop word in it, when the text has ended."""
        return "" if self.stopped else self._search(self._held, is_last=True)

    def _search(self, text: str, *, is_last: bool) -> str:
        """`text` up to the first stop word, or up to where one may have begun."""
        words, longest = self._words, self._longest
        self._held = ""
        for match in self._begins.finditer(text):
            start = match.start()
            rest = text[start : start + longest]
            place = bisect_right(words, rest)
            # no word begins with another one, so that only the last one that sorts before `rest`
            # can begin it
            if place and rest.startswith(words[place - 1]):
                self.stopped = True
                return text[:start]
            if not is_last and len(rest) < longest and place < len(words) and words[place].startswith(rest):
                self._held = rest
                return text[:start]
        return text


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
            msgspec.structs.replace(call, on_restart=None)
        ) as chunks:  # a cutter cannot go back
            yield _cut(chunks, StopCutter(call.request.sampling.stop))


async def _cut(chunks: AsyncIterator[Chunk], cutter: StopCutter) -> AsyncIterator[Chunk]:
    """`chunks` up to the first stop word; what the upstream says after it is not waited for."""
    async for chunk in chunks:
        text = cutter.feed(chunk.text) if len(chunk.text) <= _SLICE else await _feed_slowly(cutter, chunk.text)
        if chunk.finish_reason is not None:
            text += cutter.flush()
        if cutter.stopped:
            yield Chunk(text, chunk.reasoning, finish_reason="stop", usage=chunk.usage)
            return
        yield msgspec.structs.replace(chunk, text=text) if text != chunk.text else chunk


async def _feed_slowly(cutter: StopCutter, text: str) -> str:
    """Return what `cutter` lets out of a long `text`; others have their turn in between."""
    parts: list[str] = []
    for start in range(0, len(text), _SLICE):
        parts.append(cutter.feed(text[start : start + _SLICE]))
        if cutter.stopped:
            break
        await checkpoint()
    return "".join(parts)
