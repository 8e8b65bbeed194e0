"""Replicas that are broken in every way of `matrix.py`, one of one, two or three, and all of them.

Streaming or not. Another replica takes the call until a word is delivered; after that the client
gets an error; everything is counted, given back, and nothing is left behind (D1, L3, L4, K1, K2,
O2).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import httpx
import pytest
from _pytest.mark import ParameterSet

from chorus.usage import estimate_tokens
from tests.faults.matrix import CALLS, FAULTS, FIRST, IDLE, SETUPS, WAYS, Fault
from tests.kit import Say, ScriptedUpstream, free_port, unaccepting
from tests.kit.leaks import nothing_left
from tests.server.running import Running, running

pytestmark = [pytest.mark.requirement(name) for name in ("D1", "L3", "L4", "K1", "K2", "O2")]
CHAT = "/v1/chat/completions"
QUESTION, GOOD = "How?", "the good answer"
REQUESTS, TOKENS, MOST = 20, 2000, 50
"""What each model's limits allow a day, too little for time to give any back here.

And the `max_tokens` of a request.
"""


@pytest.fixture(scope="module")
def upstreams() -> Iterator[list[ScriptedUpstream]]:
    with ExitStack() as stack:
        yield [stack.enter_context(ScriptedUpstream.in_thread()) for _ in range(3)]


@pytest.fixture(scope="module")
def addresses(upstreams: list[ScriptedUpstream]) -> Iterator[dict[str, list[str]]]:
    """Three addresses for each way to be broken before HTTP begins, and those of the upstreams."""
    with ExitStack() as stack:
        yield {
            FAULTS["refused"].does: [f"http://127.0.0.1:{free_port()}/v1" for _ in range(3)],
            FAULTS["unreachable"].does: [f"{stack.enter_context(unaccepting())}/v1" for _ in range(3)],
            "": [each.api_base for each in upstreams],
        }


def cells() -> list[ParameterSet]:
    """Each fault in each setup: streaming and not.

    One of the two is left to `make test-slow`: streaming or not, it is the same code that turns to
    another replica.
    """
    places = {name: place for place, name in enumerate([*FAULTS, *SETUPS])}
    return [
        pytest.param(
            (way, fault),
            setup,
            id=f"{way}-{fault}-{setup}",
            marks=() if (places[fault] + places[setup] + (way == "stream")) % 2 else pytest.mark.very_slow,
        )
        for way, faults in WAYS.items()
        for fault in faults
        for setup in SETUPS
    ]


@pytest.fixture(scope="module")
def case(request: pytest.FixtureRequest) -> tuple[str, Fault]:
    """How it is asked, and what is wrong."""
    way, fault = request.param
    return way, WAYS[way][fault]


@pytest.fixture(scope="module")
def served(case: tuple[str, Fault], addresses: dict[str, list[str]]) -> Iterator[Running]:
    """A server with one slot, and for each setup a model of its own, with one slot and limits of
    its own. That replicas are weighted makes the first request ask them in this order.
    """
    way, fault = case
    broken_at = addresses.get(str(fault.does), addresses[""])
    idle = IDLE if fault.needs == "idle" else 15
    text = f"[server]\nmax_concurrency = 1\n[timeouts]\nfirst_byte_timeout_secs = {idle}\nidle_timeout_secs = {idle}\n"
    if way != "whole":
        text += f"first_token_timeout_secs = {FIRST if fault.needs == 'first token' else 15}\n"
    for model, (broken, count) in SETUPS.items():
        replicas = [*broken_at[:broken], *addresses[""][broken:count]]
        text += f'[[model]]\nname = "{model}"\nreplicas = {json.dumps(replicas)}\nbalance = "weighted"\n'
        text += (
            f'max_concurrency = 1\n[limits.models."{model}"]\nrequests = "{REQUESTS}/day"\ntokens = "{TOKENS}/day"\n'
        )
    with running(text) as server:
        yield server


@pytest.fixture(autouse=True)
def _nothing_is_left(served: Running, upstreams: list[ScriptedUpstream]) -> Iterator[None]:
    for each in upstreams:
        each.forget()
    with nothing_left(served.loop, upstreams):
        yield


@pytest.fixture
async def client(served: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=served.base, timeout=15, verify=False) as client:
        yield client


async def ask(client: httpx.AsyncClient, model: str, *, stream: bool) -> httpx.Response:
    turns = [{"role": "user", "content": QUESTION}]
    return await client.post(CHAT, json={"model": model, "stream": stream, "max_tokens": MOST, "messages": turns})


def received(response: httpx.Response) -> tuple[str, str | None]:
    """What the client received: the text, and the code of the error that stands for its end.

    A stream must end by `[DONE]` or by an error event, never by both, and nothing may come after
    it.
    """
    if response.headers["content-type"].startswith("application/json"):
        body = response.json()
        return ("", body["error"]["code"]) if "error" in body else (body["choices"][0]["message"]["content"], None)
    *events, last, nothing = response.text.split("\n\n")
    assert nothing == ""
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    return text, None if last == "data: [DONE]" else json.loads(last.removeprefix("data: "))["error"]["code"]


def left(response: httpx.Response, kind: str) -> int:
    return int(response.headers[f"x-ratelimit-remaining-{kind}"])


async def replicas(client: httpx.AsyncClient, model: str) -> list[dict[str, Any]]:
    upstreams = (await client.get("/api/v1/upstreams")).json()["upstreams"]
    return next(upstream["replicas"] for upstream in upstreams if upstream["model"] == model)


COUNTED = re.compile(
    r"^((?:llm_(?:calls|errors|retries)|chorus_runs|http_requests|http_request_errors|rate_limited)_total\{.*\}) (\S+)$",
    re.MULTILINE,
)
BUSY = re.compile(r"^(?:queue_length|active_concurrency)\{.*\} (\S+)$", re.MULTILINE)


def counters(page: str) -> Counter[str]:
    """What has been counted, but for requests that only look."""
    return Counter({name: int(float(value)) for name, value in COUNTED.findall(page) if 'method="GET"' not in name})


async def grown(client: httpx.AsyncClient, before: Counter[str]) -> Counter[str]:
    """What one more request has added.

    It is counted when all is over, which its client sees first; then no slot is taken any more, and
    nobody waits.
    """
    with anyio.fail_after(5):
        while True:
            page = (await client.get("/metrics")).text
            more = counters(page) - before
            if any(name.startswith("http_requests_total") for name in more):
                assert {float(value) for value in BUSY.findall(page)} == {0.0}
                return more


def counted(model: str, calls: int, status: int, code: str | None) -> dict[str, int]:
    """What one request adds to the counters."""
    call = "ok" if code is None else "timeout" if code == "upstream_timeout" else "failed"
    added = {
        f'llm_calls_total{{model="{model}",status="{call}"}}': 1,
        f'llm_retries_total{{model="{model}"}}': calls - 1,
        f'llm_errors_total{{code="{code}",model="{model}"}}': int(code is not None),
        f'chorus_runs_total{{status="{"ok" if code is None else "failed"}",workflow="{model}"}}': 1,
        f'http_requests_total{{method="POST",route="{CHAT}",status="{status}"}}': 1,
        f'http_request_errors_total{{code="{code}"}}': int(code is not None),
    }
    return {name: number for name, number in added.items() if number}


def outcome(fault: Fault, setup: str, *, streaming: bool) -> tuple[list[int], int, str, str | None]:
    """What the table says: how often each replica is asked, the status, the text, and the error."""
    broken, count = SETUPS[setup]
    if count == 1:
        calls = [fault.tries]
    else:
        calls = CALLS["moves" if fault.moves else "stays"][setup]
        if fault.moves:
            return (calls, 200, GOOD, None) if broken < count else (calls, 503, "", "upstream_unavailable")
    if streaming and fault.received:
        return calls, 200, fault.received, fault.code
    return calls, fault.status, "", fault.code


@pytest.mark.parametrize(("case", "setup"), cells(), indirect=["case"])
async def test_what_a_fault_comes_to(
    client: httpx.AsyncClient, upstreams: list[ScriptedUpstream], case: tuple[str, Fault], setup: str
) -> None:
    way, fault = case
    broken, count = SETUPS[setup]
    calls, status, text, code = outcome(fault, setup, streaming=way == "stream")
    is_here = not isinstance(fault.does, str)
    for place, each in enumerate(upstreams):
        each.on(setup, fault.does if is_here and place < broken else Say(GOOD))
    before = counters((await client.get("/metrics")).text)

    answer = await ask(client, setup, stream=way == "stream")

    # what reaches the client, to its last byte
    assert (answer.status_code, *received(answer)) == (status, text, code)
    assert (answer.headers.get("retry-after") == "60") == (fault is FAULTS["429-for-long"] and status == 429)
    # attempts, none of which goes on: what a silent replica waits for is the end of its connection
    for each in upstreams:
        await each.wait_idle()
    states = await replicas(client, setup)
    assert [state["calls"] for state in states] == calls
    if is_here:
        assert [len(each.calls(setup)) for each in upstreams[:count]] == calls
    # breakers
    against = [asked * (place < broken) for place, asked in enumerate(calls)]
    assert [state["errors"] for state in states] == [asked * fault.counts for asked in against]
    assert [(state["failures_in_a_row"], state["state"]) for state in states] == [*map(fault.failures, against)]
    # metrics
    assert await grown(client, before) == counted(setup, sum(calls), status, code)
    # what the limits gave back, and the slots: the next request finds both
    for each in upstreams:
        each.on(setup, Say(GOOD))
    after = await ask(client, setup, stream=False)
    assert left(answer, "requests") == REQUESTS - 1
    assert left(after, "requests") == REQUESTS - 2
    asked_for = estimate_tokens(QUESTION)
    charge, used = asked_for + MOST, 0
    if fault.received:
        used += sum(calls[:broken]) * (asked_for + estimate_tokens(fault.received))
    if code is None:
        used += 1 + len(GOOD.split())  # as the upstream counts
    assert left(answer, "tokens") == TOKENS - charge
    assert left(after, "tokens") == TOKENS - used - charge
    if is_here:
        assert received(after) == (GOOD, None)
