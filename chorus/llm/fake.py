"""A scripted upstream for tests of whatever calls one: yours, if you write a node, and ours.

    >>> glm = FakeUpstream(Says("4"), Fails(UpstreamConnect("glm is away")))

Each call takes the next behaviour, the last one again and again. Nothing here touches a network or
the wall clock: time is anyio's, so a test on trio's MockClock waits for nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from chorus.errors import LLMError
from chorus.llm.base import Call, Chunk
from chorus.types import FinishReason, ToolPiece
from chorus.usage import Usage


@dataclass(frozen=True, slots=True)
class Says:
    """Answers `text` in words.

    `before` seconds pass before the first, `between` seconds between two.
    """

    text: str | Callable[[Call], str] = "an answer"
    before: float = 0.0
    between: float = 0.0
    reasoning: str = ""
    tool_calls: tuple[ToolPiece, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage | None = field(default_factory=lambda: Usage(10, 5))


@dataclass(frozen=True, slots=True)
class Fails:
    """Raises `error` after `before` seconds and after having said `first`."""

    error: LLMError
    before: float = 0.0
    first: str = ""


@dataclass(frozen=True, slots=True)
class Hangs:
    """Says `first`, then nothing for ever."""

    first: str = ""


Behaviour = Says | Fails | Hangs


@dataclass
class FakeUpstream:
    """See the module.

    `calls` holds what was asked; `open_calls` counts what is going on, `most_open` its maximum.
    """

    behaviours: tuple[Behaviour, ...]
    name: str = "fake"
    calls: list[Call] = field(default_factory=list)
    open_calls: int = 0
    most_open: int = 0
    cancelled: int = 0

    def __init__(self, *behaviours: Behaviour, name: str = "fake") -> None:
        self.behaviours = behaviours or (Says(),)
        self.name = name
        self.calls = []
        self.open_calls = self.most_open = self.cancelled = 0

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Upstream.open`."""
        behaviour = self.behaviours[min(len(self.calls), len(self.behaviours) - 1)]
        self.calls.append(call)
        call.attempting(f"{self.name}@fake")
        self.open_calls += 1
        self.most_open = max(self.most_open, self.open_calls)
        try:
            yield self._perform(behaviour, call)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        finally:
            self.open_calls -= 1

    async def _perform(self, behaviour: Behaviour, call: Call) -> AsyncIterator[Chunk]:
        if isinstance(behaviour, Hangs | Fails):
            if behaviour.first:
                yield Chunk(behaviour.first)
            if isinstance(behaviour, Hangs):
                await anyio.sleep_forever()
            else:
                await anyio.sleep(behaviour.before)
                raise behaviour.error
            return
        await anyio.sleep(behaviour.before)
        if behaviour.reasoning:
            yield Chunk(reasoning=behaviour.reasoning)
        text = behaviour.text if isinstance(behaviour.text, str) else behaviour.text(call)
        for position, word in enumerate(text.split(" ")):
            if position:
                await anyio.sleep(behaviour.between)
            yield Chunk(word if position == 0 else f" {word}")
        if behaviour.tool_calls:
            yield Chunk(tool_calls=behaviour.tool_calls)
        finish = "tool_calls" if behaviour.tool_calls else behaviour.finish_reason
        yield Chunk(finish_reason=finish, usage=behaviour.usage)
