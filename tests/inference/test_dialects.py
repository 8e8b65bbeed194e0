"""Every dialect over the worker's wire, streamed and whole: text, reasoning, tool calls, log
probabilities, usage; and what of a request arrives (I1, A1 to A4).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tests.kit.scripted_worker import Pieces, ScriptedWorker
from tests.server.running import Running, running

pytestmark = [pytest.mark.requirement(name) for name in ("I1", "A1", "A2", "A3", "A4")]

LOGPROBS = {"content": [{"token": "Hi", "logprob": -0.25, "bytes": None, "top_logprobs": []}], "refusal": None}
ANSWER = Pieces(
    [
        {"reasoning": "Hm."},
        {"text": "Hi", "openai_json": json.dumps({"logprobs": LOGPROBS}).encode()},
        " there",
    ],
    {"finish_reason": "FINISH_REASON_LENGTH", "usage": {"prompt_tokens": 11, "completion_tokens": 7}},
)
CALL = Pieces(
    [{"tool_calls": [{"id": "c1", "name": "look", "arguments": '{"at"'}]}, {"tool_calls": [{"arguments": ':"x"}'}]}],
    {"finish_reason": "FINISH_REASON_TOOL_CALLS", "usage": {"prompt_tokens": 11, "completion_tokens": 7}},
)
TURNS = [{"role": "user", "content": "How?"}]
PARAMETERS = {"type": "object", "properties": {"at": {"type": "string"}}}
FUNCTION = {"name": "look", "description": "Looks.", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": FUNCTION}]
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def worker() -> Iterator[ScriptedWorker]:
    with ScriptedWorker.in_thread() as worker:
        worker.on("m", ANSWER)
        worker.on("tools", CALL)
        worker.on("vectors", [[0.5, 1.0]])
        yield worker


@pytest.fixture(scope="module")
def server(worker: ScriptedWorker) -> Iterator[Running]:
    text = "".join(
        f'[[model]]\nname = "{name}"\nprovider = "grpc"\napi_base = "{worker.api_base}"\n'
        for name in ("m", "tools", "vectors")
    )
    with running(text) as server:
        yield server


@pytest.fixture
async def client(server: Running, worker: ScriptedWorker) -> AsyncIterator[httpx.AsyncClient]:
    worker.forget()
    async with httpx.AsyncClient(base_url=server.base, timeout=15, verify=False) as client:
        yield client


DIALECTS: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"messages": TURNS, "max_tokens": 9, "stream_options": {"include_usage": True}}),
    "completions": ("/v1/completions", {"prompt": "How?", "max_tokens": 9, "stream_options": {"include_usage": True}}),
    "responses": ("/v1/responses", {"input": "How?", "max_output_tokens": 9}),
    "messages": ("/v1/messages", {"messages": TURNS, "max_tokens": 9}),
    "ollama chat": ("/api/chat", {"messages": TURNS, "options": {"num_predict": 9}}),
    "ollama generate": ("/api/generate", {"prompt": "How?", "options": {"num_predict": 9}}),
}
COUNTS = {"prompt_tokens", "input_tokens", "prompt_eval_count"}, {"completion_tokens", "output_tokens", "eval_count"}


def texts_of(value: Any, *names: str) -> str:
    """All texts of the members `names`, wherever they stand, in their order."""
    if isinstance(value, list):
        return "".join(texts_of(item, *names) for item in value)
    if not isinstance(value, dict):
        return ""
    return "".join(
        item if name in names and isinstance(item, str) else texts_of(item, *names) for name, item in value.items()
    )


def numbers_of(value: Any, names: set[str]) -> list[int]:
    if isinstance(value, list):
        return [number for item in value for number in numbers_of(item, names)]
    if not isinstance(value, dict):
        return []
    return [
        number
        for name, item in value.items()
        for number in ([item] if name in names and isinstance(item, int) else numbers_of(item, names))
    ]


def events_of(answer: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in answer.text.splitlines() if line[:1] in ("d", "{")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_an_answer_in_every_dialect(
    client: httpx.AsyncClient, worker: ScriptedWorker, dialect: str, stream: bool
) -> None:
    path, body = DIALECTS[dialect]
    answer = await client.post(path, json={"model": "m", "stream": stream, **body})
    assert answer.status_code == 200, answer.text
    said = events_of(answer) if stream else [answer.json()]
    shown = json.dumps(said)
    assert "Hi" in shown
    assert "there" in shown
    if dialect not in ("completions",):
        assert "Hm." in shown
    for names, number in zip(COUNTS, (11, 7), strict=True):
        assert number in numbers_of(said, names), (names, shown)
    assert any(word in shown for word in ("length", "max_tokens", "max_output_tokens"))
    [asked] = worker.asked
    assert asked.request.sampling.max_tokens == 9
    assert asked.request.WhichOneof("input") == ("prompt" if dialect == "completions" else "conversation")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": TURNS, "tools": TOOLS}),
        ("/v1/responses", {"input": "How?", "tools": [{"type": "function", **FUNCTION}]}),
        (
            "/v1/messages",
            {"messages": TURNS, "max_tokens": 9, "tools": [{"name": "look", "input_schema": PARAMETERS}]},
        ),
        ("/api/chat", {"messages": TURNS, "tools": TOOLS}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_tool_call_in_every_dialect(
    client: httpx.AsyncClient, worker: ScriptedWorker, path: str, body: dict[str, Any], stream: bool
) -> None:
    answer = await client.post(path, json={"model": "tools", "stream": stream, **body})
    assert answer.status_code == 200, answer.text
    said = events_of(answer) if stream else [answer.json()]
    assert "look" in texts_of(said, "name")
    written = texts_of(said, "arguments", "partial_json") or json.dumps(said)
    assert '{"at":"x"}' in written or '{"at": "x"}' in written
    [definition] = json.loads(worker.asked[0].request.tools_json)
    assert definition["function"]["name"] == "look"
    assert definition["function"]["parameters"] == PARAMETERS


async def test_images_schemas_and_log_probabilities_cross_the_wire(
    client: httpx.AsyncClient, worker: ScriptedWorker
) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    turns = [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]
    body = {"model": "m", "messages": turns, "response_format": schema, "logprobs": True, "top_logprobs": 1}
    answer = (await client.post("/v1/chat/completions", json=body)).json()
    assert answer["choices"][0]["logprobs"]["content"][0]["logprob"] == -0.25
    sent = worker.asked[0].request
    assert sent.conversation.messages[0].parts[1].image.url.endswith(PIXEL)
    assert json.loads(sent.response_format_json) == schema
    assert json.loads(sent.openai_json).items() >= {"logprobs": True, "top_logprobs": 1}.items()
    ollama = {"model": "m", "stream": False, "messages": [{"role": "user", "content": "What?", "images": [PIXEL]}]}
    assert (await client.post("/api/chat", json={**ollama, "format": {"type": "object"}})).status_code == 200
    sent = worker.asked[1].request
    assert sent.conversation.messages[0].parts[1].image.url.endswith(PIXEL)
    assert json.loads(sent.response_format_json)["type"] == "json_schema"


async def test_embeddings_in_both_dialects(client: httpx.AsyncClient, worker: ScriptedWorker) -> None:
    openai = (await client.post("/v1/embeddings", json={"model": "vectors", "input": "a"})).json()
    assert (openai["data"][0]["embedding"], openai["usage"]["prompt_tokens"]) == ([0.5, 1.0], 7)
    assert (await client.post("/api/embed", json={"model": "vectors", "input": "a"})).json()["embeddings"][0][1] > 0
    refused = await client.post("/v1/embeddings", json={"model": "vectors", "input": [[1, 2]]})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "unsupported_feature")


async def test_the_request_id_reaches_the_worker(client: httpx.AsyncClient, worker: ScriptedWorker) -> None:
    headers = {"x-request-id": "mine-1"}
    body = {"model": "m", "messages": TURNS, "stream": True}
    assert (await client.post("/v1/chat/completions", json=body, headers=headers)).status_code == 200
    [asked] = worker.asked
    assert asked.request.request_id == asked.metadata["x-request-id"] == "mine-1"


async def test_the_warnings_of_a_worker_are_in_the_trace(client: httpx.AsyncClient, worker: ScriptedWorker) -> None:
    sentence = "'x_odd' is left out."
    worker.on("m", Pieces([{"text": "Hi", "warnings": [sentence]}], {"finish_reason": "FINISH_REASON_STOP"}))
    try:
        body = {"model": "m", "messages": TURNS, "x_odd": 1, "include_workflow": True}
        answer = (await client.post("/v1/chat/completions", json=body)).json()
    finally:
        worker.on("m", ANSWER)
    assert sentence in json.dumps(answer["workflow"])
