"""The feed of a run: every event of it, for its client and for those who follow it by its id
(O4).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest

from chorus.auth.keys import KeyFile
from chorus.server.dialects.native.events import EVENT_TYPES
from tests.kit import Gate, Hang, Say, ScriptedUpstream, ServerProcess, Status
from tests.kit.sse import ServerSent, read_server_sent, server_sent

pytestmark = pytest.mark.requirement("O5")

RUN: Final = "/api/v1/run"
RUNS: Final = "/api/v1/runs"


async def run(client: httpx.AsyncClient, model: str = "chorus", **more: Any) -> list[ServerSent]:
    answer = await client.post(RUN, json={"model": model, "question": "How?", **more})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    return server_sent(answer.text)


def texts(events: list[ServerSent], path: str) -> str:
    return "".join(
        event.data.get("text", "") for event in events if event.type == "delta" and event.data["path"] == path
    )


async def test_every_event_of_the_run_has_its_number_and_its_type(client: httpx.AsyncClient) -> None:
    events = await run(client)
    assert [event.id for event in events] == [str(number) for number in range(1, len(events) + 1)]
    assert [event.data["sequence_number"] for event in events] == [*range(1, len(events) + 1)]
    assert all(event.type == event.data["type"] for event in events)
    assert {event.type for event in events} == {*EVENT_TYPES} - {"run.failed", "workers.picked"}
    assert events[0].type == "run.started"
    assert events[0].data["run_id"].startswith("wf_")
    assert events[-1].type == "run.finished"
    assert events[-1].data["calls"] == 3


async def test_the_deltas_of_every_worker_are_there(client: httpx.AsyncClient) -> None:
    events = await run(client)
    assert texts(events, "0") == "one two three"
    assert texts(events, "1") == "one two four"
    inner = [event for event in events if event.type == "delta" and event.data["path"] in ("0", "1")]
    assert all(event.data["choice"] is None for event in inner)
    outer = [event.data.get("text", "") for event in events if event.type == "delta" and event.data["choice"] == 0]
    assert "".join(outer) == events[-1].data["answers"][0]["text"]


async def test_a_single_model_is_a_run_of_one_stage(client: httpx.AsyncClient) -> None:
    events = await run(client, "glm")
    assert [event.type for event in events if event.type != "delta"] == [
        "run.started", "stage.started", "stage.finished", "run.finished",
    ]  # fmt: skip
    assert texts(events, "0") == "one two three"


async def test_messages_and_sampling_go_to_the_models(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Why?"}]
    await client.post(RUN, json={"model": "glm", "messages": messages, "temperature": 0.5, "max_tokens": 7})
    [call] = scripted.calls("glm")
    assert call.json["messages"] == messages
    assert (call.json["temperature"], call.json["max_tokens"]) == (0.5, 7)


async def test_a_whole_answer_has_its_trace(client: httpx.AsyncClient) -> None:
    body = (await client.post(RUN, json={"model": "chorus", "question": "How?", "stream": False})).json()
    assert body["answers"][0]["finish_reason"] == "stop"
    assert body["workflow"]["workflow_id"] == body["run_id"]
    assert len(body["workflow"]["workers"]) == 2


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"model": "chorus"}, 400, "invalid_request", "messages"),
        ({"model": "chorus", "question": " "}, 400, "invalid_request", "question"),
        ({"model": "chorus", "question": 7}, 400, "invalid_request", "question"),
        ({"model": "chorus", "question": "a", "messages": [{"role": "user", "content": "b"}]}, 400, "invalid_request", "question"),
        ({"model": "chorus", "messages": []}, 400, "invalid_request", "messages"),
        ({"question": "a"}, 400, "invalid_request", "model"),
        ([], 400, "invalid_request", None),
        ({"model": "no-such", "question": "a"}, 404, "model_not_found", None),
    ],
)  # fmt: skip
async def test_a_wrong_request_is_refused_before_the_stream(
    client: httpx.AsyncClient, body: Any, status: int, code: str, param: str | None
) -> None:
    answer = await client.post(RUN, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    if param is not None:
        assert error["param"] == param


async def test_a_run_that_fails_ends_by_a_typed_event(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Status(500))
    events = await run(client, "glm")
    assert events[-1].type == "run.failed"
    assert events[-1].data["error"]["code"] == "upstream_status"
    assert events[-1].data["status"] == "failed"


async def test_a_client_that_leaves_cancels_the_run(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("one two", gate=Gate(), gate_at=1)).on("kimi", Hang("headers"))
    async with client.stream("POST", RUN, json={"model": "chorus", "question": "How?"}) as answer:
        run_id = answer.headers["x-chorus-workflow-id"]
        async for event in read_server_sent(answer.aiter_lines()):
            if event.type == "delta":
                break
    await scripted.wait_idle()
    state = (await client.get(f"{RUNS}/{run_id}")).json()
    assert (state["state"], state["error"]["code"]) == ("cancelled", "client_closed_request")


async def test_a_live_run_is_listed_and_followed(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("one two three", gate=(gate := Gate()), gate_at=1))
    async with client.stream("POST", RUN, json={"model": "glm", "question": "How?"}) as answer:
        run_id = answer.headers["x-chorus-workflow-id"]
        events = read_server_sent(answer.aiter_lines())
        seen = [await anext(events), await anext(events), await anext(events)]
        [live] = [row for row in (await client.get(RUNS)).json()["runs"] if row["id"] == run_id]
        assert (live["state"], live["model"], live["route"], live["events"]) == ("running", "glm", RUN, 3)
        async with client.stream("GET", f"{RUNS}/{run_id}/events?after=1") as followed:
            followers = read_server_sent(followed.aiter_lines())
            first = await anext(followers)
            assert first == seen[1]
            gate.open()
            rest = [first, *[event async for event in followers]]
        seen += [event async for event in events]
    assert rest == seen[1:]


async def test_without_keys_everybody_reads_traces(client: httpx.AsyncClient) -> None:
    assert (await client.get(RUNS)).json()["reads_traces"] is True


async def test_a_finished_run_is_read_again(client: httpx.AsyncClient) -> None:
    events = await run(client)
    url = f"{RUNS}/{events[0].data['run_id']}/events"
    assert server_sent((await client.get(url)).text) == events
    assert server_sent((await client.get(url, params={"after": 3})).text) == events[3:]
    resumed = await client.get(url, params={"after": 1}, headers={"Last-Event-ID": "5"})
    assert server_sent(resumed.text) == events[5:]
    over = await client.get(url, headers={"Last-Event-ID": events[-1].id})
    assert (over.status_code, over.content) == (204, b"")


@pytest.mark.parametrize("wrong", ["-1", "x", "1.5", "٣", "9" * 30])
async def test_a_number_that_is_none(client: httpx.AsyncClient, wrong: str) -> None:
    events = await run(client, "glm")
    answer = await client.get(f"{RUNS}/{events[0].data['run_id']}/events", params={"after": wrong})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "after")


async def test_runs_of_every_dialect_are_listed(client: httpx.AsyncClient) -> None:
    messages = [{"role": "user", "content": "How?"}]
    chat = await client.post("/v1/chat/completions", json={"model": "glm", "messages": messages})
    await client.post("/v1/responses", json={"model": "glm", "input": "How?"})
    await client.post("/api/chat", json={"model": "glm", "messages": messages, "stream": False})
    await client.post("/v1/messages", json={"model": "glm", "max_tokens": 9, "messages": messages})
    rows = (await client.get(RUNS, params={"limit": 4})).json()["runs"]
    assert [row["route"] for row in rows] == ["/v1/messages", "/api/chat", "/v1/responses", "/v1/chat/completions"]
    assert {row["state"] for row in rows} == {"completed"}
    assert rows[-1]["id"] == chat.headers["x-chorus-workflow-id"]
    events = server_sent((await client.get(f"{RUNS}/{rows[-1]['id']}/events")).text)
    assert events[-1].data["answers"][0]["text"] == "one two three"


@pytest.mark.parametrize("path", ["", "/events"])
async def test_an_unknown_run(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"{RUNS}/wf_000{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


async def test_a_stream_that_is_cancelled_by_its_id_ends_by_a_typed_event(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    scripted.on("glm", Say("one two three", gate=Gate(), gate_at=1)).on("kimi", Hang("headers"))
    async with client.stream("POST", RUN, json={"model": "chorus", "question": "How?"}) as answer:
        run_id = answer.headers["x-chorus-workflow-id"]
        events = read_server_sent(answer.aiter_lines())
        await anext(events)
        cancelled = await client.post(f"{RUNS}/{run_id}/cancel")
        assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
        seen = [event async for event in events]
    assert seen[-1].type == "run.failed"
    assert (seen[-1].data["status"], seen[-1].data["error"]["code"]) == ("cancelled", "run_cancelled")
    assert [event.data["sequence_number"] for event in seen] == [*range(2, len(seen) + 2)]
    await scripted.wait_idle()


@pytest.mark.parametrize("model", ["glm", "chorus"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_run_of_another_dialect_is_cancelled_by_its_id(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, model: str, stream: bool
) -> None:
    scripted.on("glm", Hang("headers")).on("kimi", Hang("headers"))
    body = {"model": model, "messages": [{"role": "user", "content": "How?"}], "stream": stream}

    async def cancel() -> None:
        await scripted.wait_requests(1)
        rows = (await client.get(RUNS, params={"limit": 1})).json()["runs"]
        await client.post(f"{RUNS}/{rows[0]['id']}/cancel")

    async with anyio.create_task_group() as group:
        group.start_soon(cancel)
        answer = await client.post("/v1/chat/completions", json=body)
    assert "run_cancelled" in answer.text
    await scripted.wait_idle()


async def test_one_that_is_over_stays_as_it_is(client: httpx.AsyncClient) -> None:
    events = await run(client, "glm")
    answer = await client.post(f"{RUNS}/{events[0].data['run_id']}/cancel")
    assert (answer.status_code, answer.json()["state"]) == (200, "completed")


KEYS: Final = """
[server]
require_auth = true
keys_file = "{keys}"
[[model]]
name = "glm"
api_base = "{base}/v1"
"""


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, upstream: ScriptedUpstream) -> Iterator[dict[str, httpx.Client]]:
    """A client for each key of a server with keys."""
    path: Path = tmp_path_factory.mktemp("keys") / "keys.json"
    file = KeyFile(path)
    roles: dict[str, Any] = {"ann": "client", "ben": "client", "root": "admin"}
    keys = {name: file.create(name, role=role, models=(), expires=None)[0] for name, role in roles.items()}
    with ServerProcess(KEYS.format(keys=path, base=upstream.base)) as server:
        clients = {
            name: httpx.Client(base_url=server.base, headers={"authorization": f"Bearer {key}"}, verify=False)
            for name, key in keys.items()
        }
        yield clients
        for client in clients.values():
            client.close()


def test_another_keys_run_does_not_exist(keyed: dict[str, httpx.Client], scripted: ScriptedUpstream) -> None:
    answer = keyed["ann"].post(RUN, json={"model": "glm", "question": "How?"})
    run_id = answer.headers["x-chorus-workflow-id"]
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel")):
        assert keyed["ben"].request(method, f"{RUNS}/{run_id}{path}").status_code == 404
        assert keyed["ann"].request(method, f"{RUNS}/{run_id}{path}").status_code == 200
        assert keyed["root"].request(method, f"{RUNS}/{run_id}{path}").status_code == 200
    assert [row["id"] for row in keyed["ben"].get(RUNS).json()["runs"]] == []
    assert run_id in [row["id"] for row in keyed["ann"].get(RUNS).json()["runs"]]
    assert run_id in [row["id"] for row in keyed["root"].get(RUNS).json()["runs"]]
    assert {name: keyed[name].get(RUNS).json()["reads_traces"] for name in keyed} == {
        "ann": False,
        "ben": False,
        "root": True,
    }
    assert httpx.get(str(keyed["ann"].base_url.join(RUNS)), verify=False).status_code == 401
