"""Embedding requests of many clients over one upstream call, on real sockets and in both dialects
(K3).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.kit import Behaviour, Gate, Hang, Recorded, Say, ScriptedUpstream, ServerProcess, Status
from tests.kit.fixtures import connected
from tests.kit.render import vector_of
from tests.server.running import Running, running
from tests.server.test_queue import wait_for

pytestmark = pytest.mark.requirement("K3")
CALLERS = 12
CONFIG = """
[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
max_concurrency = 1
{batch}
[[model]]
name = "local"
provider = "ollama"
api_base = "{base}"
retries = 0
{batch}
[[model]]
name = "kimi"
api_base = "{base}/v1"
"""
FULL = f"embedding_batch = {{ max_batch_size = {CALLERS}, window_ms = 10000 }}"
"""A batch that goes when all have come: no test waits for a window."""


@pytest.fixture
async def served(scripted: ScriptedUpstream) -> AsyncIterator[Running]:
    with running(CONFIG.format(base=scripted.base, batch=FULL)) as started:
        scripted.on("glm", Say()).on("local", Say())
        yield started


@pytest.fixture
async def client(served: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(served.base) as client:
        yield client


async def embed(client: httpx.AsyncClient, path: str, model: str, text: str, **more: Any) -> httpx.Response:
    name = "prompt" if path == "/api/embeddings" else "input"
    return await client.post(path, json={"model": model, name: text, **more})


def vector(path: str, response: httpx.Response) -> list[float]:
    body = response.json()
    match path:
        case "/v1/embeddings":
            values: list[float] = body["data"][0]["embedding"]
        case "/api/embed":
            values = body["embeddings"][0]
        case _:
            values = body["embedding"]
    return values


def refusing(word: str, status: int = 400) -> Any:
    """Refuses every call that holds `word` in one of its inputs, and says so as upstreams do."""

    def behave(request: Recorded) -> Behaviour:
        bad = [text for text in request.json["input"] if word in text]
        return Status(status, {"error": {"message": f"too long: {bad[0]}"}}) if bad else Say()

    return behave


@pytest.mark.parametrize("model", ["glm", "local"])
@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed", "/api/embeddings"])
async def test_many_callers_one_call_and_each_its_own_vector(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str, model: str
) -> None:
    responses: dict[str, httpx.Response] = {}

    async def ask(text: str) -> None:
        responses[text] = await embed(client, path, model, text)

    async with anyio.create_task_group() as group:
        for number in range(CALLERS):
            group.start_soon(ask, "word " * number + f"text {number}")
    for text, response in responses.items():
        assert vector(path, response) == pytest.approx(vector_of(text))
    [call] = scripted.calls(model)
    assert sorted(call.json["input"]) == sorted(responses)
    if path == "/v1/embeddings":
        counted = {text: response.json()["usage"]["prompt_tokens"] for text, response in responses.items()}
        assert sum(counted.values()) == sum(len(text.split()) for text in responses)
        for text, tokens in counted.items():
            assert abs(tokens - sum(counted.values()) * len(text) / sum(map(len, counted))) < 1


async def test_dialects_share_a_call_and_dimensions_do_not(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    async with anyio.create_task_group() as group:
        for number in range(CALLERS):
            path = ("/v1/embeddings", "/api/embed", "/api/embeddings")[number % 3]
            group.start_soon(embed, client, path, "glm", f"text {number}")
    async with anyio.create_task_group() as group:
        for number in range(2 * CALLERS):
            dimensions = (4, 8)[number % 2]
            group.start_soon(
                lambda n, d: embed(client, "/api/embed", "glm", f"text {n}", dimensions=d), number, dimensions
            )
    calls = [(call.json.get("dimensions"), len(call.json["input"])) for call in scripted.calls("glm")]
    assert sorted(calls[1:]) == [(4, CALLERS), (8, CALLERS)]
    assert calls[0] == (None, CALLERS)


async def test_without_the_key_nothing_is_merged(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    scripted.on("kimi", Say())
    async with anyio.create_task_group() as group:
        for number in range(CALLERS):
            group.start_soon(embed, client, "/v1/embeddings", "kimi", f"text {number}")
    assert len(scripted.calls("kimi")) == CALLERS


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_one_bad_input_fails_alone(client: httpx.AsyncClient, scripted: ScriptedUpstream, status: int) -> None:
    scripted.on("glm", refusing("bad", status))
    responses: dict[str, httpx.Response] = {}

    async def ask(text: str) -> None:
        responses[text] = await embed(client, "/v1/embeddings", "glm", text)

    async with anyio.create_task_group() as group:
        for number in range(CALLERS):
            group.start_soon(ask, "bad" if number == 7 else f"text {number}")
    bad = responses.pop("bad")
    assert (bad.status_code, bad.json()["error"]["code"]) == (400, "upstream_refused")
    assert bad.json()["error"]["message"].endswith("too long: bad")
    for text, response in responses.items():
        assert vector("/v1/embeddings", response) == pytest.approx(vector_of(text))
    assert len(scripted.calls("glm")) < CALLERS


async def test_when_the_upstream_fails_everybody_is_told_and_nobody_of_the_others_text(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    scripted.on("glm", lambda request: Status(500, {"error": {"message": f"cannot do {request.json['input']}"}}))
    responses: list[httpx.Response] = []

    async def ask(text: str) -> None:
        responses.append(await embed(client, "/v1/embeddings", "glm", text))

    async with anyio.create_task_group() as group:
        for number in range(CALLERS):
            group.start_soon(ask, f"secret {number}")
    assert [response.status_code for response in responses] == [502] * CALLERS
    assert not any("secret" in response.text for response in responses)
    assert len(scripted.calls("glm")) == 1


async def test_who_leaves_hurts_nobody_and_when_all_have_left_the_call_ends(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    gate, answered = Gate(), []
    scripted.on("glm", Say(gate=gate))
    scopes = [anyio.CancelScope() for _ in range(CALLERS)]

    async def ask(number: int) -> None:
        with scopes[number]:
            answered.append((number, await embed(client, "/v1/embeddings", "glm", f"text {number}")))

    async with anyio.create_task_group() as group:
        for number in range(CALLERS):
            group.start_soon(ask, number)
        await scripted.wait_requests(1)
        for scope in scopes[:-1]:
            scope.cancel()
        gate.open()
    [(number, response)] = answered
    assert vector("/v1/embeddings", response) == pytest.approx(vector_of(f"text {number}"))
    assert not scripted.calls("glm")[0].was_cancelled

    scripted.on("glm", Say(gate=Gate()))
    scopes[:] = [anyio.CancelScope() for _ in range(CALLERS)]
    async with anyio.create_task_group() as group:
        for number in range(CALLERS):
            group.start_soon(ask, number)
        await scripted.wait_requests(2)
        for scope in scopes:
            scope.cancel()
    await scripted.wait_idle()
    assert scripted.calls("glm")[1].was_cancelled


async def test_embeddings_go_through_the_gate_of_their_model(scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("glm", Say(gate=gate))
    with running(CONFIG.format(base=scripted.base, batch="")) as served:
        async with connected(served.base) as client, anyio.create_task_group() as group:
            for number in range(3):
                group.start_soon(embed, client, "/v1/embeddings", "glm", f"text {number}")
            await scripted.wait_requests(1)
            await wait_for(client, 2)
            assert len(scripted.calls("glm")) == 1
            gate.open()
    assert len(scripted.calls("glm")) == 3
    assert scripted.max_in_flight == 1


SMALL = "embedding_batch = { max_batch_size = 2, window_ms = 300 }"


@pytest.mark.requirement("C12")
async def test_a_reload_leaves_batches_on_their_way(scripted: ScriptedUpstream) -> None:
    """One call is out and one more request waits for others when the model is taken away: all three
    are answered.
    """
    gate, responses = Gate(), []
    scripted.on("local", Say(gate=gate))
    text = CONFIG.format(base=scripted.base, batch=SMALL.replace("300", "3000"))
    with ServerProcess(text, env={"CHORUS_LOG": "error"}) as server:
        async with connected(server.base) as client, anyio.create_task_group() as group:

            async def ask(word: str) -> None:
                responses.append((word, await embed(client, "/api/embed", "local", word)))

            for word in ("one", "two"):
                group.start_soon(ask, word)
            await scripted.wait_requests(1)
            group.start_soon(ask, "three")
            await client.get("/health")  # sent after it, so it has come
            server.reload(text.replace('"local"', '"other"'))
            with anyio.fail_after(5):
                while "other" not in (await client.get("/v1/models")).text:
                    pass
            gate.open()
    assert sorted(word for word, _ in responses) == ["one", "three", "two"]
    for word, response in responses:
        assert vector("/api/embed", response) == pytest.approx(vector_of(word))


@pytest.mark.requirement("A8")
async def test_a_server_that_stops_lets_batches_finish(scripted: ScriptedUpstream) -> None:
    gate, statuses = Gate(), []
    scripted.on("local", Say(gate=gate))
    with ServerProcess(CONFIG.format(base=scripted.base, batch=SMALL), env={"CHORUS_LOG": "error"}) as server:
        async with connected(server.base) as client, anyio.create_task_group() as group:

            async def ask(number: int) -> None:
                statuses.append((await embed(client, "/api/embed", "local", f"text {number}")).status_code)

            for number in range(3):
                group.start_soon(ask, number)
            await scripted.wait_requests(2)
            server.terminate()
            gate.open()
        assert await anyio.to_thread.run_sync(server.stop) == 0
    assert statuses == [200] * 3


@pytest.mark.requirement("A8")
async def test_a_call_that_outlives_the_drain_time_is_cut(scripted: ScriptedUpstream) -> None:
    scripted.on("local", Hang("headers"))
    text = "[server]\ndrain_timeout_secs = 1\n" + CONFIG.format(base=scripted.base, batch=SMALL)
    with ServerProcess(text, env={"CHORUS_LOG": "error"}) as server:
        async with connected(server.base) as client, anyio.create_task_group() as group:

            async def ask(number: int) -> None:
                assert (await embed(client, "/api/embed", "local", f"text {number}")).status_code >= 500

            for number in range(2):
                group.start_soon(ask, number)
            await scripted.wait_requests(1)
            server.terminate()
        assert await anyio.to_thread.run_sync(server.stop) == 0
    await scripted.wait_idle()
    assert scripted.calls("local")[0].was_cancelled


async def test_who_has_no_time_left_is_told_so(scripted: ScriptedUpstream) -> None:
    scripted.on("local", Hang("headers"))
    times = "[timeouts]\nfirst_byte_timeout_secs = 1\n"
    with running(CONFIG.format(base=scripted.base, batch=SMALL) + times) as served:
        responses: list[httpx.Response] = []
        async with connected(served.base) as client, anyio.create_task_group() as group:

            async def ask(number: int) -> None:
                responses.append(await embed(client, "/v1/embeddings", "local", f"text {number}"))

            for number in range(2):
                group.start_soon(ask, number)
    assert [(each.status_code, each.json()["error"]["code"]) for each in responses] == [(504, "upstream_timeout")] * 2
    await scripted.wait_idle()
    assert scripted.calls("local")[0].was_cancelled
