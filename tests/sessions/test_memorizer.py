"""Reading exchanges after their runs: bounded, and finished before a server stops (M4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from chorus.auth.principal import LOCAL
from chorus.events import Event, RunFinished, RunStarted, StageFinished
from chorus.llm.base import Call, Chunk
from chorus.sessions import memorizer
from chorus.sessions.memorizer import Memorizer
from chorus.snapshot import MemorySettings
from chorus.storage.base import Storage
from chorus.storage.memory import memory_storage
from chorus.storage.records import IN_MEMORY
from chorus.telemetry.tracing import Traced
from chorus.types import Answer, ChatRequest, Message
from chorus.usage import Usage
from chorus.workflow.model import Model

pytestmark = pytest.mark.requirement("M4")
REQUEST = ChatRequest("glm", (Message("user", "I am Ann."),))
REPLY = '{"notes": [{"key": "name", "text": "Ann"}]}'


class Noter:
    """An upstream that finds the user's name, when `may_answer` is set."""

    def __init__(self) -> None:
        self.may_answer = anyio.Event()
        self.asked = anyio.Event()

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        call.attempting("noter")
        self.asked.set()
        await self.may_answer.wait()

        async def chunks() -> AsyncIterator[Chunk]:
            yield Chunk(REPLY, finish_reason="stop")

        yield chunks()


class Server:
    """A memorizer and what it works with."""

    def __init__(self, storage: Storage) -> None:
        self.noter = Noter()
        self.kept: dict[str, Sequence[Event]] = {}
        self.memorizer = Memorizer(lambda: lambda event: None, self.kept.__setitem__, lambda workflow_id: Traced())
        self._storage = storage
        self._settings = MemorySettings(Model("noter", self.noter), 30.0, 100, 4000, 2.0)

    def end_run(self, id: str) -> None:
        """Let a run of the user's end."""
        [observer] = self.memorizer.observers(self._settings, self._storage.profiles, LOCAL, "ann", REQUEST)
        observer(RunStarted(id, "r", "glm", "glm", 0.0))
        observer(RunFinished(0.5, (Answer("Hello"),), Usage()))

    async def notes(self) -> dict[str, str]:
        profile = await self._storage.profiles.get(LOCAL, "ann")
        return profile.notes if profile is not None else {}

    def status(self, id: str) -> Any:
        """How the stage of a run ended; None where there was none."""
        return next((event.status for event in self.kept[id] if isinstance(event, StageFinished)), None)


async def test_a_server_that_is_cancelled_writes_the_notes_first() -> None:
    async with memory_storage(IN_MEMORY) as storage:
        server = Server(storage)
        with anyio.CancelScope() as scope:
            async with server.memorizer.open():
                server.end_run("wf")
                await server.noter.asked.wait()
                scope.cancel()
                server.noter.may_answer.set()
        assert await server.notes() == {"name": "Ann"}
        assert server.status("wf") == "ok"


async def test_a_model_that_hangs_holds_a_stop_for_a_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorizer, "_DRAIN_SECS", 0.01)
    async with memory_storage(IN_MEMORY) as storage:
        server = Server(storage)
        async with server.memorizer.open():
            server.end_run("wf")
            await server.noter.asked.wait()
        assert server.status("wf") == "cancelled"
        assert await server.notes() == {}


async def test_exchanges_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorizer, "MAX_WAITING", 2)
    async with memory_storage(IN_MEMORY) as storage:
        server = Server(storage)
        async with server.memorizer.open():
            for number in range(3):
                server.end_run(f"wf_{number}")
            server.noter.may_answer.set()
        assert server.kept.keys() == {"wf_0", "wf_1"}


async def test_without_a_server_nothing_is_read() -> None:
    async with memory_storage(IN_MEMORY) as storage:
        server = Server(storage)
        server.end_run("wf")
        assert server.kept == {}
