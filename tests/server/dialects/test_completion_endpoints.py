"""Prompts that go to the upstream's own completion endpoint: fill-in-the-middle, log probabilities,
raw prompts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.kit import Raw, ScriptedUpstream, Status
from tests.server.running import running

FIM = "<|fim_prefix|>def f():\n    <|fim_suffix|>\n<|fim_middle|>"


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as scripted:
        yield scripted


@pytest.fixture(scope="module")
def base(upstream: ScriptedUpstream) -> Iterator[str]:
    config = f"""
        [[model]]
        name = "compatible"
        api_base = "{upstream.api_base}"
        retries = 0
        [[model]]
        name = "ollama"
        provider = "ollama"
        api_base = "{upstream.base}"
        retries = 0
        [[model]]
        name = "demo"
        provider = "demo"
        model = "demo-abacus"
        [workflow-integration]
        json = '{{"workers": ["compatible"], "selector": {{"ref": "compatible"}}}}'
    """
    with running(config) as server:
        yield server.base


@pytest.fixture
def scripted(upstream: ScriptedUpstream) -> ScriptedUpstream:
    upstream.forget()
    return upstream


def post(base: str, path: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(base + path, json=body, timeout=20)


def test_a_prompt_reaches_the_completion_endpoint_unchanged(base: str, scripted: ScriptedUpstream) -> None:
    asked = {"prompt": FIM, "max_tokens": 64, "stop": ["<|endoftext|>"], "best_of": 2, "suffix": "end", "logprobs": 0}
    context = post(base, "/v1/completions", {"model": "compatible", **asked})
    assert context.status_code == 200
    [seen] = scripted.requests
    assert seen.path == "/v1/completions"
    assert seen.json == {"model": "compatible", **asked}


def test_a_workflow_answers_a_prompt_as_a_user_turn(base: str, scripted: ScriptedUpstream) -> None:
    assert post(base, "/v1/completions", {"model": "chorus", "prompt": "Hello"}).status_code == 200
    assert {seen.path for seen in scripted.requests} == {"/v1/chat/completions"}


@pytest.mark.parametrize(
    "fields",
    [
        {"raw": True},
        {"suffix": "return x"},
        {"template": "{{ .Prompt }}", "system": "Be brief."},
        {"raw": True, "suffix": "x", "system": "s"},
    ],
)
def test_ollamas_own_fields_reach_ollama_as_they_are(
    base: str, scripted: ScriptedUpstream, fields: dict[str, Any]
) -> None:
    options = {"temperature": 0.5, "num_ctx": 64}
    asked = {"prompt": FIM, **fields, "options": options, "keep_alive": "5m", "stream": False}
    context = post(base, "/api/generate", {"model": "ollama", **asked})
    assert context.status_code == 200
    [seen] = scripted.requests
    assert seen.path == "/api/generate"
    assert seen.json == {"model": "ollama", **asked}


def test_openais_completions_are_raw_prompts_to_ollama(base: str, scripted: ScriptedUpstream) -> None:
    assert post(base, "/v1/completions", {"model": "ollama", "prompt": FIM}).status_code == 200
    [seen] = scripted.requests
    assert (seen.path, seen.json["prompt"], seen.json["raw"]) == ("/api/generate", FIM, True)


@pytest.mark.parametrize("fields", [{"raw": True}, {"suffix": "end"}])
def test_a_raw_prompt_of_ollamas_reaches_a_compatible_upstream(
    base: str, scripted: ScriptedUpstream, fields: dict[str, Any]
) -> None:
    context = post(base, "/api/generate", {"model": "compatible", "prompt": FIM, "stream": False, **fields})
    assert context.status_code == 200
    [seen] = scripted.requests
    assert seen.path == "/v1/completions"
    assert seen.json["prompt"] == FIM
    assert not seen.json.keys() & {"raw", "template"}
    assert seen.json.get("suffix") == fields.get("suffix")


def test_a_template_is_ollamas_own_business(base: str, scripted: ScriptedUpstream) -> None:
    context = post(base, "/api/generate", {"model": "compatible", "prompt": "hi", "template": "x", "stream": False})
    assert context.status_code == 200
    [seen] = scripted.requests
    assert seen.path == "/v1/chat/completions"


@pytest.mark.parametrize("repeats", [True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_the_prompt_is_echoed_once(base: str, scripted: ScriptedUpstream, repeats: bool, stream: bool) -> None:
    texts = ["Once", " upon", " a time"] if repeats else [" a time"]
    chunks = [{"choices": [{"index": 0, "text": text, "finish_reason": None}]} for text in texts]
    chunks.append({"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]})
    if stream:
        events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
        answer = Raw([*events, b"data: [DONE]\n\n"], content_type="text/event-stream")
    else:
        whole = {"choices": [{"index": 0, "text": "".join(texts), "finish_reason": "stop"}]}
        answer = Raw([json.dumps(whole).encode()], content_type="application/json")
    scripted.on("compatible", answer)
    body = {"model": "compatible", "prompt": "Once upon", "echo": True, "logprobs": 1, "stream": stream}
    context = post(base, "/v1/completions", body)
    assert scripted.requests[0].json["echo"] is True
    if not stream:
        assert context.json()["choices"][0]["text"] == "Once upon a time"
        return
    events = [json.loads(line[6:]) for line in context.text.splitlines() if line.startswith("data: {")]
    assert "".join(event["choices"][0]["text"] for event in events if event["choices"]) == "Once upon a time"


def test_what_was_learned_is_told(base: str, scripted: ScriptedUpstream) -> None:
    refusal = {"error": {"message": "Unsupported parameter: 'seed'", "param": "seed"}}
    scripted.on("compatible", lambda seen: Status(400, refusal) if "seed" in seen.json else scripted_answer())
    asked = {
        "model": "compatible",
        "messages": [{"role": "user", "content": "hi"}],
        "seed": 1,
        "include_workflow": True,
    }
    context = post(base, "/v1/chat/completions", asked)
    assert context.status_code == 200
    [worker] = context.json()["workflow"]["workers"]
    assert any("seed" in warning for warning in worker["warnings"])
    models = httpx.get(base + "/api/v1/upstreams").json()["upstreams"]
    [learned] = [model["replicas"][0] for model in models if model["model"] == "compatible"]
    assert learned["learned"] == ["seed is left out"]
    assert learned["errors"] == 0


def scripted_answer() -> Raw:
    whole = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "ok"}, "finish_reason": "stop"}]}
    return Raw([json.dumps(whole).encode()], content_type="application/json")


@pytest.mark.parametrize("prompt", [[1, 2, 3], [[1, 2], [3]], [[7]], ["text", [4, 5]]])
@pytest.mark.parametrize("stream", [True, False])
def test_token_numbers_reach_the_completion_endpoint_unchanged(
    base: str, scripted: ScriptedUpstream, prompt: list[Any], stream: bool
) -> None:
    asked = {"model": "compatible", "prompt": prompt, "max_tokens": 8, "stream": stream, "echo": True}
    context = post(base, "/v1/completions", asked)
    assert context.status_code == 200
    assert {seen.path for seen in scripted.requests} == {"/v1/completions"}
    expected = prompt if isinstance(prompt[0], list) or "text" in prompt else [prompt]
    sent = [seen.json["prompt"] for seen in scripted.requests]
    assert sorted(map(str, sent)) == sorted(map(str, expected))


@pytest.mark.parametrize("model", ["chorus", "ollama", "demo"])
def test_who_needs_the_text_refuses_token_numbers(base: str, scripted: ScriptedUpstream, model: str) -> None:
    context = post(base, "/v1/completions", {"model": model, "prompt": [1, 2, 3]})
    assert context.status_code == 400
    assert "token numbers" in context.json()["error"]["message"]
    assert context.json()["error"]["param"] == "prompt"
    assert scripted.requests == []


@pytest.mark.parametrize("prompt", [[], [[]], ["text", 1], [1, [2]], [True], [1.5], None])
def test_what_is_no_prompt_is_refused(base: str, scripted: ScriptedUpstream, prompt: Any) -> None:
    context = post(base, "/v1/completions", {"model": "compatible", "prompt": prompt})
    assert context.status_code == 400
    assert "prompt" in context.json()["error"]["message"]
    assert scripted.requests == []
