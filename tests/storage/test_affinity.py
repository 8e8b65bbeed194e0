"""Sessions that stay with one replica at every process (D3)."""

from __future__ import annotations

import anyio
import pytest

from chorus.errors import StorageUnavailable
from chorus.storage import affinity
from chorus.storage.affinity import StoredSessions
from chorus.storage.behind import WriteBehind
from chorus.storage.memory import memory_storage
from chorus.storage.records import IN_MEMORY

pytestmark = pytest.mark.requirement("D3")


async def test_what_one_process_keeps_another_one_finds() -> None:
    writes = WriteBehind()
    async with memory_storage(IN_MEMORY) as storage, writes.open():
        sessions = StoredSessions(storage.affinities, writes, lambda: None)
        assert await sessions.find("ann:a:b", "m") is None
        sessions.keep("ann:a:b", "m", "http://a#0")
        await writes.settled(("affinity", "ann", "a:b"))
        assert await sessions.find("ann:a:b", "m") == "http://a#0"
        assert await storage.affinities.get("ann", "a:b", "m") == "http://a#0"


async def test_a_store_that_fails_or_hangs_costs_a_moment_and_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(affinity, "_WAIT_SECS", 0.01)
    counted: list[str] = []

    class Broken:
        async def get(self, owner: str, session: str, model: str) -> str | None:
            if session == "fails":
                raise StorageUnavailable("away")
            await anyio.sleep_forever()
            return None

        async def put(self, owner: str, session: str, model: str, replica: str) -> None: ...

    sessions = StoredSessions(Broken(), WriteBehind(), lambda: counted.append("away"))
    for session in ("fails", "hangs"):
        assert await sessions.find(f"ann:{session}", "m") is None
    assert len(counted) == 2
