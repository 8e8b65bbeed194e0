"""Keys, rate limits, budgets, slots and priorities hold for what is relayed (S1, K1, K2, M6)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from chorus.auth.budget import KeyBudget
from chorus.auth.keys import KeyFile
from tests.kit import Gate, Say, ScriptedUpstream, ServerProcess
from tests.kit.fixtures import connected
from tests.kit.providers.relayed import AUDIO, form, relayed
from tests.server.relay.raw import RawUpstream, head, raw_client
from tests.server.running import running

PATHS = (
    "/v1/rerank", "/v2/rerank", "/rerank", "/v1/images/generations", "/v1/images/edits", "/v1/images/variations",
    "/v1/audio/transcriptions", "/v1/audio/translations", "/v1/audio/speech", "/v1/moderations",
)  # fmt: skip
MODELS = """
[[model]]
name = "m"
model = "upstream-name"
api_base = "{base}/v1"
retries = 0
price = {{ input = 1000.0, output = 1000.0 }}
{m}
[[model]]
name = "other"
model = "upstream-name"
api_base = "{base}/v1"
"""
FORM, FORM_HEADERS = form(("file", AUDIO, "a"), ("model", "m", None))


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as started:
        relayed(started)
        yield started


def config(upstream: ScriptedUpstream, more: str = "", m: str = "") -> str:
    return MODELS.format(base=upstream.base, m=m) + more


def sent(path: str, model: str = "m") -> dict[str, Any]:
    """A request that the upstream takes."""
    fields = {"model": model, "query": "q", "documents": ["a"]}
    if path.startswith("/v1/images/"):
        fields = {"model": model, "prompt": "x"}
    elif path == "/v1/audio/speech":
        fields = {"model": model, "input": "x", "voice": "y"}
    elif path == "/v1/moderations":
        fields = {"model": model, "input": "x"}
    if path in ("/v1/images/edits", "/v1/images/variations") or path.startswith("/v1/audio/tra"):
        name = "image" if "images" in path else "file"
        more = [("prompt", "x", None)] if path.endswith("edits") else []
        body, headers = form((name, AUDIO, "a"), ("model", model, None), *more)  # type: ignore[arg-type]
        return {"content": body, "headers": headers}
    return {"json": fields}


@pytest.mark.requirement("S1")
async def test_keys(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    text, _ = KeyFile(path).create("ann", role="client", models=("m",), expires=None)
    toml = f'[server]\nrequire_auth = true\nkeys_file = "{path}"\n' + config(upstream)
    with ServerProcess(toml) as server:
        async with connected(server.base) as client:
            for route in PATHS:
                assert (await client.post(route, **sent(route))).status_code == 401
            client.headers["authorization"] = f"Bearer {text}"
            for route in PATHS:
                response = await client.post(route, **sent(route))
                assert response.status_code == 200, response.text
                refused = await client.post(route, **sent(route, "other"))
                assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden_model")
            usage = (await client.get("/api/v1/usage?group_by=model")).json()
    assert len(upstream.requests) == len(PATHS)
    assert usage["data"][0]["requests"] == len(PATHS)
    assert "sk-" not in str([request.headers for request in upstream.requests])


@pytest.mark.requirement("K1")
@pytest.mark.parametrize("path", PATHS)
async def test_a_limit_of_a_route(upstream: ScriptedUpstream, path: str) -> None:
    with running(config(upstream, f'[limits.routes."{path}"]\nrequests = "1/hour"\n')) as server:
        async with connected(server.base) as client:
            first = await client.post(path, **sent(path))
            assert (first.status_code, first.headers["x-ratelimit-remaining-requests"]) == (200, "0")
            second = await client.post(path, **sent(path))
    assert (second.status_code, second.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert int(second.headers["retry-after"]) > 0


@pytest.mark.requirement("K1")
async def test_tokens_are_charged_as_they_are_reported(upstream: ScriptedUpstream) -> None:
    with running(config(upstream, '[limits]\ntokens = "10000/day"\n')) as server:
        async with connected(server.base) as client:
            for left in (9955, 9910):
                response = await client.post("/v1/images/generations", json={"model": "m", "prompt": "x"})
                assert response.status_code == 200
                settled = await client.post("/v1/chat/completions", json={"model": "none", "messages": []})
                assert settled.status_code == 404 or settled.status_code == 400
                standing = await client.post("/v1/audio/transcriptions", content=FORM, headers=FORM_HEADERS)
                assert standing.status_code == 200
                assert left - 50 < int(standing.headers["x-ratelimit-remaining-tokens"]) <= left + 10


@pytest.mark.requirement("M6")
async def test_a_budget_that_is_spent(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    text, _ = KeyFile(path).create("ann", role="client", models=(), expires=None, budget=KeyBudget(0.001, "day"))
    toml = f'[server]\nrequire_auth = true\nkeys_file = "{path}"\n' + config(upstream)
    with ServerProcess(toml) as server:
        async with connected(server.base) as client:
            client.headers["authorization"] = f"Bearer {text}"
            body = {"model": "m", "prompt": "x"}
            assert (await client.post("/v1/images/generations", json=body)).status_code == 200
            refused = await client.post("/v1/images/generations", json=body)
            for route in PATHS:
                assert (await client.post(route, **sent(route))).status_code == 429
            usage = (await client.get("/api/v1/usage")).json()
    assert refused.json()["error"]["code"] == "budget_exhausted"
    assert len(upstream.requests) == 1
    assert usage["data"][0]["cost"] == pytest.approx(0.045)


@pytest.mark.requirement("K2")
@pytest.mark.parametrize("where", ["server", "model"])
async def test_requests_wait_for_a_slot_by_their_priority(upstream: ScriptedUpstream, where: str) -> None:
    gate, order = Gate(), list[str]()
    upstream.on("/v1/rerank", lambda recorded: order.append(recorded.json["query"]) or Say("x", gate=gate))  # type: ignore[func-returns-value]
    limit = "max_concurrency = 1\nmax_waiting = 2\n"
    toml = ("[server]\n" + limit if where == "server" else "") + config(upstream, m=limit if where == "model" else "")
    with running(toml) as server:
        async with connected(server.base) as client, anyio.create_task_group() as group:

            async def ask(query: str, priority: str) -> None:
                body = {"model": "m", "query": query, "documents": []}
                response = await client.post("/v1/rerank", json=body, headers={"x-priority": priority})
                assert response.status_code == 200

            group.start_soon(ask, "first", "default")
            await upstream.wait_requests(1)
            group.start_soon(ask, "late", "batch")
            await _waiting(client, 1)
            group.start_soon(ask, "soon", "interactive")
            await _waiting(client, 2)
            refused = await client.post("/v1/rerank", json={"model": "m", "query": "", "documents": []})
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
            gate.open()
    assert order == ["first", "soon", "late"]


@pytest.mark.requirement("K2")
async def test_a_form_waits_for_a_slot_without_being_read() -> None:
    body, _ = form(("model", "m", None), ("file", b"x" * 5_000_000, "a"))
    with RawUpstream() as upstream:
        toml = "[server]\nmax_concurrency = 1\nmax_waiting = 2\n" + MODELS.format(base=upstream.base, m="")
        with running(toml) as server:
            async with connected(server.base) as client, anyio.create_task_group() as group:

                async def ask() -> None:
                    await client.post("/v1/moderations", json={"model": "m", "input": "x"})

                group.start_soon(ask)
                holder = await upstream.accept()
                await holder.until(b"}")
                async with raw_client(server.base) as uploader:
                    kind = "multipart/form-data; boundary=b0undary"
                    group.start_soon(uploader.send, head("/v1/audio/transcriptions", kind, len(body)) + body)
                    await _waiting(client, 1)
                    await holder.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    while b"--b0undary--" not in holder.received:
                        await holder.receive() or holder.close()
                        if len(holder.received) == 0:
                            holder = await upstream.accept()
                    await holder.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    assert b" 200 OK" in await uploader.until(b"{}")


@pytest.mark.requirement("W13")
@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/audio/transcriptions"])
async def test_a_client_that_leaves_cancels_the_call(upstream: ScriptedUpstream, path: str) -> None:
    gate = Gate()
    upstream.on(path, Say("x", gate=gate))
    with running(config(upstream, m="max_concurrency = 1\n")) as server:
        async with connected(server.base) as client:
            with anyio.move_on_after(0.5):
                await client.post(path, **sent(path))
            await upstream.wait_idle()
            assert upstream.requests[-1].was_cancelled
            gate.open()
            assert (await client.post("/v1/moderations", **sent("/v1/moderations"))).status_code == 200
            page = (await client.get("/metrics")).text
    assert 'chorus_runs_total{status="cancelled",workflow="m"} 1.0' in page


@pytest.mark.requirement("O4")
async def test_a_live_call_is_cancelled_by_its_id(upstream: ScriptedUpstream) -> None:
    upstream.on("/v1/rerank", Say("x", gate=Gate()))
    with running(config(upstream)) as server:
        async with connected(server.base) as client, anyio.create_task_group() as group:

            async def ask() -> None:
                response = await client.post("/v1/rerank", **sent("/v1/rerank"))
                assert (response.status_code, response.json()["error"]["code"]) == (499, "run_cancelled")

            group.start_soon(ask)
            await upstream.wait_requests(1)
            (run,) = (await client.get("/api/v1/runs")).json()["runs"]
            assert run["state"] == "running"
            await client.post(f"/api/v1/runs/{run['id']}/cancel")


async def _waiting(client: httpx.AsyncClient, count: int) -> None:
    """Wait until so many requests wait for a slot."""
    with anyio.fail_after(5):
        while True:
            lines = (await client.get("/metrics")).text.splitlines()
            if sum(float(line.split()[-1]) for line in lines if line.startswith("queue_length{")) == count:
                return
