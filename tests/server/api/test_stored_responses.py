"""Stored responses from the inside: what one request can bring in by reference is bounded (A3,
S3)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from chorus import config as configuration
from chorus import wirejson
from chorus.errors import InvalidRequest, NotFound
from chorus.server.api.background import BackgroundRuns
from chorus.server.api.stored_responses import StoredResponses
from chorus.service import Chorus
from chorus.storage.base import Responses
from chorus.storage.behind import WriteBehind
from chorus.storage.memory import memory_storage
from chorus.storage.records import IN_MEMORY

pytestmark = pytest.mark.requirement("A3")
ID = f"{7:024x}"
ITEM = f"msg_{ID}00"


class CountedReads:
    """Stored responses that count how often they are read."""

    def __init__(self, responses: Responses) -> None:
        self._responses = responses
        self.reads = 0
        self.put = responses.put
        self.delete = responses.delete

    async def get(self, owner: str, id: str) -> bytes | None:
        self.reads += 1
        return await self._responses.get(owner, id)


@pytest.fixture
async def responses() -> AsyncIterator[CountedReads]:
    async with memory_storage(IN_MEMORY) as storage:
        yield CountedReads(storage.responses)


@pytest.fixture
async def stored(responses: CountedReads) -> StoredResponses:
    chorus = Chorus(configuration.loads('[[model]]\nname = "m"\nprovider = "demo"\n', environ={}))
    return StoredResponses(responses, WriteBehind(), BackgroundRuns(chorus), 10.0)


async def keep(responses: CountedReads, text: str) -> None:
    item = {"type": "message", "id": ITEM, "role": "assistant", "content": [{"type": "output_text", "text": text}]}
    record = {"response": {"status": "completed", "output": [item]}, "input": []}
    await responses.put("local", f"resp_{ID}", wirejson.encode(record))


def referring(times: int, id: str = ITEM) -> dict[str, Any]:
    return {"input": [{"type": "item_reference", "id": id} for _ in range(times)]}


async def test_a_response_is_read_once_however_often_its_items_are_referred_to(
    stored: StoredResponses, responses: CountedReads
) -> None:
    await keep(responses, "one")
    found = await stored.resolve_references(referring(5000), "local")
    assert [item["id"] for item in found["input"]] == [ITEM] * 5000
    assert responses.reads == 1


async def test_a_short_request_does_not_become_one_of_gigabytes(
    stored: StoredResponses, responses: CountedReads
) -> None:
    await keep(responses, "x" * 1_000_000)
    assert len((await stored.resolve_references(referring(60), "local"))["input"]) == 60
    with pytest.raises(InvalidRequest, match="64 MiB"):
        await stored.resolve_references(referring(100_000), "local")


@pytest.mark.parametrize("id", [f"msg_{ID}01", f"msg_{8:024x}00", "msg", "x" * 100_000, 7, None])
async def test_an_item_that_there_is_not_is_not_found(
    stored: StoredResponses, responses: CountedReads, id: Any
) -> None:
    await keep(responses, "one")
    with pytest.raises(NotFound):
        await stored.resolve_references(referring(1, id), "local")
