"""A worker under load: calls that leave, slow readers, a full queue, a drain, and metrics that are
exact after every ending (I2, I3). Real gRPC, and an engine whose steps are counted.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chorus.inference import engine as engines
from chorus.inference.engine import EngineSettings
from chorus.inference.server import Serving, WorkerSettings, serving
from chorus.llm.transport.grpc_channels import OPTIONS
from chorus.worker.v1 import inference_pb2 as pb
from chorus.worker.v1 import inference_pb2_grpc
from tests.inference import steps
from tests.inference.steps import DELAY_SECS, Steps
from tests.server.running import running

pytestmark = [pytest.mark.requirement("I2"), pytest.mark.requirement("I3")]
AT_ONCE_SECS = 0.1


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines.ENGINES, "steps", "tests.inference.steps")  # type: ignore[arg-type]


class Worker:
    """A worker that serves in this loop, and a client of it."""

    def __init__(self, at: Serving, channel: grpc.aio.Channel, life: AsyncExitStack) -> None:
        self.stop = life.aclose
        self.at = at
        self.api_base = f"grpc://127.0.0.1:{at.port}"
        self.engine: Steps = steps.STEPS
        self.channel = channel
        self.stub = inference_pb2_grpc.WorkerStub(channel)

    def ask(self, prompt: str = "", name: str = "r", tokens: int | None = None, **options: Any) -> Any:
        sampling = pb.Sampling(max_tokens=tokens)
        return self.stub.Generate(pb.GenerateRequest(request_id=name, prompt=prompt, sampling=sampling), **options)

    def metrics(self) -> dict[str, float]:
        """The samples of the worker, without the label of the model."""
        page = httpx.get(f"http://127.0.0.1:{self.at.metrics_port}/metrics", trust_env=False).text
        samples = re.findall(r"^(\w+)\{(.*?)\} (\S+)$", page, re.MULTILINE)
        short = [(name, re.sub(r',?model="m",?', "", labels), value) for name, labels, value in samples]
        return {f"{name}{{{labels}}}" if labels else name: float(value) for name, labels, value in short}

    async def settled(self) -> dict[str, float]:
        """The metrics once no call goes on."""
        await until(lambda: not self.engine.open)
        await anyio.lowlevel.checkpoint()
        found = await asyncio.to_thread(self.metrics)
        assert (found["llm_active_requests"], found["llm_queue_length"]) == (0, 0)
        return found


@asynccontextmanager
async def working(**settings: Any) -> AsyncIterator[Worker]:
    """A worker, whose client outlives it."""
    chosen: dict[str, Any] = {"metrics_port": 0, "drain_timeout_secs": 1, **settings}
    async with AsyncExitStack() as life:
        at = await life.enter_async_context(serving(WorkerSettings("steps", EngineSettings("m"), port=0, **chosen)))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{at.port}", options=OPTIONS) as channel:
            yield Worker(at, channel, life)
            await life.aclose()


async def until(holds: Callable[[], Any], secs: float = 5) -> None:
    with anyio.fail_after(secs):
        while not holds():  # noqa: ASYNC110 (counters of an engine)
            await anyio.sleep(0.002)


async def stops(worker: Worker, name: str) -> float:
    """The seconds until the engine makes no more steps for `name`; a step takes `DELAY_SECS`."""
    began = time.monotonic()
    seen, at = worker.engine.steps[name], began
    while time.monotonic() - at < 8 * DELAY_SECS:
        await anyio.sleep(0.002)
        if worker.engine.steps[name] != seen:
            seen, at = worker.engine.steps[name], time.monotonic()
    return at - began


async def code_of(rpc: Any) -> grpc.StatusCode:
    try:
        while await rpc.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError:
        pass
    code: grpc.StatusCode = await rpc.code()
    return code


# --- calls that leave


async def test_a_cancelled_call_stops_the_engine_at_once() -> None:
    async with working() as worker:
        rpc = worker.ask()
        await rpc.read()
        rpc.cancel()
        assert await stops(worker, "r") < AT_ONCE_SECS
        found = await worker.settled()
        assert worker.engine.cleaned == 1
        assert found['llm_requests_total{code="CANCELLED"}'] == 1
        assert found["llm_generated_tokens_total"] == worker.engine.steps["r"]


async def test_an_expired_call_stops_the_engine_at_once() -> None:
    async with working() as worker:
        rpc = worker.ask(timeout=0.15)
        assert await code_of(rpc) is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await stops(worker, "r") < AT_ONCE_SECS
        assert (await worker.settled())['llm_requests_total{code="DEADLINE_EXCEEDED"}'] == 1


@pytest.mark.requirement("W13")
@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_over_http_stops_the_engine_at_once(stream: bool) -> None:
    async with working() as worker:
        text = f'[[model]]\nname = "m"\nprovider = "grpc"\napi_base = "{worker.api_base}"\n'
        body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "Go."}]}
        server = await asyncio.to_thread((gateway := running(text)).__enter__)
        try:
            async with (
                httpx.AsyncClient(base_url=server.base, verify=False) as client,
                anyio.create_task_group() as group,
            ):
                group.start_soon(lambda: client.post("/v1/chat/completions", json=body, timeout=60))
                await until(lambda: len(worker.engine.steps) and max(worker.engine.steps.values()) > 5)
                [name] = worker.engine.steps
                group.cancel_scope.cancel()
            assert await stops(worker, name) < AT_ONCE_SECS
            await worker.settled()
        finally:
            await asyncio.to_thread(gateway.__exit__, None, None, None)


async def test_a_slow_reader_holds_back_its_own_answer_only() -> None:
    async with working() as worker:
        slow = worker.ask("fast", "slow")
        await slow.read()
        await until_still(lambda: worker.engine.steps["slow"])
        ahead = worker.engine.steps["slow"]
        assert ahead < 10_000, ahead
        quick = worker.ask("fast", "quick", tokens=500)
        with anyio.fail_after(5):
            assert await code_of(quick) is grpc.StatusCode.OK
        assert worker.engine.steps["slow"] == ahead
        slow.cancel()
        await worker.settled()  # also one that is cancelled while it writes


async def until_still(count: Callable[[], int]) -> None:
    """Until a counter does not move for a while."""
    seen, at = count(), time.monotonic()
    while time.monotonic() - at < 0.3:
        await anyio.sleep(0.01)
        if count() != seen:
            seen, at = count(), time.monotonic()


# --- the queue


async def test_a_full_queue_says_when_to_come_again_and_a_call_that_leaves_makes_room() -> None:
    async with working(max_concurrency=1, max_waiting=1) as worker:
        first = worker.ask()
        await first.read()
        second = asyncio.ensure_future(code_of(worker.ask(name="second")))
        await until_queued(worker, 1)
        third = worker.ask(name="third")
        assert await code_of(third) is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailing = dict(tuple(await third.trailing_metadata()))
        assert float(trailing["retry-after"]) > 0
        assert trailing["chorus-code"] == "queue_full"

        second.cancel()
        await until_queued(worker, 0)
        fourth = asyncio.ensure_future(code_of(worker.ask(name="fourth", tokens=2)))
        await until_queued(worker, 1)
        first.cancel()
        assert await fourth is grpc.StatusCode.OK
        assert set(worker.engine.steps) == {"r", "fourth"}
        found = await worker.settled()
        assert found['llm_requests_total{code="RESOURCE_EXHAUSTED"}'] == 1
        assert found['llm_requests_total{code="CANCELLED"}'] == 2


async def until_queued(worker: Worker, count: int) -> None:
    with anyio.fail_after(5):
        while (await asyncio.to_thread(worker.metrics))["llm_queue_length"] != count:  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def test_a_call_that_expires_while_it_waits_never_reaches_the_engine() -> None:
    async with working(max_concurrency=1) as worker:
        first = worker.ask()
        await first.read()
        assert await code_of(worker.ask(name="late", timeout=0.1)) is grpc.StatusCode.DEADLINE_EXCEEDED
        first.cancel()
        await worker.settled()
        assert set(worker.engine.steps) == {"r"}


# --- what an ending is


@pytest.mark.parametrize(
    ("prompt", "code", "name", "details"),
    [
        ("bug", "INTERNAL", "internal_error", "The engine failed; the worker's log has the reason under r."),
        ("filtered", "INVALID_ARGUMENT", "content_filter", "content filter"),
        ("away", "UNAVAILABLE", "upstream_connect", "cannot be reached"),
        ("busy", "RESOURCE_EXHAUSTED", "upstream_rate_limited", "busy"),
        ("chinese", "UNAVAILABLE", "upstream_connect", "模型不可用"),
    ],
)
async def test_an_error_of_the_engine_is_a_status(prompt: str, code: str, name: str, details: str) -> None:
    async with working() as worker:
        rpc = worker.ask(prompt)
        assert (await code_of(rpc)).name == code
        assert details in await rpc.details()
        assert dict(tuple(await rpc.trailing_metadata()))["chorus-code"] == name
        assert (await worker.settled())[f'llm_requests_total{{code="{code}"}}'] == 1


async def test_a_whole_answer_is_measured() -> None:
    async with working() as worker:
        assert await code_of(worker.ask(tokens=20)) is grpc.StatusCode.OK
        found = await worker.settled()
        assert found["llm_generated_tokens_total"] == 20
        assert found["llm_inference_duration_seconds_count"] == found["llm_tokens_per_second_count"] == 1
        assert found["llm_time_to_first_token_seconds_count"] == 1
        assert 20 * DELAY_SECS <= found["llm_inference_duration_seconds_sum"] < 2
        assert found['llm_requests_total{code="OK"}'] == 1


async def test_tokens_are_counted_while_they_come() -> None:
    async with working() as worker:
        rpc = worker.ask()
        await rpc.read()
        first = (await asyncio.to_thread(worker.metrics))["llm_generated_tokens_total"]
        for _ in range(10):
            await rpc.read()
        found = await asyncio.to_thread(worker.metrics)
        assert found["llm_generated_tokens_total"] >= first + 5
        assert found["llm_active_requests"] == 1
        rpc.cancel()


# --- the end of a worker


async def test_a_drain_lets_answers_end_and_does_not_wait_for_watchers() -> None:
    async with working(drain_timeout_secs=20) as worker:
        health: Any = health_pb2_grpc.HealthStub(worker.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="m"))
        statuses = [(await watch.read()).status]
        rpc = worker.ask(tokens=40)
        await rpc.read()
        began = time.monotonic()
        stopping = asyncio.ensure_future(worker.stop())
        statuses.append((await watch.read()).status)
        assert statuses == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]
        new = worker.ask(name="new")
        assert await code_of(new) is grpc.StatusCode.UNAVAILABLE
        assert dict(tuple(await new.trailing_metadata()))["chorus-code"] == "server_stopping"
        assert await code_of(rpc) is grpc.StatusCode.OK
        await stopping
        assert time.monotonic() - began < 5
        assert worker.engine.steps == {"r": 40}


async def test_what_does_not_end_within_the_drain_is_cut() -> None:
    async with working(drain_timeout_secs=0.3) as worker:
        rpc = worker.ask()
        await rpc.read()
        going_on = asyncio.ensure_future(code_of(rpc))
        began = time.monotonic()
        await worker.stop()
        assert 0.3 <= time.monotonic() - began < 3
        assert await going_on is grpc.StatusCode.UNAVAILABLE
        assert (worker.engine.open, worker.engine.cleaned) == (0, 1)


async def test_the_warnings_of_an_engine_go_with_the_first_message() -> None:
    async with working() as worker:
        messages = [message async for message in worker.ask("odd", tokens=2)]
    assert [list(message.warnings) for message in messages] == [["'x_odd' is left out."], [], []]
