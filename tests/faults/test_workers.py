"""Workers that fail, hang and send garbage (W2, W3)."""

import json
from functools import partial

import anyio
import httpx
import pytest

from tests.kit import Cut, Empty, Gate, Hang, Raw, Say, ScriptedUpstream, Status

CHAT = "/v1/chat/completions"


def asking(model: str = "chorus", **more: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "How?"}], "include_workflow": True, **more}


@pytest.mark.requirement("W3")
async def test_workers_overlap_in_time(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    gate = Gate()
    for name in ("w1", "w2", "w3", "w4"):
        scripted.on(name, Say("held", gate=gate))
    async with anyio.create_task_group() as group:
        group.start_soon(partial(client.post, CHAT, json=asking()))
        for name in ("w1", "w2", "w3", "w4"):
            await scripted.wait_requests(1, model=name)
        # not before all four were asked: had one waited for another, this line would not be reached
        gate.open()
    calls = [scripted.calls(name)[0] for name in ("w1", "w2", "w3", "w4")]
    ends = [call.finished_at for call in calls if call.finished_at is not None]
    assert max(call.started_at for call in calls) < min(ends)


@pytest.mark.requirement("W2")
async def test_one_fails_one_hangs_one_sends_garbage_and_the_answer_is_good(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    scripted.on("w1", Status(500)).on("w2", Hang("headers")).on("w3", Raw([b"data: {garbage\n\n"]))
    reply = (await client.post(CHAT, json=asking())).json()
    assert reply["choices"][0]["message"]["content"] == "the final answer"
    trace = reply["workflow"]
    assert [worker["status"] for worker in trace["workers"]] == ["failed", "timeout", "failed", "ok"]
    assert [worker["error"] and worker["error"]["code"] for worker in trace["workers"]] == [
        "upstream_status",
        "upstream_timeout",
        "upstream_protocol",
        None,
    ]
    assert trace["status"] == "degraded"
    assert trace["shortcuts"] == [{"name": "single_candidate", "path": "", "saved_calls": 1}]
    assert len(trace["errors"]) == 3


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.requirement("W2")
async def test_all_failing_is_502_with_each_reason(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, stream: bool
) -> None:
    scripted.on("w1", Status(500)).on("w2", Cut(after_pieces=1)).on("w3", Empty()).on("w4", Hang("body"))
    response = await client.post(CHAT, json=asking(stream=stream))
    assert response.status_code == 502
    error = response.json()["error"]
    assert error["code"] == "all_workers_failed"
    assert [worker["name"] for worker in error["workers"]] == ["w1", "w2", "w3", "w4"]
    assert all(worker["message"] for worker in error["workers"])
    assert response.headers["x-should-retry"] == "false"
    assert response.json()["workflow"]["status"] == "failed"
    later = await client.get(f"/api/v1/workflows/{response.headers['x-chorus-workflow-id']}")
    assert later.json()["workers"] == response.json()["workflow"]["workers"]


async def test_the_ollama_dialect_says_it_as_a_string(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    for name in ("w1", "w2", "w3", "w4"):
        scripted.on(name, Status(503))
    response = await client.post("/api/chat", json=asking())
    assert response.status_code == 502
    assert response.json()["error"].startswith("All 4 workers failed: w1: upstream_status:")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_refusal_of_a_single_model_keeps_its_status(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, stream: bool
) -> None:
    for upstream_status, status in ((400, 400), (401, 502), (404, 502), (429, 429), (500, 502)):
        scripted.on("single", Status(upstream_status))
        response = await client.post(CHAT, json=asking("single", stream=stream))
        assert response.status_code == status, upstream_status


async def test_a_stream_that_breaks_says_so_and_has_no_second_end(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    scripted.on("single", Cut(after_pieces=2, text="one two three"))
    response = await client.post(CHAT, json=asking("single", stream=True))
    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert response.status_code == 200
    assert '"error"' in events[-1]
    assert "upstream_protocol" in events[-1]
    assert not any('finish_reason":"' in event for event in events)
    assert "[DONE]" not in response.text


@pytest.mark.requirement("L3")
async def test_chinese_and_emoji_cut_at_any_byte_arrive_whole(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    said = "好🙂é"
    chunk = {"choices": [{"index": 0, "delta": {"content": said}, "finish_reason": "stop"}]}
    raw = f"data: {json.dumps(chunk, ensure_ascii=False)}\n\ndata: [DONE]\n\n".encode()
    start = raw.index("好".encode())
    for place in range(start - 1, start + len(said.encode()) + 2):
        scripted.on("single", Raw([raw[:place], raw[place:]], gap=0.005, content_type="text/event-stream"))
        response = await client.post(CHAT, json=asking("single", stream=True))
        assert f'"content":"{said}"' in response.text, place
    scripted.on("single", Raw([bytes([byte]) for byte in raw], gap=0.0002, content_type="text/event-stream"))
    reply = await client.post("/api/generate", json={"model": "single", "prompt": "How?", "stream": False})
    assert reply.json()["response"] == said
