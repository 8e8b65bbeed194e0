"""An engine for tests: endless words, whose steps are counted, and ways to fail.

The prompt says which.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from chorus.errors import ContentFiltered, UpstreamConnect, UpstreamRateLimited
from chorus.inference.engine import Engine, EngineSettings
from chorus.llm.base import Call, Chunk
from chorus.usage import Usage

DELAY_SECS = 0.01


class Steps:
    """Says words for ever.

    The prompt "fast" has no pause between them; others are names of faults.
    """

    def __init__(self) -> None:
        self.steps: dict[str, int] = {}
        """Words that were generated, by request id."""
        self.open = 0
        """Calls that are open."""
        self.cleaned = 0
        """Calls whose clean-up came to its end."""

    @asynccontextmanager
    async def open_(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        self.open += 1
        if call.request.prompt == "odd":
            call.warn("'x_odd' is left out.")
        try:
            yield self._words(call)
        finally:
            with anyio.move_on_after(1, shield=True):
                await anyio.sleep(0.01)
                self.cleaned += 1
            self.open -= 1

    async def _words(self, call: Call) -> AsyncIterator[Chunk]:
        prompt, name = call.request.prompt, call.headers["x-request-id"]
        if prompt == "bug":
            raise RuntimeError("a secret of the engine")
        if prompt == "filtered":
            raise ContentFiltered("Upstream 'm' stopped the answer by its content filter")
        if prompt == "away":
            raise UpstreamConnect("Upstream 'm' cannot be reached")
        if prompt == "busy":
            raise UpstreamRateLimited("Upstream 'm' is busy", retry_after=7)
        if prompt == "chinese":
            raise UpstreamConnect("模型不可用" * 2000)
        most = call.request.sampling.max_tokens or 10**9
        for number in range(most):
            await anyio.sleep(0 if prompt == "fast" else DELAY_SECS)
            self.steps[name] = number + 1
            yield Chunk(text=f" {number}")
        yield Chunk(finish_reason="stop", usage=Usage(1, most))


class _Upstream:
    def __init__(self, steps: Steps) -> None:
        self.open = steps.open_


STEPS = Steps()
"""Of the worker that was started last."""


@asynccontextmanager
async def engine(settings: EngineSettings) -> AsyncIterator[Engine]:
    """See `EngineFactory`."""
    global STEPS
    STEPS = Steps()
    yield Engine(_Upstream(STEPS))
