"""Requests of many callers as one call: waiting, leaving in every phase, refusals, failures (K3).

On a clock that jumps.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import anyio
import anyio.lowlevel
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from chorus.admission.batching import Batching
from chorus.errors import (
    ChorusError,
    Internal,
    QueueFull,
    Stopping,
    UpstreamConnect,
    UpstreamRefused,
    UpstreamStatus,
)
from chorus.llm.base import context_headers
from chorus.llm.embed import EmbedCall, Embeddings
from chorus.llm.filters.embedding_batches import BatchedEmbedder, shares
from chorus.tasks import ServerTasks
from chorus.types import Priority
from chorus.usage import Usage
from tests.workflow.running import on_trio

pytestmark = pytest.mark.requirement("K3")
WINDOW = 1.0


class FakeEmbedder:
    """Embeds a text as its number, after `secs`. Refuses what is bad, and fails as `fails` says."""

    def __init__(self, secs: float = 10.0, fails: Callable[[], Exception] | None = None) -> None:
        self.secs = secs
        self.fails = fails
        self.calls: list[tuple[float, list[str]]] = []
        self.priorities: list[Priority] = []
        self.cancelled = 0

    async def embed(self, call: EmbedCall) -> Embeddings:
        inputs = [text for text in call.inputs if isinstance(text, str)]
        self.priorities.append(call.priority)
        self.calls.append((anyio.current_time(), list(inputs)))
        try:
            await anyio.sleep(self.secs)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        if self.fails is not None:
            raise self.fails()
        bad = [text for text in inputs if text.startswith("bad")]
        if bad:
            raise UpstreamRefused("refused", upstream_status=400, detail=f"cannot read {bad[0]}")
        return Embeddings([[float(text)] for text in inputs], Usage(7 * len(inputs)))

    @property
    def sizes(self) -> list[int]:
        return [len(inputs) for _, inputs in self.calls]


@asynccontextmanager
async def merging(
    inner: FakeEmbedder, *, max_size: int = 64, tasks: ServerTasks | None = None
) -> AsyncIterator[BatchedEmbedder]:
    tasks = tasks or ServerTasks()
    batches = partial(Batching[EmbedCall, Embeddings], max_size=max_size, window_secs=WINDOW, tasks=tasks)
    async with tasks.open():
        yield BatchedEmbedder(inner, batches)


class Callers:
    """Callers of one embedder, and what came to each. `scopes` lets them leave."""

    def __init__(self, merged: BatchedEmbedder) -> None:
        self._merged = merged
        self.results: dict[str, Embeddings | ChorusError] = {}
        self.scopes: dict[str, anyio.CancelScope] = {}
        self.ended: dict[str, float] = {}

    async def ask(self, name: str, *inputs: str, dimensions: int | None = None, priority: Priority = "default") -> None:
        with anyio.CancelScope() as self.scopes[name]:
            try:
                call = EmbedCall(inputs or (name,), dimensions, context_headers(f"req_{name}"), priority=priority)
                self.results[name] = await self._merged.embed(call)
            except ChorusError as error:
                self.results[name] = error
        self.ended[name] = anyio.current_time()

    def vectors(self, name: str) -> list[float]:
        result = self.results[name]
        assert isinstance(result, Embeddings), result
        return [value for (value,) in result.vectors]


@on_trio
async def test_who_comes_within_the_window_shares_a_call_in_order() -> None:
    inner = FakeEmbedder()
    async with merging(inner) as merged, anyio.create_task_group() as group:
        callers = Callers(merged)
        for at, name in ((0.0, "1"), (0.4, "2"), (0.4, "3"), (0.3, "4")):
            await anyio.sleep(at)
            group.start_soon(callers.ask, name)
    assert inner.calls == [(WINDOW, ["1", "2", "3"]), (1.1 + WINDOW, ["4"])]
    assert [callers.vectors(name) for name in "1234"] == [[1], [2], [3], [4]]


@pytest.mark.requirement("K2")
@on_trio
async def test_a_call_for_several_waits_with_the_priority_of_the_most_urgent() -> None:
    inner = FakeEmbedder()
    async with merging(inner, max_size=3) as merged, anyio.create_task_group() as group:
        callers = Callers(merged)
        priorities: tuple[Priority, ...] = ("batch", "interactive", "default", "batch", "default", "batch", "batch")
        for number, priority in enumerate(priorities):
            group.start_soon(partial(callers.ask, str(number), priority=priority))
            await anyio.lowlevel.checkpoint()
    assert inner.priorities == ["interactive", "default", "batch"]


@on_trio
async def test_a_full_batch_goes_at_once_and_lists_keep_together() -> None:
    inner = FakeEmbedder()
    async with merging(inner, max_size=4) as merged, anyio.create_task_group() as group:
        callers = Callers(merged)
        for name, inputs in (("a", "12"), ("b", "34"), ("c", "567"), ("d", "89"), ("e", "123456")):
            group.start_soon(callers.ask, name, *inputs)
            await anyio.lowlevel.checkpoint()
    assert inner.calls == [(0, list("1234")), (0, list("567")), (0, list("123456")), (WINDOW, list("89"))]
    assert [callers.vectors(name) for name in "abcde"] == [[1, 2], [3, 4], [5, 6, 7], [8, 9], [1, 2, 3, 4, 5, 6]]


@on_trio
async def test_only_the_same_dimensions_are_merged() -> None:
    inner = FakeEmbedder()
    async with merging(inner) as merged, anyio.create_task_group() as group:
        callers = Callers(merged)
        for name, dimensions in (("1", None), ("2", 8), ("3", None), ("4", 8)):
            group.start_soon(partial(callers.ask, name, dimensions=dimensions))
            await anyio.lowlevel.checkpoint()
    assert sorted(inputs for _, inputs in inner.calls) == [["1", "3"], ["2", "4"]]


@on_trio
async def test_who_leaves_while_waiting_is_not_asked_for() -> None:
    inner = FakeEmbedder()
    async with merging(inner) as merged, anyio.create_task_group() as group:
        callers = Callers(merged)
        for name in "123":
            group.start_soon(callers.ask, name)
        await anyio.sleep(WINDOW / 2)
        callers.scopes["2"].cancel()
    assert [sorted(inputs) for _, inputs in inner.calls] == [["1", "3"]]
    assert callers.ended == {"1": WINDOW + 10, "2": WINDOW / 2, "3": WINDOW + 10}


@on_trio
async def test_when_all_leave_while_waiting_nothing_is_asked_for() -> None:
    inner = FakeEmbedder()
    async with merging(inner) as merged:
        callers = Callers(merged)
        async with anyio.create_task_group() as group:
            for name in "123":
                group.start_soon(callers.ask, name)
            await anyio.sleep(WINDOW / 2)
            group.cancel_scope.cancel()
        await anyio.sleep(10 * WINDOW)
        assert inner.calls == []
        await callers.ask("4")
        assert callers.vectors("4") == [4]


@on_trio
async def test_who_leaves_on_the_way_hurts_nobody_and_the_last_one_ends_the_call() -> None:
    inner = FakeEmbedder()
    async with merging(inner) as merged:
        callers = Callers(merged)
        async with anyio.create_task_group() as group:
            for name in "123":
                group.start_soon(callers.ask, name)
            await anyio.sleep(WINDOW + 1)
            callers.scopes["1"].cancel()
            callers.scopes["2"].cancel()
        assert (callers.vectors("3"), inner.cancelled) == ([3], 0)
        async with anyio.create_task_group() as group:
            for name in "45":
                group.start_soon(callers.ask, name)
            await anyio.sleep(WINDOW + 1)
            callers.scopes["4"].cancel()
            await anyio.sleep(1)
            assert inner.cancelled == 0
            callers.scopes["5"].cancel()
        await anyio.sleep(1)
        assert (len(inner.calls), inner.cancelled) == (2, 1)


@on_trio
async def test_who_leaves_during_a_refused_call_is_not_asked_for_again() -> None:
    inner = FakeEmbedder()
    async with merging(inner) as merged, anyio.create_task_group() as group:
        callers = Callers(merged)
        for name in ("bad", "1", "2"):
            group.start_soon(callers.ask, name)
        await anyio.sleep(WINDOW + 1)
        callers.scopes["2"].cancel()
    assert sorted(inputs for _, inputs in inner.calls[1:]) == [["1"], ["bad"]]
    assert callers.vectors("1") == [1]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 17, 64])
@on_trio
async def test_bad_inputs_fail_alone(count: int) -> None:
    for bad in {0, count // 2, count - 1}:
        inner = FakeEmbedder()
        async with merging(inner) as merged, anyio.create_task_group() as group:
            callers = Callers(merged)
            for number in range(count):
                group.start_soon(callers.ask, f"bad {number}" if number == bad else str(number))
        refused = callers.results.pop(f"bad {bad}")
        assert isinstance(refused, UpstreamRefused)
        assert refused.message == f"refused: cannot read bad {bad}"
        assert all(callers.vectors(name) == [float(name)] for name in callers.results)
        assert len(inner.calls) <= 1 + 2 * max(count.bit_length() - 2, 0) + 4


@given(st.lists(st.booleans(), min_size=1, max_size=64))
def test_however_many_are_bad_there_are_not_many_more_calls_than_callers(bad: list[bool]) -> None:
    @on_trio
    async def test() -> None:
        inner = FakeEmbedder()
        names = [f"bad {number}" if is_bad else str(number) for number, is_bad in enumerate(bad)]
        async with merging(inner) as merged, anyio.create_task_group() as group:
            callers = Callers(merged)
            for name in names:
                group.start_soon(callers.ask, name)
        for name in names:
            if name.startswith("bad"):
                result = callers.results[name]
                assert isinstance(result, UpstreamRefused)
                assert result.message.endswith(name)  # no error names another caller's text
            else:
                assert callers.vectors(name) == [float(name)]
        assert len(inner.calls) < 2 * len(names)

    test()


@pytest.mark.parametrize(
    "fails",
    [
        lambda: UpstreamConnect("away"),
        lambda: UpstreamStatus("broken", upstream_status=500, detail="cannot do 1"),
        lambda: QueueFull("full", retry_after=3),
    ],
)
@on_trio
async def test_any_other_failure_is_everybodys_own(fails: Callable[[], ChorusError]) -> None:
    inner = FakeEmbedder(fails=fails)
    async with merging(inner) as merged, anyio.create_task_group() as group:
        callers = Callers(merged)
        for name in "123":
            group.start_soon(callers.ask, name)
    errors = list(callers.results.values())
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert type(error) is type(fails())
        assert isinstance(error, ChorusError)
        assert (error.message, error.retry_after) == (fails().log_message, fails().retry_after)
    assert len(inner.calls) == 1


@on_trio
async def test_a_mistake_of_ours_is_told_and_ends_no_other_batch() -> None:
    inner = FakeEmbedder(fails=lambda: ZeroDivisionError())
    with structlog.testing.capture_logs() as log:
        async with merging(inner) as merged, anyio.create_task_group() as group:
            callers = Callers(merged)
            for name in "12":
                group.start_soon(callers.ask, name)
            await anyio.sleep(20 * WINDOW)
            inner.fails = None
            await callers.ask("3")
    assert [type(callers.results[name]) for name in "12"] == [Internal, Internal]
    assert callers.vectors("3") == [3]
    assert [entry["event"] for entry in log] == ["a task of the server failed"]


@on_trio
async def test_when_the_server_stops_those_who_wait_are_told() -> None:
    inner, tasks = FakeEmbedder(), ServerTasks()
    async with anyio.create_task_group() as group, merging(inner, max_size=2, tasks=tasks) as merged:
        callers = Callers(merged)
        for name in "123":
            group.start_soon(callers.ask, name)
        await anyio.sleep(WINDOW / 2)
    assert [type(callers.results[name]) for name in "123"] == [Stopping] * 3
    assert (inner.sizes, inner.cancelled) == ([2], 1)
    await callers.ask("4")  # nothing is gathered any more
    assert callers.vectors("4") == [4]


@given(
    st.lists(st.tuples(st.floats(0, 3), st.none() | st.floats(0, 15), st.integers(1, 4)), min_size=1, max_size=20),
    st.integers(1, 6),
)
def test_whoever_stays_gets_its_own(plan: list[tuple[float, float | None, int]], max_size: int) -> None:
    """Callers come and leave whenever they like."""

    @on_trio
    async def test() -> None:
        inner = FakeEmbedder(secs=2)
        async with merging(inner, max_size=max_size) as merged:
            callers = Callers(merged)

            async def call(number: int, at: float, leaves_after: float | None, count: int) -> None:
                await anyio.sleep(at)
                with anyio.move_on_after(leaves_after):
                    await callers.ask(str(number), *[str(10 * number + each) for each in range(count)])

            async with anyio.create_task_group() as group:
                for number, (at, leaves_after, count) in enumerate(plan):
                    group.start_soon(call, number, at, leaves_after, count)
            for number, (at, leaves_after, count) in enumerate(plan):
                if leaves_after is None:
                    assert callers.vectors(str(number)) == [10 * number + each for each in range(count)]
                    assert callers.ended[str(number)] <= at + WINDOW + 2 + 1e-6
            assert all(size <= max(max_size, 4) for size in inner.sizes)

    test()


@given(st.integers(0, 10**6), st.lists(st.integers(0, 10**4), min_size=1, max_size=64))
def test_shares_are_in_proportion_and_sum_up(total: int, weights: list[int]) -> None:
    parts = shares(total, weights)
    assert sum(parts) == total
    whole = sum(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - (total * weight / whole if whole else total / len(weights))) <= 1
        assert part >= 0
