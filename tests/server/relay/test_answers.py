"""Every endpoint once: what arrives at the upstream, what comes back, and what is known of it
afterwards (A4)."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.kit import Raw, ScriptedUpstream, Status
from tests.kit.providers.relayed import AUDIO, MODEL, Received, form

pytestmark = pytest.mark.requirement("A4")
JSON_BODIES: dict[str, dict[str, Any]] = {
    "/v1/rerank": {"query": "q", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": True},
    "/v1/images/generations": {"prompt": "a cat", "n": 2, "output_format": "webp"},
    "/v1/audio/speech": {"input": "hello", "voice": "alloy", "speed": 1.25},
    "/v1/moderations": {"input": ["one", "two"]},
}
FORM_FIELDS: dict[str, list[tuple[str, str | bytes, str | None]]] = {
    "/v1/images/edits": [("image", AUDIO, "a.png"), ("prompt", "more cat", None)],
    "/v1/images/variations": [("image", AUDIO, "a.png"), ("n", "2", None)],
    "/v1/audio/transcriptions": [("file", AUDIO, "a.mp3"), ("language", "en", None)],
    "/v1/audio/translations": [("file", AUDIO, "ä.mp3"), ("temperature", "0.5", None)],
}


async def metric(client: httpx.AsyncClient, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


async def trace_of(client: httpx.AsyncClient, response: httpx.Response) -> Any:
    return (await client.get(f"/api/v1/workflows/{response.headers['x-chorus-workflow-id']}")).json()


@pytest.mark.parametrize("path", JSON_BODIES)
async def test_a_json_request_arrives_with_the_upstreams_name(
    client: httpx.AsyncClient, taken: list[Received], path: str
) -> None:
    response = await client.post(path, json={**JSON_BODIES[path], "model": "m"}, headers={"x-request-id": "mine"})
    assert response.status_code == 200, response.text
    assert response.headers["x-request-id"] == "mine"
    assert taken == [Received(path, {**JSON_BODIES[path], "model": MODEL})]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("path", FORM_FIELDS)
async def test_a_form_arrives_with_the_upstreams_name(
    client: httpx.AsyncClient, taken: list[Received], path: str, place: int
) -> None:
    parts = FORM_FIELDS[path]
    body, headers = form(*parts[:place], ("model", "m", None), *parts[place:])
    response = await client.post(path, content=body, headers=headers)
    assert response.status_code == 200, response.text
    assert taken[0].fields["model"] == MODEL
    assert [*taken[0].files.values()] == [AUDIO]
    assert taken[0].names.popitem()[1] == parts[0][2]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank", "/v1/v2/rerank", "/v1/rerank/"])
async def test_reranking_at_every_path(client: httpx.AsyncClient, taken: list[Received], path: str) -> None:
    body = {"model": "m", "query": "q", "documents": ["a", {"text": "b"}], "return_documents": True}
    answer = (await client.post(path, json=body)).json()
    assert [result["index"] for result in answer["results"]] == [0, 1]
    assert [result["document"] for result in answer["results"]] == [{"text": "a"}, {"text": "b"}]
    assert all(isinstance(result["relevance_score"], float) for result in answer["results"])
    assert answer["meta"]["billed_units"] == {"search_units": 1}


async def test_fields_are_passed_on_as_they_stand(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    scripted.on("/v1/moderations", Status(200, {"ok": True}))
    text = b'{"new":{"deep":[1.50,1e400,123456789012345678901234567890]},"model" : "m","input":"\\u00e4\xc3\xa4"}'
    response = await client.post("/v1/moderations", content=text)
    assert response.json() == {"ok": True}
    sent = scripted.requests[-1].body
    assert b'"new":{"deep":[1.50,1e400,123456789012345678901234567890]}' in sent
    assert b'"input":"\\u00e4\xc3\xa4"' in sent
    assert b'"model":"upstream-name"' in sent


async def test_the_type_and_the_bytes_of_an_answer_are_the_upstreams(
    client: httpx.AsyncClient, taken: list[Received]
) -> None:
    body = {"model": "m", "input": "hello", "voice": "alloy", "response_format": "wav"}
    response = await client.post("/v1/audio/speech", json=body)
    assert response.headers["content-type"] == "audio/wav"
    assert response.content == AUDIO
    text, headers = form(("model", "m", None), ("file", AUDIO, "a"), ("response_format", "srt", None))
    response = await client.post("/v1/audio/transcriptions", content=text, headers=headers)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text.startswith("1\n00:00:00")


@pytest.mark.parametrize("length", ["12", None])
async def test_the_length_of_an_answer_is_passed_on(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, length: str | None
) -> None:
    scripted.on("/v1/moderations", Status(200, b"123456789012") if length else Raw([b"123456", b"789012"], close=False))
    response = await client.post("/v1/moderations", json={"model": "m", "input": "x"})
    assert response.headers.get("content-length") == length
    assert response.content == b"123456789012"


async def test_headers_of_an_upstream_are_not_passed_on(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    headers = {
        "set-cookie": "a=b",
        "x-ratelimit-limit-requests": "7",
        "content-disposition": 'attachment; filename="a"',
    }
    scripted.on("/v1/audio/speech", Raw([b"abc"], content_type="audio/mpeg", close=False, headers=headers))
    response = await client.post("/v1/audio/speech", json={"model": "m", "input": "x", "voice": "y"})
    assert "set-cookie" not in response.headers
    assert "x-ratelimit-limit-requests" not in response.headers
    assert response.headers["content-disposition"] == headers["content-disposition"]


async def test_the_trace_shows_the_call(client: httpx.AsyncClient, taken: list[Received]) -> None:
    response = await client.post("/v1/images/generations", json={"model": "m", "prompt": "a red cat"})
    trace = await trace_of(client, response)
    assert (trace["workflow"], trace["status"], trace["relay"]) == ("m", "ok", "/images/generations")
    (worker,) = trace["workers"]
    assert worker["model"] == "m"
    assert worker["instance_id"].startswith("m@127.0.0.1:")
    assert worker["relayed"] == {
        "bytes_in": len(json.dumps({"model": MODEL, "prompt": "a red cat"}, separators=(",", ":"))),
        "bytes_out": len(response.content),
        "upstream_status": 200,
        "content_type": "application/json",
    }
    assert worker["usage"] == {"prompt_tokens": 5, "completion_tokens": 40, "total_tokens": 45}
    assert trace["cost"] == pytest.approx(85 / 1_000_000)
    assert "a red cat" not in json.dumps(trace)


async def test_the_metrics_count_the_call(client: httpx.AsyncClient, taken: list[Received]) -> None:
    names = (
        'llm_calls_total{model="m",status="ok"}',
        'llm_tokens_total{kind="completion",model="m"}',
        'chorus_runs_total{status="ok",workflow="m"}',
        'http_requests_total{method="POST",route="/v1/images/generations",status="200"}',
    )
    before = [await metric(client, name) for name in names]
    await client.post("/v1/images/generations", json={"model": "m", "prompt": "cat"})
    after = [await metric(client, name) for name in names]
    assert [round(new - old) for old, new in zip(before, after, strict=True)] == [1, 40, 1, 1]


async def test_the_run_is_listed_with_its_events(client: httpx.AsyncClient, taken: list[Received]) -> None:
    response = await client.post("/v1/moderations", json={"model": "m", "input": "x"})
    run_id = response.headers["x-chorus-workflow-id"]
    run = (await client.get(f"/api/v1/runs/{run_id}")).json()
    assert (run["state"], run["route"]) == ("completed", "/v1/moderations")
    events = (await client.get(f"/api/v1/runs/{run_id}/events")).text
    assert '"relay":"/moderations"' in events
    assert '"relayed":{"bytes_in":' in events


async def test_a_text_without_usage_is_estimated(client: httpx.AsyncClient, taken: list[Received]) -> None:
    body = {"model": "m", "input": "x" * 4000, "voice": "alloy"}
    trace = await trace_of(client, await client.post("/v1/audio/speech", json=body))
    assert trace["usage"]["estimated"] is True
    assert trace["usage"]["prompt_tokens"] == pytest.approx(1010, abs=10)


async def test_images_are_no_text(client: httpx.AsyncClient, taken: list[Received]) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "x" * 40_000}}
    trace = await trace_of(client, await client.post("/v1/moderations", json={"model": "m", "input": [image]}))
    assert trace["usage"]["total_tokens"] == 0


async def test_it_cannot_be_replayed(client: httpx.AsyncClient, taken: list[Received]) -> None:
    response = await client.post("/v1/moderations", json={"model": "m", "input": "x"})
    path = f"/api/v1/workflows/{response.headers['x-chorus-workflow-id']}/replay"
    refused = await client.post(path, json={"model": "m"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_feature")


# --- what is refused


@pytest.mark.parametrize("path", [*JSON_BODIES, "/v2/rerank", "/rerank"])
@pytest.mark.parametrize(
    ("model", "status", "code"),
    [("chorus", 400, "unsupported_feature"), ("demo", 400, "unsupported_feature"), ("none", 404, "model_not_found")],
)
async def test_who_cannot_answer(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str, model: str, status: int, code: str
) -> None:
    response = await client.post(path, json={"model": model})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (status, code, "model")
    assert scripted.requests == []


@pytest.mark.parametrize("path", FORM_FIELDS)
async def test_a_workflow_in_a_form(client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str) -> None:
    body, headers = form(*FORM_FIELDS[path], ("model", "chorus", None))
    response = await client.post(path, content=body, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "unsupported_feature")
    assert "workflow" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"[]", b"7", b"{", b'{"input": "x"}', b'{"model": 7}', b'{"model": null}', b'{"model": "m", "Model": "o"}',
        b'{"MODEL": "m"}', b"\xff", b'{"model": "\xff"}', b'{"a":' * 100_000, b"[" * 100_000,
    ],
)  # fmt: skip
async def test_what_is_no_request(client: httpx.AsyncClient, scripted: ScriptedUpstream, body: bytes) -> None:
    response = await client.post("/v1/moderations", content=body)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"] == "invalid_request"
    assert scripted.requests == []


@pytest.mark.parametrize(
    ("status", "shown", "code"),
    [
        (400, 400, "upstream_refused"), (413, 400, "upstream_refused"), (422, 400, "upstream_refused"),
        (401, 502, "upstream_status"), (404, 502, "upstream_status"), (415, 502, "upstream_status"),
        (429, 429, "upstream_rate_limited"), (500, 502, "upstream_status"), (503, 502, "upstream_status"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/rerank", "/v1/audio/transcriptions"])
async def test_an_upstreams_error_keeps_its_reason(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str, status: int, shown: int, code: str
) -> None:
    refusal = {"error": {"message": "this voice is unknown; sk-relay-secret"}}
    scripted.on(path, Status(status, refusal, {"retry-after": "7"} if status == 429 else {}))
    body, headers = form(("model", "m", None), ("file", AUDIO, "a"))
    sent: dict[str, Any] = {"json": {"model": "m"}} if path == "/v1/rerank" else {"content": body, "headers": headers}
    response = await client.post(path, **sent)
    assert (response.status_code, response.json()["error"]["code"]) == (shown, code)
    assert "this voice is unknown" in response.json()["error"]["message"]
    assert "sk-relay-secret" not in response.text
    assert response.headers.get("retry-after") == ("7" if status == 429 else None)
    assert (await trace_of(client, response))["status"] == "failed"


async def test_another_kind_of_model_is_the_upstreams_own_answer(
    client: httpx.AsyncClient, taken: list[Received]
) -> None:
    response = await client.post("/v1/images/generations", json={"model": "m", "prompt": "x", "surprise": 1})
    assert response.status_code == 400
    assert "Unrecognized request argument supplied: surprise" in response.json()["error"]["message"]
