"""What every store does; a database will be one more parameter."""

import pytest

from chorus.memory.base import Store
from chorus.memory.ephemeral import EphemeralStore


@pytest.fixture
def store() -> Store:
    return EphemeralStore(max_entries=3, max_bytes=1000)


async def test_what_is_put_is_got_until_it_is_deleted(store: Store) -> None:
    value = {"a": [1, "好"]}
    store.put("k", value)
    value["a"].append("changed from outside")
    assert await store.get("k") == {"a": [1, "好"]}
    store.put("k", 7)
    assert await store.get("k") == 7
    assert await store.delete("k")
    assert not await store.delete("k")
    assert await store.get("k") is None


async def test_it_is_bounded_in_number_and_size() -> None:
    store = EphemeralStore(max_entries=3, max_bytes=1000)
    for number in range(5):
        store.put(str(number), number)
    assert [await store.get(str(number)) for number in range(5)] == [None, None, 2, 3, 4]
    store.put("large", "x" * 998)
    assert await store.get("4") is None
    store.put("too large", "x" * 2000)
    assert await store.get("too large") is None
    assert await store.get("large") is not None
