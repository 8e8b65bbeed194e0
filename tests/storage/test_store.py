"""What every store does; a database will be one more parameter."""

import pytest

from chorus.storage.base import Store
from chorus.storage.ephemeral import EphemeralStore

ANN, BEN = "1a2b3c4d", "5e6f7a8b"


@pytest.fixture
def store() -> Store:
    return EphemeralStore(max_entries=3, max_bytes=1000)


async def test_what_is_put_is_got_until_it_is_deleted(store: Store) -> None:
    value = {"a": [1, "好"]}
    store.put(ANN, "k", value)
    value["a"].append("changed from outside")
    assert await store.get(ANN, "k") == {"a": [1, "好"]}
    store.put(ANN, "k", 7)
    assert await store.get(ANN, "k") == 7
    assert await store.delete(ANN, "k")
    assert not await store.delete(ANN, "k")
    assert await store.get(ANN, "k") is None


async def test_what_one_owner_keeps_does_not_exist_for_another(store: Store) -> None:
    store.put(ANN, "k", "hers")
    assert await store.get(BEN, "k") is None
    assert not await store.delete(BEN, "k")
    store.put(BEN, "k", "his")
    assert await store.delete(BEN, "k")
    assert await store.get(ANN, "k") == "hers"


async def test_a_value_as_deep_as_a_request_may_be_can_be_read_back(store: Store) -> None:
    value: list[object] = []
    for _ in range(140):  # a request's 128 levels, within the levels of a record
        value = [value]
    store.put(ANN, "k", value)
    assert await store.get(ANN, "k") == value


async def test_it_is_bounded_in_number_and_size() -> None:
    store = EphemeralStore(max_entries=3, max_bytes=1000)
    for number in range(5):
        store.put("", str(number), number)
    assert [await store.get("", str(number)) for number in range(5)] == [None, None, 2, 3, 4]
    store.put("", "large", "x" * 993)
    assert await store.get("", "4") is None
    store.put("", "too large", "x" * 2000)
    assert await store.get("", "too large") is None
    assert await store.get("", "large") is not None


@pytest.mark.parametrize(("owner", "key", "value"), [("", "", "好" * 400), ("", "k" * 1100, 1), ("好" * 400, "", 1)])
async def test_bytes_are_counted_and_not_characters(owner: str, key: str, value: object) -> None:
    store = EphemeralStore(max_entries=3, max_bytes=1000)
    store.put(owner, key, value)
    assert await store.get(owner, key) is None
