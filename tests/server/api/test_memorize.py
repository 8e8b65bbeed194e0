"""With `[memory] model` an exchange is read after its answer, and notes are written (M4)."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

import anyio.to_thread
import httpx
import pytest

from chorus import config as configuration
from chorus import wirejson
from chorus.errors import ConfigError
from chorus.events import Event
from chorus.snapshot import workflow_problems
from tests.kit import Behaviour, Gate, Recorded, Say, ScriptedUpstream, Status
from tests.server.api.test_memory import ANN, MEMORY, MODEL
from tests.server.running import Running, running

pytestmark = pytest.mark.requirement("M4")

CHAT: Final = "/v1/chat/completions"
CONFIG: Final = (
    MODEL
    + """
[[model]]
name = "noter"
api_base = "{base}/v1"
retries = 0
[memory]
model = "noter"
"""
)


def noting(*notes: dict[str, Any], **options: Any) -> Any:
    """A model that finds `notes`."""

    def behave(request: Recorded) -> Behaviour:
        mark = re.search(r'"mark": "(\w+)"', request.json["messages"][0]["content"])
        assert mark is not None
        return Say(wirejson.encode({"mark": mark[1], "notes": notes}).decode(), **options)

    return behave


@pytest.fixture
def server(upstream: ScriptedUpstream) -> Iterator[Running]:
    upstream.forget()
    upstream.on("glm", Say("Nice to meet you."))
    with running(CONFIG.format(base=upstream.base)) as served:
        yield served


@pytest.fixture
async def client(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.base, trust_env=False, headers=ANN) as client:
        yield client


class Traces:
    """Waits for the stages that come to the traces of `server` after their runs."""

    def __init__(self, server: Running) -> None:
        memorizer = server.chorus.memory.memorizer
        self._keep = memorizer._keep
        self._kept = threading.Event()
        memorizer._keep = self._note
        self._server = server

    def _note(self, workflow_id: str, events: Sequence[Event]) -> None:
        self._keep(workflow_id, events)
        self._kept.set()

    async def with_stage(self, reply: httpx.Response) -> dict[str, Any]:
        """Return the trace of the run behind `reply` when `memorize` has ended."""
        assert await anyio.to_thread.run_sync(self._kept.wait, 10)
        return await self._server.chorus.past_runs.trace(reply.headers["x-chorus-workflow-id"])


@pytest.fixture
def traces(server: Running) -> Traces:
    return Traces(server)


async def tell(client: httpx.AsyncClient, text: str = "I am Ann.", **fields: Any) -> httpx.Response:
    body = {"model": "glm", "messages": [{"role": "user", "content": text}], **fields}
    reply = await client.post(CHAT, json=body)
    assert reply.status_code == 200
    return reply


async def notes(client: httpx.AsyncClient) -> Any:
    return (await client.get(MEMORY)).json()["notes"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_model_notes_what_the_user_says(
    upstream: ScriptedUpstream, client: httpx.AsyncClient, traces: Traces, stream: bool
) -> None:
    await client.put(MEMORY, json={"notes": {"language": "German", "city": "Bonn"}})
    upstream.on("noter", noting({"key": "name", "text": "Ann"}, {"key": "city", "text": None}))
    trace = await traces.with_stage(await tell(client, stream=stream))
    assert await notes(client) == {"language": "German", "name": "Ann"}
    stage = trace["memorize"]
    assert (stage["status"], stage["model"], stage["notes"]) == ("ok", "noter", 2)
    assert stage["usage"]["total_tokens"] > 0
    assert (trace["status"], trace["usage"]) == ("ok", trace["workers"][0]["usage"])
    assert trace["duration_ms"] <= stage["started_ms"]
    [asked] = upstream.calls("noter")
    system, data = (message["content"] for message in asked.json["messages"])
    assert "I am Ann." in data
    assert "Nice to meet you." in data
    assert "German" in data
    assert "I am Ann." not in system


async def test_the_client_does_not_wait(upstream: ScriptedUpstream, client: httpx.AsyncClient, traces: Traces) -> None:
    gate = Gate()
    upstream.on("noter", noting({"key": "name", "text": "Ann"}, gate=gate))
    reply = await tell(client)
    await upstream.wait_requests(1, model="noter")
    assert await notes(client) == {}
    gate.open()
    await traces.with_stage(reply)
    assert await notes(client) == {"name": "Ann"}


@pytest.mark.parametrize("answer", [Status(500), Say("Nothing to note.")])
async def test_what_goes_wrong_is_in_the_trace_and_nowhere_else(
    upstream: ScriptedUpstream, client: httpx.AsyncClient, traces: Traces, answer: Behaviour
) -> None:
    upstream.on("noter", answer)
    trace = await traces.with_stage(await tell(client))
    assert (trace["memorize"]["status"], trace["status"]) == ("failed", "ok"), "the answer was whole"
    assert trace["errors"] == []
    [note] = trace["notes"]
    assert note.startswith("The exchange was not noted: ")
    assert await notes(client) == {}


async def test_a_server_that_stops_writes_the_notes_first(upstream: ScriptedUpstream) -> None:
    upstream.forget()
    upstream.on("glm", Say("Hello")).on("noter", noting({"key": "name", "text": "Ann"}, first_token=0.2))
    with running(CONFIG.format(base=upstream.base)) as server:
        async with httpx.AsyncClient(base_url=server.base, trust_env=False, headers=ANN) as client:
            reply = await tell(client)
        written = []
        update = server.chorus.storage.profiles.update

        async def record(*args: Any) -> Any:
            written.append((await update(*args)).notes)

        server.chorus.storage.profiles.update = record  # type: ignore[assignment]
    assert written == [{"name": "Ann"}]
    assert (await server.chorus.past_runs.trace(reply.headers["x-chorus-workflow-id"]))["memorize"]["status"] == "ok"


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        ({"x-user-id": ""}, {}),
        ({"x-chorus-memory": "off"}, {}),
        ({}, {"memory": False}),
        ({}, {"messages": [{"role": "system", "content": "Go on."}]}),
    ],
)
async def test_a_request_without_memory_is_not_read(
    upstream: ScriptedUpstream, client: httpx.AsyncClient, headers: dict[str, str], fields: dict[str, Any]
) -> None:
    body = {"model": "glm", "messages": [{"role": "user", "content": "I am Ann."}], **fields}
    assert (await client.post(CHAT, json=body, headers=headers)).status_code == 200
    assert upstream.calls("noter") == []


async def test_the_model_has_to_exist() -> None:
    text = CONFIG.format(base="http://127.0.0.1:1").replace('model = "noter"', 'model = "nobody"')
    with pytest.raises(ConfigError) as raised:
        configuration.loads(text, environ={}, find_problems=workflow_problems)
    assert "[memory] model" in str(raised.value)


@pytest.mark.requirement("M6")
async def test_reading_an_exchange_is_counted_for_its_user(
    upstream: ScriptedUpstream, client: httpx.AsyncClient, traces: Traces
) -> None:
    upstream.on("noter", noting({"key": "name", "text": "Ann"}))
    await tell(client)
    assert await anyio.to_thread.run_sync(traces._kept.wait, 10)
    rows = (await client.get("/api/v1/usage", params={"group_by": "user,model"})).json()["data"]
    user = ANN["x-user-id"]
    assert [(row["user"], row["model"], row["requests"], row["calls"]) for row in rows] == [
        (user, "glm", 1, 1),
        (user, "noter", 0, 1),
    ]
    assert all(row["prompt_tokens"] > 0 for row in rows)


async def test_its_call_is_charged_to_the_limits_of_its_model(upstream: ScriptedUpstream) -> None:
    upstream.forget()
    upstream.on("glm", Say("Hello")).on("noter", noting({"key": "name", "text": "Ann"}))
    limits = '[limits.models.noter]\nrequests = "1/day"\n'
    with running(CONFIG.format(base=upstream.base) + limits) as server:
        async with httpx.AsyncClient(base_url=server.base, trust_env=False, headers=ANN) as client:
            stages = []
            for _ in range(2):
                traces = Traces(server)
                stages.append((await traces.with_stage(await tell(client)))["memorize"])
    assert [stage["status"] for stage in stages] == ["ok", "failed"]
    assert stages[1]["error"]["code"] == "rate_limit_exceeded"
    assert len(upstream.calls("noter")) == 1
