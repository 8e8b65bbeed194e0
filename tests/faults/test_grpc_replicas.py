"""Inference workers that are broken in every way, as the only replica of a model, and as one of
two. Until the client has read a word another one takes the call, after it the client gets the
error; all is counted and given back (I1, D1, L3, L4).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import grpc
import httpx
import pytest
from _pytest.mark import ParameterSet

from tests.faults.test_replicas import counters, grown, received
from tests.kit import free_port, unaccepting
from tests.kit.scripted_worker import Drops, Fails, Hangs, Pieces, ScriptedWorker
from tests.server.running import Running, running

pytestmark = [pytest.mark.requirement(name) for name in ("I1", "D1", "L3", "L4")]
CHAT = "/v1/chat/completions"
GOOD = "the good answer"
FIRST_SECS = 0.4
Code = grpc.StatusCode


@dataclass(frozen=True)
class Fault:
    """What a worker does, and what it comes to where it is the only replica: the status and the
    code, how often it is asked, and whether its breaker holds it against the worker. `received` is
    what of the answer was there before.
    """

    does: Any
    status: int
    code: str
    tries: int
    counts: bool
    received: str = ""

    @property
    def moves(self) -> bool:
        """Whether another replica gets the call of a client that streams."""
        return self.code != "upstream_refused" and not self.received


BUSY = [("retry-after", "0"), ("chorus-code", "queue_full")]
STOPPING = [("chorus-code", "server_stopping")]
GARBAGE = {"openai_json": b"{garbage"}

# fmt: off
FAULTS: dict[str, Fault] = {
    # what                 the worker does                                        status  error              tries counts  received
    "refuses":       Fault("refuses connections",                                   502, "upstream_connect",      3, True),
    "unreachable":   Fault("lets connecting hang",                                  504, "upstream_timeout",      3, True),
    "silence":       Fault(Hangs(),                                                 504, "upstream_timeout",      3, True),
    "unavailable":   Fault(Fails(Code.UNAVAILABLE),                                 502, "upstream_connect",      3, True),
    "stopping":      Fault(Fails(Code.UNAVAILABLE, metadata=STOPPING),              502, "upstream_status",       3, False),
    "busy":          Fault(Fails(Code.RESOURCE_EXHAUSTED, metadata=BUSY),           429, "upstream_rate_limited", 3, False),
    "invalid":       Fault(Fails(Code.INVALID_ARGUMENT),                            400, "upstream_refused",      1, False),
    "internal":      Fault(Fails(Code.INTERNAL),                                    502, "upstream_status",       3, True),
    "drops":         Fault(Drops(),                                                 502, "upstream_connect",      3, True),
    "no-finish":     Fault(Pieces([], None),                                        502, "upstream_protocol",     3, True),
    "garbage":       Fault(Pieces([GARBAGE]),                                       502, "upstream_protocol",     3, True),
    "cut":           Fault(Drops(["one"]),                                          502, "upstream_protocol",     1, True, "one"),
    "then-fails":    Fault(Fails(Code.UNAVAILABLE, pieces=["one"]),                 502, "upstream_protocol",     1, True, "one"),
    "then-internal": Fault(Fails(Code.INTERNAL, pieces=["one"]),                    502, "upstream_status",       1, True, "one"),
    "no-end":        Fault(Pieces(["one"], None),                                   502, "upstream_protocol",     1, True, "one"),
    "then-garbage":  Fault(Pieces(["one", GARBAGE]),                                502, "upstream_protocol",     1, True, "one"),
}
# fmt: on


@pytest.fixture(scope="module")
def workers() -> Iterator[list[ScriptedWorker]]:
    with ScriptedWorker.in_thread() as broken, ScriptedWorker.in_thread() as good:
        good.on("pair", Pieces(["the", " good", " answer"]))
        yield [broken, good]


def cells() -> list[ParameterSet]:
    """Each fault of the only worker and of one of two: streamed and whole.

    One of the two is left to `make test-slow`, as in test_replicas.py.
    """
    return [
        pytest.param(
            fault,
            model,
            stream,
            id=f"{fault}-{model}-{'stream' if stream else 'whole'}",
            marks=() if (place + (model == "pair") + stream) % 2 else pytest.mark.very_slow,
        )
        for place, fault in enumerate(FAULTS)
        for model in ("alone", "pair")
        for stream in (True, False)
    ]


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Fault:
    return FAULTS[request.param]


@pytest.fixture
def served(fault: Fault, workers: list[ScriptedWorker]) -> Iterator[Running]:
    """A server with one slot whose models are `alone`, a broken worker, and `pair`, with a good one
    behind it.
    """
    with unaccepting() as silent:
        broken = {
            "refuses connections": f"grpc://127.0.0.1:{free_port()}",
            "lets connecting hang": silent.replace("http", "grpc"),
        }.get(str(fault.does), workers[0].api_base)
        text = f"[server]\nmax_concurrency = 1\n[timeouts]\nfirst_token_timeout_secs = {FIRST_SECS}\n"
        for model, replicas in {"alone": [broken], "pair": [broken, workers[1].api_base]}.items():
            text += f'[[model]]\nname = "{model}"\nprovider = "grpc"\nbalance = "weighted"\nmax_concurrency = 1\n'
            text += f"replicas = {json.dumps(replicas)}\n"
        for each in workers:
            each.forget()
        with running(text) as server:
            yield server


@pytest.fixture
async def client(served: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.base, timeout=15, verify=False) as client:
        yield client


async def ask(client: httpx.AsyncClient, model: str, *, stream: bool) -> httpx.Response:
    turns = [{"role": "user", "content": "How?"}]
    return await client.post(CHAT, json={"model": model, "stream": stream, "messages": turns})


async def replicas(client: httpx.AsyncClient, model: str) -> list[dict[str, Any]]:
    shown = (await client.get("/api/v1/upstreams")).json()["upstreams"]
    states: list[dict[str, Any]] = next(each["replicas"] for each in shown if each["model"] == model)
    return states


async def idle(workers: list[ScriptedWorker]) -> None:
    with anyio.fail_after(5):
        while any(each.in_flight for each in workers):  # noqa: ASYNC110 (the workers have loops of their own)
            await anyio.sleep(0.005)


async def over(tasks: set[asyncio.Task[Any]]) -> None:
    """Wait until `tasks` have ended: those of the request, and of a connection that closes."""
    with anyio.fail_after(5):
        while not all(task.done() for task in tasks if "Connection" not in repr(task)):  # noqa: ASYNC110
            await anyio.sleep(0.005)


@pytest.mark.parametrize(("fault", "model", "stream"), cells(), indirect=["fault"])
async def test_what_a_fault_comes_to(
    client: httpx.AsyncClient, served: Running, workers: list[ScriptedWorker], fault: Fault, model: str, stream: bool
) -> None:
    if not isinstance(fault.does, str):
        workers[0].on(model, fault.does)
    moves = fault.moves or (not stream and fault.code != "upstream_refused")
    before = counters((await client.get("/metrics")).text)
    tasks = asyncio.all_tasks(served.loop)
    answer = await ask(client, model, stream=stream)
    await idle(workers)
    await over(asyncio.all_tasks(served.loop) - tasks)

    states = await replicas(client, model)
    added = await grown(client, before)
    if model == "pair" and moves:
        assert (answer.status_code, *received(answer)) == (200, GOOD, None)
        assert [state["calls"] for state in states] == [1, 1]
        assert added[f'llm_retries_total{{model="{model}"}}'] == 1
    else:
        tries = fault.tries if stream or not fault.received else 3
        tries = 1 if model == "pair" else tries
        status = 200 if stream and fault.received else fault.status
        assert (answer.status_code, *received(answer)) == (status, fault.received * stream, fault.code)
        assert [state["calls"] for state in states] == [tries, 0][: len(states)]
        assert added[f'llm_errors_total{{code="{fault.code}",model="{model}"}}'] == 1
    assert states[0]["errors"] == states[0]["calls"] * fault.counts
    assert [state["in_flight"] for state in states] == [0] * len(states)
    assert (states[0]["failures_in_a_row"] > 0) == fault.counts


async def test_a_breaker_opens_and_a_worker_that_is_back_is_used_again(workers: list[ScriptedWorker]) -> None:
    with ScriptedWorker.in_thread() as worker:
        worker.on("m", Pieces(["Hello"]))
        worker.run(worker.set_health("m", serving=True))
        text = '[[model]]\nname = "m"\nprovider = "grpc"\nhealth_check_secs = 0.3\n'
        with running(text + f'api_base = "{worker.api_base}"\n') as server:
            async with httpx.AsyncClient(base_url=server.base, verify=False) as client:
                assert received(await ask(client, "m", stream=True)) == ("Hello", None)
                worker.run(worker.stop())
                with anyio.fail_after(10):
                    while (await replicas(client, "m"))[0]["state"] == "closed":
                        assert received(await ask(client, "m", stream=False))[1] == "upstream_connect"
                worker.run(worker.start())
                with anyio.fail_after(5):
                    while received(await ask(client, "m", stream=True)) != ("Hello", None):
                        pass
                    while (await replicas(client, "m"))[0]["state"] != "closed":
                        pass
