"""Bodies that are wrong, each with a clear error that names the field (A5, A6, S3)."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.kit import ScriptedUpstream
from tests.server.conftest import MAX_BODY

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "How?"}
GOOD: dict[str, Any] = {"model": "glm", "messages": [USER]}
OPENAI_PATHS = (CHAT, "/v1/completions", "/v1/responses")
OLLAMA_PATHS = ("/api/chat", "/api/generate")


def good(path: str) -> dict[str, Any]:
    field = "messages" if path in (CHAT, "/api/chat", "/v1/messages") else "prompt"
    field = "input" if path == "/v1/responses" else field
    return {"model": "glm", field: [USER] if field == "messages" else "How?"}


@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        (CHAT, {"model": 7}, "model"),
        (CHAT, {"model": None}, "model"),
        (CHAT, {"messages": "hello"}, "messages"),
        (CHAT, {"messages": []}, "messages"),
        (CHAT, {"messages": [{"content": "no role"}]}, "messages[0].role"),
        (CHAT, {"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        (CHAT, {"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        (CHAT, {"messages": [{"role": "user", "content": [{"smell": "x"}]}]}, "messages[0].content[0].type"),
        (CHAT, {"stream": "yes"}, "stream"),
        (CHAT, {"temperature": "hot"}, "temperature"),
        (CHAT, {"temperature": True}, "temperature"),
        (CHAT, {"temperature": 3}, "temperature"),
        (CHAT, {"max_tokens": 1.5}, "max_tokens"),
        (CHAT, {"max_tokens": True}, "max_tokens"),
        (CHAT, {"max_tokens": 0}, "max_tokens"),
        (CHAT, {"n": 0}, "n"),
        (CHAT, {"n": 1000}, "n"),
        (CHAT, {"tools": [{"type": "function"}]}, "tools[0]"),
        (CHAT, {"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ("/v1/completions", {"prompt": None}, "prompt"),
        ("/v1/completions", {"prompt": [1, "x"]}, "prompt"),
        ("/v1/completions", {"prompt": {"a": 1}}, "prompt"),
        ("/v1/responses", {"input": 7}, "input"),
        ("/v1/responses", {"input": [7]}, "input[0]"),
        ("/v1/responses", {"input": [{"type": "telepathy"}]}, "input"),
        ("/v1/responses", {"input": [{"role": "wizard", "content": "x"}]}, "input[0].role"),
        ("/v1/responses", {"input": [{"role": ["user"], "content": "x"}]}, "input[0].role"),
        ("/v1/responses", {"messages": [{"role": "tool", "tool_call_id": 7}]}, "messages[0].tool_call_id"),
        ("/v1/responses", {"max_output_tokens": 0}, "max_output_tokens"),
        (CHAT, {"max_completion_tokens": 0}, "max_completion_tokens"),
        (CHAT, {"include_workflow": "yes"}, "include_workflow"),
        ("/v1/responses", {"input": [{"type": "function_call", "call_id": "c"}]}, "input[0].name"),
        ("/v1/responses", {"background": True, "store": False}, "store"),
    ],
)
@pytest.mark.requirement("A6")
async def test_what_is_wrong_is_named(client: httpx.AsyncClient, path: str, change: dict[str, Any], param: str) -> None:
    response = await client.post(path, json={**good(path), **change})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert error["message"]
    assert error["type"] == "invalid_request_error"
    assert error["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("path", "change", "field"),
    [
        ("/api/chat", {"messages": 7}, "messages"),
        ("/api/chat", {"model": None}, "model"),
        ("/api/chat", {"options": {"temperature": "hot"}}, "options.temperature"),
        ("/api/chat", {"options": {"seed": 1.5}}, "options.seed"),
        ("/api/chat", {"options": {"stop": [1]}}, "options.stop"),
        ("/api/chat", {"format": "xml"}, "format"),
        ("/api/chat", {"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ("/api/generate", {"prompt": 7}, "prompt"),
        ("/api/generate", {"images": "abc"}, "images"),
        ("/api/show", {"model": 7}, "model"),
    ],
)
@pytest.mark.requirement("A5")
async def test_ollamas_errors_are_strings(
    client: httpx.AsyncClient, path: str, change: dict[str, Any], field: str
) -> None:
    response = await client.post(path, json={**good(path), **change})
    assert response.status_code == 400
    body = response.json()
    assert field in body["error"]
    assert body.keys() == {"error", "code", "request_id"}
    with pytest.raises(json.JSONDecodeError):
        json.loads(body["error"])


@pytest.mark.parametrize("path", [*OPENAI_PATHS, *OLLAMA_PATHS])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"   ",
        b"not json",
        b"[1, 2]",
        b'"text"',
        b"null",
        b'{"model": "glm",',
        b'{"model": "glm", "temperature": NaN}',
        b'{"model": "glm", "temperature": Infinity}',
        b'{"model": "\\ud800"}',
        b'{"model": "\xff"}',
        b'{"model": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"model": ' + b'{"a":' * 500 + b"1" + b"}" * 500 + b"}",
    ],
)
@pytest.mark.requirement("A6")
@pytest.mark.requirement("S3")
async def test_what_is_no_usable_json_is_400(client: httpx.AsyncClient, path: str, raw: bytes) -> None:
    response = await client.post(path, content=raw)
    assert response.status_code == 400
    assert response.json()["error"]


@pytest.mark.parametrize("path", [*OPENAI_PATHS, *OLLAMA_PATHS])
@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain", "application/json"])
@pytest.mark.requirement("A6")
async def test_json_is_read_whatever_its_type_says(client: httpx.AsyncClient, path: str, kind: str | None) -> None:
    headers = {"content-type": kind} if kind else {}
    response = await client.post(path, content=json.dumps(good(path)), headers=headers)
    assert response.status_code == 200


@pytest.mark.requirement("S3")
async def test_bodies_are_bounded_by_their_length_and_as_they_come(client: httpx.AsyncClient) -> None:
    large = json.dumps({**GOOD, "padding": "x" * MAX_BODY}).encode()
    declared = await client.post(CHAT, content=large)
    assert declared.status_code == 413

    async def pieces() -> Any:
        for start in range(0, len(large), 10_000):
            yield large[start : start + 10_000]

    chunked = await client.post(CHAT, content=pieces())
    assert chunked.status_code == 413
    for response in (declared, chunked):
        assert response.json()["error"]["code"] == "body_too_large"
        assert response.headers["x-request-id"]


@pytest.mark.requirement("A6")
async def test_a_compressed_body_is_415(client: httpx.AsyncClient) -> None:
    response = await client.post(CHAT, content=b"x", headers={"content-encoding": "br"})
    assert response.status_code == 415
    plain = await client.post(CHAT, json=GOOD, headers={"content-encoding": "identity"})
    assert plain.status_code == 200


@pytest.mark.parametrize("path", [*OPENAI_PATHS, *OLLAMA_PATHS])
@pytest.mark.requirement("A5")
async def test_an_unknown_model_is_404_with_the_nearest_names(client: httpx.AsyncClient, path: str) -> None:
    response = await client.post(path, json={**good(path), "model": "gml"})
    assert response.status_code == 404
    error = response.json()["error"]
    message = error if isinstance(error, str) else error["message"]
    assert message == "model 'gml' not found, did you mean glm?"


@pytest.mark.parametrize("path", [*OPENAI_PATHS, *OLLAMA_PATHS, "/v1/messages"])
async def test_a_model_name_of_150_kb_is_neither_searched_for_nor_repeated(
    client: httpx.AsyncClient, path: str
) -> None:
    """The search for the nearest names would take longer than this client waits."""
    response = await client.post(path, json={**good(path), "model": "glm" * 50_000})
    assert response.status_code == 404
    assert "model 'glmglm" in response.text
    assert "did you mean" not in response.text
    assert len(response.text) < 1000


@pytest.mark.parametrize("path", [CHAT, "/v1/messages"])
async def test_a_wrong_word_of_150_kb_is_not_repeated(client: httpx.AsyncClient, path: str) -> None:
    messages = [{"role": "user" * 40_000, "content": "How?"}]
    response = await client.post(path, json={**good(path), "messages": messages})
    assert response.status_code == 400
    assert "messages[0].role" in response.text
    assert len(response.text) < 1000


@pytest.mark.requirement("A6")
async def test_nulls_and_empties_that_clients_send_are_fine(client: httpx.AsyncClient) -> None:
    empties = {
        "tools": [],
        "stop": None,
        "temperature": None,
        "n": None,
        "tool_choice": "none",
        "response_format": None,
    }
    assert (await client.post(CHAT, json={**GOOD, **empties})).status_code == 200
    empties = {"tools": [], "options": {}, "format": "", "think": None, "keep_alive": -1}
    assert (await client.post("/api/chat", json={**GOOD, **empties})).status_code == 200


@pytest.mark.requirement("A2")
async def test_empty_optional_fields_do_not_travel(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    await client.post(CHAT, json={**GOOD, "tools": [], "temperature": None, "tool_choice": None})
    assert scripted.calls("glm")[0].json.keys() == {"model", "messages"}


@pytest.mark.parametrize("path", [*OPENAI_PATHS, *OLLAMA_PATHS, "/v1/messages"])
@pytest.mark.parametrize(
    "field",
    [
        b'"x": NaN',
        b'"x": -Infinity',
        b'"x": 1e999',
        b'"x": ' + b"9" * 5000,
        b'"x": "\\ud800"',
        b'"x": "\\udc00\\ud800"',
        b'"x": "\xff"',
        b'"x": "\n"',
        b'"x": 01',
        b'"x": 1,',
        b'"x": ' + b"[" * 128 + b"]" * 128,
        b'"x": "[' + b"[" * 200 + b'", "y": ' + b"[" * 128 + b"]" * 128,
    ],
    ids=lambda field: str(field[:24]),
)
@pytest.mark.requirement("A6")
@pytest.mark.requirement("S3")
async def test_a_body_that_is_good_but_for_its_json_is_refused_for_that(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str, field: bytes
) -> None:
    raw = json.dumps(good(path)).encode()[:-1] + b", " + field + b"}"
    response = await client.post(path, content=raw)
    assert response.status_code == 400
    error = response.json()["error"]
    message = error if isinstance(error, str) else error["message"]
    assert message.startswith("The request body is not valid JSON: ")
    assert scripted.requests == []


@pytest.mark.parametrize("path", [*OPENAI_PATHS, *OLLAMA_PATHS, "/v1/messages"])
@pytest.mark.parametrize(
    "field",
    [
        b'"x": ' + b"[" * 127 + b"]" * 127,
        b'"x": "' + b"[" * 5000 + b'"',
        b'"x": "\\u0000"',
        b'"x": "\\ud83d\\ude00"',
        b'"x": ' + b"9" * 30,
        b'"seed": null',
    ],
    ids=lambda field: str(field[:24]),
)
@pytest.mark.requirement("A6")
async def test_what_is_odd_but_right_is_served(client: httpx.AsyncClient, path: str, field: bytes) -> None:
    raw = json.dumps(good(path)).encode()[:-1] + b", " + field + b"}"
    assert (await client.post(path, content=raw)).status_code == 200


@pytest.mark.parametrize("path", [CHAT, "/v1/completions"])
@pytest.mark.requirement("A6")
async def test_unknown_fields_travel_with_a_model_and_not_with_a_workflow(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    unknown = {"top_k": 5, "vendor": {"deep": [1, None, "好"]}}
    await client.post(path, json={**good(path), **unknown})
    [request] = scripted.requests
    assert {key: request.json[key] for key in unknown} == unknown
    scripted.forget()
    await client.post(path, json={**good(path), **unknown, "model": "chorus"})
    assert len(scripted.requests) == 3
    assert all(not unknown.keys() & request.json.keys() for request in scripted.requests)


@pytest.mark.requirement("A6")
async def test_chorus_own_fields_go_no_further(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    await client.post(CHAT, json={**GOOD, "include_workflow": True})
    assert "include_workflow" not in scripted.calls("glm")[0].json


@pytest.mark.requirement("S3")
async def test_a_body_of_just_the_limit_is_read(client: httpx.AsyncClient) -> None:
    body = json.dumps({**GOOD, "padding": ""}).encode()
    padded = body[:-2] + b"x" * (MAX_BODY - len(body)) + b'"}'
    assert len(padded) == MAX_BODY
    assert (await client.post(CHAT, content=padded)).status_code == 200
    assert (await client.post(CHAT, content=padded.replace(b"xx", b"xxx", 1))).status_code == 413


@pytest.mark.requirement("S3")
async def test_a_connection_serves_on_after_a_refusal(client: httpx.AsyncClient) -> None:
    for _ in range(3):
        assert (await client.post(CHAT, content=b"x" * (MAX_BODY + 1))).status_code == 413
        assert (await client.post(CHAT, content=b"{")).status_code == 400
        assert (await client.post(CHAT, json=GOOD)).status_code == 200
