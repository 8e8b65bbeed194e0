"""The contract of `Conversations`, for every store."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chorus.errors import InvalidRequest, NotFound
from chorus.storage.base import Storage
from chorus.storage.opening import open_storage
from chorus.storage.records import Bounds, Item, Notes, Order, Retention, merging
from tests.kit.programs import RedisServer
from tests.storage.conftest import Maker, emptied, gone

pytestmark = pytest.mark.requirement("M2")
ANN, BEN = "1a2b3c4d", "5e6f7a8b"


def items(*ids: str) -> list[Item]:
    return [Item(id, f'{{"id":"{id}","text":"好"}}'.encode()) for id in ids]


async def ids(storage: Storage, id: str = "conv_1", owner: str = ANN, *, order: Order = "asc") -> list[str]:
    return [item.id for item in (await storage.conversations.page(owner, id, order=order, limit=1000)).items]


async def test_what_is_created_can_be_read(storage: Storage) -> None:
    made = await storage.conversations.create(
        ANN, "conv_1", user="eva", metadata={"topic": "好"}, items=items("a", "b")
    )
    assert (made.owner, made.id, made.user, made.title, made.turns) == (ANN, "conv_1", "eva", "", 0)
    assert made.metadata == {"topic": "好"}
    assert made.created_at == made.updated_at > 1_700_000_000
    assert await storage.conversations.get(ANN, "conv_1") == made
    assert (await storage.conversations.page(ANN, "conv_1")).items == items("a", "b")
    assert await storage.conversations.item(ANN, "conv_1", "b") == items("b")[0]


async def test_an_id_is_taken_once(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1", items=items("a"))
    for owner in (ANN, BEN):
        with pytest.raises(InvalidRequest, match="already"):
            await storage.conversations.create(owner, "conv_1", items=items("b"))
    assert await ids(storage) == ["a"]


async def test_another_owners_conversation_does_not_exist(storage: Storage) -> None:
    kept = await storage.conversations.create(ANN, "conv_1", user="eva", items=items("a"))
    conversations = storage.conversations
    assert await conversations.get(BEN, "conv_1") is None
    assert await conversations.item(BEN, "conv_1", "a") is None
    assert await conversations.recent(BEN, "eva", 10) == []
    assert not await conversations.delete(BEN, "conv_1")
    for refused in (
        conversations.append(BEN, "conv_1", items("b")),
        conversations.update(BEN, "conv_1", merging({"a": "b"})),
        conversations.delete_item(BEN, "conv_1", "a"),
        conversations.page(BEN, "conv_1"),
    ):
        with pytest.raises(NotFound, match="no conversation"):
            await refused
    assert await conversations.get(ANN, "conv_1") == kept
    assert await ids(storage) == ["a"]


async def test_what_does_not_exist_is_not_found(storage: Storage) -> None:
    conversations = storage.conversations
    assert await conversations.get(ANN, "conv_1") is None
    assert not await conversations.delete(ANN, "conv_1")
    for refused in (
        conversations.append(ANN, "conv_1", items("b")),
        conversations.update(ANN, "conv_1", merging({})),
        conversations.delete_item(ANN, "conv_1", "a"),
        conversations.page(ANN, "conv_1"),
    ):
        with pytest.raises(NotFound, match="no conversation"):
            await refused
    await conversations.create(ANN, "conv_1")
    assert await conversations.item(ANN, "conv_1", "a") is None
    with pytest.raises(NotFound, match="no item") as caught:
        await conversations.page(ANN, "conv_1", after="a")
    assert caught.value.param == "after"
    with pytest.raises(NotFound, match="no item"):
        await conversations.delete_item(ANN, "conv_1", "a")


async def test_metadata_is_merged_or_replaced_as_the_caller_says(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1", metadata={"a": "1", "b": "2"})
    merged = await storage.conversations.update(ANN, "conv_1", merging({"a": None, "b": "3", "c": "4"}))
    assert merged.metadata == {"b": "3", "c": "4"}
    replaced = await storage.conversations.update(ANN, "conv_1", lambda _: {"d": "5"})
    assert replaced.metadata == {"d": "5"}
    assert replaced.updated_at > replaced.created_at

    def refused(_: Notes) -> Notes:
        raise InvalidRequest("too many")

    with pytest.raises(InvalidRequest, match="too many"):
        await storage.conversations.update(ANN, "conv_1", refused)
    assert await storage.conversations.get(ANN, "conv_1") == replaced


async def test_an_append_that_is_repeated_counts_its_turn_once(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1")
    for _ in range(2):
        after = await storage.conversations.append(ANN, "conv_1", items("a", "b"), turns=1)
        assert after.turns == 1
    again = await storage.conversations.append(ANN, "conv_1", items("a", "c"), turns=1)
    assert again.turns == 2, "a client may send an item again with a new one"


async def test_an_append_counts_turns_and_titles_once(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1")
    await storage.conversations.append(ANN, "conv_1", items("a"), turns=1, title="First")
    after = await storage.conversations.append(ANN, "conv_1", items("b"), turns=2, title="Second")
    assert (after.title, after.turns) == ("First", 3)
    assert after == await storage.conversations.get(ANN, "conv_1")


async def test_an_append_that_is_repeated_changes_nothing(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1", items=items("a", "b"))
    await storage.conversations.append(ANN, "conv_1", [Item("a", b'"new"'), *items("c")])
    await storage.conversations.append(ANN, "conv_1", [Item("a", b'"new"'), *items("c")])
    assert (await storage.conversations.page(ANN, "conv_1")).items == [Item("a", b'"new"'), *items("b", "c")]


async def test_groups_that_are_appended_at_once_are_not_interleaved(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1")
    async with anyio.create_task_group() as group:
        for number in range(20):
            added = items(*(f"{number}_{place}" for place in range(3)))
            group.start_soon(storage.conversations.append, ANN, "conv_1", added)
    found = await ids(storage)
    groups = [found[begin : begin + 3] for begin in range(0, 60, 3)]
    assert sorted(groups) == sorted([f"{number}_{place}" for place in range(3)] for number in range(20))


async def test_changes_that_happen_at_once_are_all_kept(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1")
    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(storage.conversations.update, ANN, "conv_1", merging({str(number): "x"}))
    kept = await storage.conversations.get(ANN, "conv_1")
    assert kept is not None
    assert set(kept.metadata) == {"0", "1", "2", "3", "4"}


async def test_a_page_says_exactly_whether_there_is_more(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1", items=items("a", "b", "c"))
    page = storage.conversations.page
    assert (await page(ANN, "conv_1", limit=3)).has_more is False
    assert (await page(ANN, "conv_1", limit=2)).has_more is True
    last = await page(ANN, "conv_1", order="desc", after="b", limit=1)
    assert ([item.id for item in last.items], last.has_more) == (["a"], False)
    nothing = await page(ANN, "conv_1", after="c")
    assert (nothing.items, nothing.has_more) == ([], False)


async def test_a_history_is_a_conversation_with_its_newest_items(storage: Storage) -> None:
    made = await storage.conversations.create(ANN, "conv_1", user="ann", items=items("a", "b", "c"))
    for limit, wanted in ((2, ["b", "c"]), (3, ["a", "b", "c"]), (9, ["a", "b", "c"])):
        found = await storage.conversations.history(ANN, "conv_1", limit)
        assert found is not None
        assert found.conversation == made
        assert found.items == b"[%b]" % b",".join(item.value for item in items(*wanted))
        assert found.after == ("b" if limit == 2 else None)
    assert await storage.conversations.history(BEN, "conv_1", 9) is None
    assert await storage.conversations.history(ANN, "conv_2", 9) is None


async def test_a_history_keeps_its_order_among_other_conversations(storage: Storage) -> None:
    for id in ("conv_1", "conv_2"):
        await storage.conversations.create(ANN, id)
    names = [f"{number:02d}" for number in (9, 3, 27, 1, 14, 8, 30, 2, 25, 11)]
    for name in names:
        for id in ("conv_1", "conv_2"):
            await storage.conversations.append(ANN, id, items(name))
    for limit in (4, 10, 99):
        found = await storage.conversations.history(ANN, "conv_2", limit)
        assert found is not None
        assert found.items == b"[%b]" % b",".join(item.value for item in items(*names[-limit:]))
        assert found.after == (names[-4] if limit == 4 else None)


async def test_an_append_of_old_and_new_items_replaces_the_old_ones(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1", items=items("a", "b"))
    many = [f"new {number}" for number in range(40)]
    for _ in range(2):  # the second changes nothing
        await storage.conversations.append(ANN, "conv_1", items(*many[:20], "b", *many[20:]), turns=1)
    page = await storage.conversations.page(ANN, "conv_1", limit=100)
    assert [item.id for item in page.items] == ["a", "b", *many]
    kept = await storage.conversations.get(ANN, "conv_1")
    assert kept is not None
    assert kept.turns == 1


async def test_a_deleted_conversation_takes_its_items_along(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1", user="eva", items=items("a"))
    await storage.conversations.create(ANN, "conv_2", user="eva", items=items("a"))
    assert await storage.conversations.delete(ANN, "conv_1")
    assert await storage.conversations.get(ANN, "conv_1") is None
    assert [each.id for each in await storage.conversations.recent(ANN, "eva", 10)] == ["conv_2"]
    await storage.conversations.create(ANN, "conv_1")
    assert await ids(storage) == []
    assert await ids(storage, "conv_2") == ["a"]


async def test_a_deleted_item_is_gone_and_the_conversation_is_returned(storage: Storage) -> None:
    await storage.conversations.create(ANN, "conv_1", items=items("a", "b", "c"))
    after = await storage.conversations.delete_item(ANN, "conv_1", "c")
    assert after == await storage.conversations.get(ANN, "conv_1")
    await storage.conversations.append(ANN, "conv_1", items("d"))
    assert await ids(storage) == ["a", "b", "d"]
    assert await ids(storage, order="desc") == ["d", "b", "a"]


async def test_a_users_conversations_are_listed_by_their_last_change(storage: Storage) -> None:
    for id in ("conv_1", "conv_2", "conv_3"):
        await storage.conversations.create(ANN, id, user="eva")
    await storage.conversations.create(ANN, "conv_4", user="tom")
    await storage.conversations.create(BEN, "conv_5", user="eva")
    await storage.conversations.append(ANN, "conv_1", items("a"))
    listed = await storage.conversations.recent(ANN, "eva", 10)
    assert [each.id for each in listed] == ["conv_1", "conv_3", "conv_2"]
    assert [each.id for each in await storage.conversations.recent(ANN, "eva", 2)] == ["conv_1", "conv_3"]
    assert [each.id for each in await storage.conversations.recent(ANN, "", 2)] == []


async def test_a_conversation_is_forgotten_when_it_is_too_old(make: Maker) -> None:
    async with make(Retention(conversations=Bounds(max_age_secs=0.05))) as storage:
        await storage.conversations.create(ANN, "conv_1", user="eva", items=items("a"))
        await gone(lambda: storage.conversations.get(ANN, "conv_1"))
        assert await storage.conversations.recent(ANN, "eva", 10) == []
        with pytest.raises(NotFound):
            await storage.conversations.append(ANN, "conv_1", items("b"))
        await storage.conversations.create(ANN, "conv_1", user="eva")


@pytest.mark.parametrize("make", ["memory", "sqlite"], indirect=True)
async def test_an_sql_store_is_bounded_in_number_and_bytes(make: Maker) -> None:
    async with make(Retention(conversations=Bounds(max_records=2))) as storage:
        for number in range(4):
            await storage.conversations.create(ANN, f"conv_{number}", items=items("a"))
        kept = [await storage.conversations.get(ANN, f"conv_{number}") is not None for number in range(4)]
        assert kept == [False, False, True, True]


@pytest.mark.parametrize("make", ["memory", "sqlite"], indirect=True)
async def test_a_conversation_that_outgrows_the_store_stays_as_it_is(make: Maker) -> None:
    async with make(Retention(conversations=Bounds(max_bytes=4000))) as storage:
        await storage.conversations.create(ANN, "conv_1", items=items("a"))
        with pytest.raises(InvalidRequest, match="too large"):
            await storage.conversations.append(ANN, "conv_1", [Item("b", b"x" * 5000)])
        assert await ids(storage) == ["a"]
        await storage.conversations.create(ANN, "conv_2", items=[Item("b", b"x" * 3200)])
        assert await storage.conversations.get(ANN, "conv_1") is None, "the older one makes room"
        for _ in range(5):  # what is replaced and deleted is not counted any more
            await storage.conversations.append(ANN, "conv_2", [Item("b", b"x" * 3200)])
            await storage.conversations.append(ANN, "conv_2", [Item("c", b"x" * 100)])
            await storage.conversations.delete_item(ANN, "conv_2", "c")
        assert await ids(storage, "conv_2") == ["b"]


LETTERS = st.sampled_from("abcdefgh")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(LETTERS, max_size=4)),
        st.tuples(st.just("delete"), LETTERS),
        st.tuples(st.just("page"), st.sampled_from(("asc", "desc")), st.none() | LETTERS, st.integers(1, 5)),
    ),
    max_size=25,
)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
@settings(
    max_examples=settings().max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(steps=STEPS)
def test_items_are_kept_and_paged_as_a_plain_list_would(
    kind: str, steps: list[tuple[object, ...]], redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    url = "memory:"
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('store')}/chorus.db"
    elif kind == "redis":
        emptied(redis_server)
        url = redis_server.url
    anyio.run(compare_with_a_list, url, steps)


async def compare_with_a_list(url: str, steps: list[tuple[object, ...]]) -> None:
    model: list[str] = []
    async with open_storage(url) as storage:
        conversations = storage.conversations
        await conversations.create(ANN, "conv_1")
        for step in steps:
            if step[0] == "append":
                assert isinstance(step[1], list)
                await conversations.append(ANN, "conv_1", items(*step[1]))
                model += [letter for letter in dict.fromkeys(step[1]) if letter not in model]
            elif step[0] == "delete":
                assert isinstance(step[1], str)
                if step[1] in model:
                    await conversations.delete_item(ANN, "conv_1", step[1])
                    model.remove(step[1])
                else:
                    with pytest.raises(NotFound):
                        await conversations.delete_item(ANN, "conv_1", step[1])
            else:
                await compare_a_page(storage, model, *step[1:])  # type: ignore[arg-type]


async def compare_a_page(storage: Storage, model: list[str], order: Order, after: str | None, limit: int) -> None:
    ordered = model if order == "asc" else model[::-1]
    if after is not None and after not in model:
        with pytest.raises(NotFound):
            await storage.conversations.page(ANN, "conv_1", order=order, after=after, limit=limit)
        return
    rest = ordered[ordered.index(after) + 1 :] if after is not None else ordered
    page = await storage.conversations.page(ANN, "conv_1", order=order, after=after, limit=limit)
    assert page.items == items(*rest[:limit])
    assert page.has_more == (len(rest) > limit)
