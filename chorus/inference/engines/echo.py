"""`echo`: answers with the last message, a word at a time.

For tests, and to try a worker without a model.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from chorus.inference.engine import Engine, EngineSettings
from chorus.llm.base import Call, Chunk
from chorus.usage import Usage


class Echo:
    """An upstream that repeats the last message. `delay_secs` is the time of one word."""

    def __init__(self, delay_secs: float) -> None:
        self._delay_secs = delay_secs
        self.steps = 0
        """Words that were generated, over all calls."""

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Upstream.open`."""
        yield self._words(call)

    async def _words(self, call: Call) -> AsyncIterator[Chunk]:
        request = call.request
        words = request.messages[-1].text.split()
        most = request.sampling.max_tokens
        shown = words if most is None else words[:most]
        for number, word in enumerate(shown):
            await anyio.sleep(self._delay_secs)
            self.steps += 1
            yield Chunk(text=word if number == 0 else f" {word}")
        usage = Usage(sum(len(message.text.split()) for message in request.messages), len(shown))
        yield Chunk(finish_reason="stop" if len(shown) == len(words) else "length", usage=usage)


@asynccontextmanager
async def engine(settings: EngineSettings) -> AsyncIterator[Engine]:
    """See `EngineFactory`. The option `delay_secs` is the time of one word."""
    yield Engine(Echo(float(settings.options.get("delay_secs", 0))))
