"""Replicas of a model that is relayed to: who gets a request whose first replica fails (D1, L4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.kit import Cut, Empty, Hang, Raw, ScriptedUpstream, Status
from tests.kit.fixtures import connected
from tests.kit.providers.relayed import AUDIO, form, relayed
from tests.server.running import Running, running

pytestmark = [pytest.mark.requirement("D1"), pytest.mark.requirement("L4")]
PATH = "/v1/audio/transcriptions"
CONFIG = """
[[model]]
name = "m"
model = "upstream-name"
replicas = [
    {{ api_base = "{first}/v1", weight = 1000 }},
    {{ api_base = "{second}/v1", weight = 1 }},
]
balance = "weighted"
retries = 1
timeouts = {{ first_byte_timeout_secs = {secs}, idle_timeout_secs = {secs} }}
"""
LARGE = b"x" * 600_000
BODIES: dict[str, dict[str, Any]] = {
    "json": {"json": {"model": "m", "prompt": "x"}},
    "held": dict(zip(("content", "headers"), form(("model", "m", None), ("file", AUDIO, "a")), strict=True)),
    "spooled": dict(zip(("content", "headers"), form(("file", LARGE, "a"), ("model", "m", None)), strict=True)),
    "streamed": dict(zip(("content", "headers"), form(("model", "m", None), ("file", LARGE, "a")), strict=True)),
}


@dataclass
class Served:
    running: Running
    first: ScriptedUpstream
    second: ScriptedUpstream

    async def post(self, kind: str) -> httpx.Response:
        path = "/v1/images/generations" if kind == "json" else PATH
        async with connected(self.running.base) as client:
            return await client.post(path, **BODIES[kind])

    def breaks(self, step: Any) -> None:
        for path in (PATH, "/v1/images/generations"):
            self.first.on(path, step)


@pytest.fixture(scope="module")
def upstreams() -> Iterator[tuple[ScriptedUpstream, ScriptedUpstream]]:
    with ScriptedUpstream.in_thread() as first, ScriptedUpstream.in_thread() as second:
        yield first, second


@pytest.fixture
def served(upstreams: tuple[ScriptedUpstream, ScriptedUpstream]) -> Iterator[Served]:
    first, second = upstreams
    for upstream in upstreams:
        upstream.forget()
        relayed(upstream)
    with running(CONFIG.format(first=first.base, second=second.base, secs=20)) as started:
        yield Served(started, first, second)


FAULTS = {
    "500": Status(500), "503": Status(503), "429": Status(429), "closed": Cut(None),
    "no HTTP": Raw([b"what?\r\n\r\n"], head=False), "no body": Raw([b'{"te'], content_type="application/json"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ["500", "503", "429", "closed", "no HTTP"])
@pytest.mark.parametrize("kind", ["json", "held", "spooled"])
async def test_a_body_that_is_kept_is_sent_again(served: Served, kind: str, fault: str) -> None:
    served.breaks(FAULTS[fault])
    response = await served.post(kind)
    assert response.status_code == 200, response.text
    assert [len(served.first.requests), len(served.second.requests)] == [1, 1]
    assert served.first.requests[0].body == served.second.requests[0].body
    id = response.headers["x-chorus-workflow-id"]
    async with connected(served.running.base) as client:
        (worker,) = (await client.get(f"/api/v1/workflows/{id}")).json()["workers"]
        page = (await client.get("/metrics")).text
    assert (worker["attempts"], len(worker["instances"])) == (2, 2)
    assert worker["relayed"]["bytes_in"] == len(served.second.requests[0].body)
    assert 'llm_retries_total{model="m"} 1.0' in page


@pytest.mark.parametrize("fault", ["500", "503", "429", "closed", "no HTTP"])
async def test_one_that_was_streamed_is_not(served: Served, fault: str) -> None:
    served.breaks(FAULTS[fault])
    response = await served.post("streamed")
    assert response.status_code in (429, 502)
    assert served.second.requests == []
    assert response.headers.get("x-should-retry") is None  # the client has the file


@pytest.mark.parametrize("kind", BODIES)
async def test_nothing_was_sent_where_there_is_no_connection(
    upstreams: tuple[ScriptedUpstream, ScriptedUpstream], kind: str
) -> None:
    _, second = upstreams
    second.forget()
    relayed(second)
    with running(CONFIG.format(first="http://127.0.0.1:1", second=second.base, secs=20)) as started:
        served = Served(started, second, second)
        for _ in range(4):
            assert (await served.post(kind)).status_code == 200
        async with connected(started.base) as client:
            state = (await client.get("/api/v1/upstreams")).text
    assert '"state":"open"' in state
    assert len(second.requests) == 4


@pytest.mark.parametrize("kind", ["json", "spooled"])
async def test_a_refusal_is_not_repeated(served: Served, kind: str) -> None:
    served.breaks(Status(400, {"error": {"message": "no such voice"}}))
    response = await served.post(kind)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "upstream_refused")
    assert served.second.requests == []


async def test_an_answer_that_breaks_off_before_its_first_byte(served: Served) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
    served.breaks(Raw([head], head=False))
    assert (await served.post("json")).status_code == 200
    assert len(served.second.requests) == 1


async def test_an_empty_answer_is_one(served: Served) -> None:
    served.breaks(Empty())
    response = await served.post("json")
    assert (response.status_code, response.content) == (200, b"")
    assert served.second.requests == []


async def test_one_that_was_delivered_in_part_is_cut(served: Served) -> None:
    served.breaks(FAULTS["no body"])
    served.first.on("/v1/images/generations", Raw([b"1\r\n{\r\n"], head=False))
    head = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"a":\r\n'
    served.first.on("/v1/images/generations", Raw([head], head=False))
    with pytest.raises(httpx.RemoteProtocolError):
        await served.post("json")
    assert served.second.requests == []


@pytest.mark.parametrize(("kind", "status"), [("json", 504), ("held", 504), ("streamed", 504)])
async def test_an_upstream_that_is_silent(
    upstreams: tuple[ScriptedUpstream, ScriptedUpstream], kind: str, status: int
) -> None:
    first, second = upstreams
    for upstream in upstreams:
        upstream.forget()
        for path in (PATH, "/v1/images/generations"):
            upstream.on(path, Hang("connect"))
    with running(CONFIG.format(first=first.base, second=second.base, secs=0.3)) as started:
        response = await Served(started, first, second).post(kind)
        assert (response.status_code, response.json()["error"]["code"]) == (status, "upstream_timeout")
        assert "did not begin its answer within 0.3 s" in response.json()["error"]["message"]
        await first.wait_idle()
        async with connected(started.base) as client:
            errors = (await client.get("/api/v1/upstreams")).json()
    assert sum(replica["errors"] for model in errors["upstreams"] for replica in model["replicas"]) == 1
