"""Stored responses from the inside: what one request can bring in by reference is bounded (A3,
S3)."""

from __future__ import annotations

from typing import Any

import pytest

from chorus import config as configuration
from chorus.errors import InvalidRequest, NotFound
from chorus.server.api.background import BackgroundRuns
from chorus.server.api.stored_responses import StoredResponses
from chorus.service import Chorus
from chorus.storage.ephemeral import EphemeralStore
from chorus.wirejson import JSON

pytestmark = pytest.mark.requirement("A3")
ID = f"{7:024x}"
ITEM = f"msg_{ID}00"


class CountingStore(EphemeralStore):
    """Counts how often it is read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def get(self, owner: str, key: str) -> JSON | None:
        self.reads += 1
        return await super().get(owner, key)


@pytest.fixture
async def store() -> CountingStore:
    return CountingStore()


@pytest.fixture
async def stored(store: CountingStore) -> StoredResponses:
    chorus = Chorus(configuration.loads('[[model]]\nname = "m"\nprovider = "demo"\n', environ={}))
    return StoredResponses(store, BackgroundRuns(chorus), 10.0)


def keep(store: CountingStore, text: str) -> None:
    item = {"type": "message", "id": ITEM, "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    store.put("local", f"resp_{ID}", {"response": {"status": "completed", "output": [item]}, "input": []})


def referring(times: int, id: str = ITEM) -> dict[str, Any]:
    return {"input": [{"type": "item_reference", "id": id} for _ in range(times)]}


async def test_a_response_is_read_once_however_often_its_items_are_referred_to(
    stored: StoredResponses, store: CountingStore
) -> None:
    keep(store, "one")
    found = await stored.resolve_references(referring(5000), "local")
    assert [item["id"] for item in found["input"]] == [ITEM] * 5000
    assert store.reads == 1


async def test_a_short_request_does_not_become_one_of_gigabytes(stored: StoredResponses, store: CountingStore) -> None:
    keep(store, "x" * 1_000_000)
    assert len((await stored.resolve_references(referring(60), "local"))["input"]) == 60
    with pytest.raises(InvalidRequest, match="64 MiB"):
        await stored.resolve_references(referring(100_000), "local")


@pytest.mark.parametrize("id", [f"msg_{ID}01", f"msg_{8:024x}00", "msg", "x" * 100_000, 7, None])
async def test_an_item_that_there_is_not_is_not_found(stored: StoredResponses, store: CountingStore, id: Any) -> None:
    keep(store, "one")
    with pytest.raises(NotFound):
        await stored.resolve_references(referring(1, id), "local")
