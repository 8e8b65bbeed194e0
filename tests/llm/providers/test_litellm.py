"""What Chorus hands to LiteLLM and makes of what it raises (L2, L3). That the library itself does
with it what it should is the row `litellm` of the matrix, and the tests at the end (`make
test-slow`)."""

from __future__ import annotations

from typing import Any

import certifi
import httpx
import pytest

from chorus.errors import (
    ChorusError,
    ConfigError,
    ContentFiltered,
    LLMError,
    UnsupportedFeature,
    UpstreamConnect,
    UpstreamProtocol,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
    UpstreamTimeout,
)
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Call
from chorus.llm.providers.litellm_provider import LiteLLMUpstream
from chorus.llm.registry import build
from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest, Message, Sampling, ToolCall, Tools
from tests.clients import environments
from tests.kit import Gate, Say, ScriptedUpstream, ServerProcess
from tests.kit.command import ROOT
from tests.kit.providers import ModelAnswer
from tests.kit.providers.litellm import LiteLLMProvider

pytestmark = pytest.mark.requirement("L2")

TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
HI = (Message("user", "hi"),)


class RaisedError(Exception):
    """An exception with what LiteLLM's have."""

    def __init__(self, message: str = "it says why", status_code: int | None = None, **more: Any) -> None:
        super().__init__(message)
        self.message = message
        if status_code is not None:
            self.status_code = status_code
        vars(self).update(more)


class Library:
    """The names of LiteLLM that are used of it."""

    ContentPolicyViolationError = type("ContentPolicyViolationError", (RaisedError,), {})
    Timeout = type("Timeout", (RaisedError,), {})
    UnsupportedParamsError = type("UnsupportedParamsError", (RaisedError,), {})
    RateLimitError = type("RateLimitError", (RaisedError,), {})
    APIConnectionError = type("APIConnectionError", (RaisedError,), {})

    def __init__(self, *supported: str) -> None:
        self._supported = list(supported)

    def get_supported_openai_params(self, model: str) -> list[str]:
        if not self._supported:
            raise ValueError("unknown")
        return self._supported


def upstream(model: str = "bedrock/claude", **more: Any) -> LiteLLMUpstream:
    return LiteLLMUpstream(ModelAddress("m", "litellm", model=model, **more), ReplicaAddress("", "sk-ours"))


def arguments(request: ChatRequest, library: Library | None = None, **more: Any) -> tuple[dict[str, Any], list[str]]:
    """The arguments of the call, and its warnings."""
    warnings: list[str] = []
    found = upstream(**more).arguments(library or Library(), Call(request, {"x-request-id": "r"}, warn=warnings.append))
    return found, warnings


def test_what_goes_out() -> None:
    request = ChatRequest("m", HI, Sampling(0.5, max_tokens=9), Tools([TOOL]), reasoning_effort="low")
    found, warnings = arguments(request, extra_body={"aws_region_name": "eu-1"}, headers={"x-team": "a"})
    assert found["model"] == "bedrock/claude"
    assert found["messages"] == [{"role": "user", "content": "hi"}]
    assert (found["temperature"], found["max_tokens"], found["reasoning_effort"]) == (0.5, 9, "low")
    assert found["tools"] == [TOOL]
    assert (found["api_key"], found["aws_region_name"]) == ("sk-ours", "eu-1")
    assert found["extra_headers"] == {"x-request-id": "r", "x-team": "a"}
    assert (found["max_retries"], found["num_retries"]) == (0, 0)
    assert "api_base" not in found
    assert warnings == []


@pytest.mark.parametrize(
    "name", ["api_base", "base_url", "api_key", "extra_headers", "fallbacks", "mock_response", "metadata", "custom"]
)
@pytest.mark.requirement("S2")
def test_a_field_of_the_client_becomes_no_argument_of_ours(name: str) -> None:
    found, warnings = arguments(ChatRequest("m", HI, extra={name: "http://elsewhere"}))
    assert "http://elsewhere" not in str(found)
    assert warnings == [f"'{name}' is left out: model 'bedrock/claude' does not take it."]


def test_what_the_model_does_not_take_is_left_out_but_for_what_the_answer_needs() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}
    request = ChatRequest("m", HI, Sampling(seed=1), Tools([TOOL]), response_format=schema, extra={"top_k": 3})
    found, warnings = arguments(request, Library("temperature"))
    assert {"tools", "response_format", "top_k"} <= found.keys()
    assert "seed" not in found
    assert warnings == ["'seed' is left out: model 'bedrock/claude' does not take it."]


def test_signed_thinking_goes_back_in_blocks() -> None:
    pieces = [
        {"type": "thinking", "thinking": "I "},
        {"type": "thinking", "thinking": "think."},
        {"type": "thinking", "thinking": "", "signature": "s1"},
        {"type": "redacted_thinking", "data": "x"},
    ]
    own = Message("assistant", "yes", "I think.", extra={"thinking_blocks": pieces})
    details = [
        {"type": "reasoning.text", "text": "hm", "signature": "s2"},
        {"type": "reasoning.encrypted", "data": "y"},
    ]
    anthropics = Message("assistant", "yes", "hm", extra={"reasoning_details": details})
    found, _ = arguments(ChatRequest("m", (*HI, own, *HI, anthropics, *HI)))
    _, first, _, second, _ = found["messages"]
    assert first["thinking_blocks"] == [
        {"type": "thinking", "thinking": "I think.", "signature": "s1"},
        {"type": "redacted_thinking", "data": "x"},
    ]
    assert second["thinking_blocks"] == [
        {"type": "thinking", "thinking": "hm", "signature": "s2"},
        {"type": "redacted_thinking", "data": "y"},
    ]
    assert "reasoning_details" not in second


def test_fields_that_litellm_has_wrapped_are_unwrapped_for_servers_that_get_them_as_they_are() -> None:
    signed = {"provider_specific_fields": {"signature": "s"}}
    call = ToolCall("c", "look", "{}", signed)
    message = Message("assistant", "", "hm", (call,), extra={"provider_specific_fields": {"reasoning_details": [1]}})
    history = (*HI, message, Message("tool", "seen", tool_call_id="c"))
    found, _ = arguments(ChatRequest("m", history), model="hosted_vllm/qwen")
    assert found["messages"][1]["reasoning_details"] == [1]
    assert found["messages"][1]["tool_calls"][0]["signature"] == "s"
    assert "provider_specific_fields" not in str(found["messages"])
    found, _ = arguments(ChatRequest("m", history), model="gemini/flash")
    assert found["messages"][1]["tool_calls"][0]["provider_specific_fields"] == {"signature": "s"}


def test_token_numbers_are_refused() -> None:
    with pytest.raises(UnsupportedFeature):
        arguments(ChatRequest("m", HI, prompt=(1, 2)))


@pytest.mark.parametrize(
    ("problem", "reading", "kind"),
    [
        (RaisedError(status_code=400), False, UpstreamRefused),
        (RaisedError(status_code=401), False, UpstreamStatus),
        (RaisedError(status_code=503), False, UpstreamStatus),
        (Library.ContentPolicyViolationError(status_code=400), False, ContentFiltered),
        (Library.Timeout(status_code=408), False, UpstreamTimeout),
        (Library.UnsupportedParamsError(status_code=400), False, UpstreamRefused),
        (Library.APIConnectionError(status_code=500), False, UpstreamConnect),
        (RaisedError(status_code=503, original_exception=RaisedError(status_code=400)), False, UpstreamRefused),
        (RaisedError(status_code=500), True, UpstreamProtocol),
        (RuntimeError("no status"), False, LLMError),
        (UpstreamTimeout("ours"), True, UpstreamTimeout),
    ],
)
@pytest.mark.requirement("L3")
def test_errors_are_typed(problem: Exception, reading: bool, kind: type[ChorusError]) -> None:
    assert type(upstream().failure(Library(), problem, reading=reading)) is kind


@pytest.mark.parametrize("holder", ["litellm_response_headers", "response"])
@pytest.mark.requirement("L3")
def test_the_time_to_wait_is_kept(holder: str) -> None:
    headers = httpx.Headers({"Retry-After": "7"})
    response = httpx.Response(429, headers=headers) if holder == "response" else headers
    error = upstream().failure(Library(), Library.RateLimitError(status_code=429, **{holder: response}))
    assert isinstance(error, UpstreamRateLimited)
    assert error.retry_after == 7


@pytest.mark.requirement("C4")
def test_without_the_extra_it_says_what_to_install() -> None:
    with pytest.raises(ConfigError, match=r"pip install 'chorus-llm\[litellm\]'"):
        build(ModelAddress("m", "litellm", model="bedrock/claude"), Clients())


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    path = f"{ROOT}:{environments.site('litellm')}"
    return {"PYTHONPATH": path, "CHORUS_LOG": "error", "SSL_CERT_FILE": certifi.where()}


@pytest.mark.slow
@pytest.mark.very_slow
@pytest.mark.requirement("L5")
def test_leaving_ends_the_call_and_a_client_leads_nowhere_else(environment: dict[str, str]) -> None:
    with LiteLLMProvider.serving() as provider, ScriptedUpstream.in_thread() as elsewhere:
        model = f'[[model]]\nname = "m"\nretries = 0\n{provider.settings()}\n'
        embeds = model.replace('"m"', '"e"', 1)
        with ServerProcess(model + embeds, env=environment) as server:
            body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
            provider.script(ModelAnswer("Here."))
            away = {"api_base": elsewhere.api_base, "base_url": elsewhere.api_base}
            answer = httpx.post(server.api_base + "/chat/completions", json={**body, **away}, timeout=60)
            assert answer.json()["choices"][0]["message"]["content"] == "Here."
            assert elsewhere.requests == []

            found = httpx.post(server.api_base + "/embeddings", json={"model": "e", "input": ["a", "b"]}, timeout=60)
            assert len(found.json()["data"]) == 2

            gate = Gate()
            provider.upstream.on("/v1/chat/completions", Say("one two three", gate=gate, gate_at=1))
            address, streamed = server.api_base + "/chat/completions", {**body, "stream": True}
            with httpx.stream("POST", address, json=streamed, timeout=60) as response:
                next(response.iter_lines())
            provider.upstream.wait_idle_blocking(timeout=10)
            assert provider.upstream.requests[-1].was_cancelled
            gate.open()
