"""A server whose model is at Anthropic: its default address, what lists say, counts, warnings,
other dialects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from chorus import config as configuration
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.pool.breaker import Breaker
from chorus.llm.pool.capabilities import Capabilities, Followed
from chorus.llm.transport.clients import Clients
from chorus.reached import address_of
from chorus.tasks import ServerTasks
from tests.kit import Recorded, Status
from tests.kit.providers import Failure, ModelAnswer
from tests.kit.providers.anthropic import AnthropicProvider, raw_answer
from tests.kit.providers.http import KEY
from tests.kit.providers.openai import OpenAIProvider
from tests.server.running import running

ASKING: list[Any] = [{"role": "user", "content": "How?"}]
BASH = {"type": "bash_20250124", "name": "bash"}
DETAILS = {
    "type": "reasoning.text",
    "text": "Hm.",
    "signature": "c2ln",
    "format": "anthropic-claude-v1",
    "index": 0,
}


@pytest.fixture(scope="module")
def provider() -> Iterator[AnthropicProvider]:
    with AnthropicProvider.serving() as serving:
        yield serving


@pytest.fixture(scope="module")
def other() -> Iterator[OpenAIProvider]:
    with OpenAIProvider.serving() as serving:
        yield serving


@pytest.fixture(scope="module")
def http(provider: AnthropicProvider, other: OpenAIProvider) -> Iterator[httpx.Client]:
    config = (
        f'[[model]]\nname = "claude"\nretries = 0\n{provider.settings()}\n'
        f'[[model]]\nname = "other"\nretries = 0\n{other.settings()}\n'
        '[workflow-integration]\nworkers = ["claude"]\nselector = "claude"\n'
    )
    with running(config) as server, httpx.Client(base_url=server.base, timeout=20, trust_env=False) as client:
        provider.upstream.on("/v1/messages", provider._answered)
        yield client


def posted(http: httpx.Client, path: str, **body: Any) -> Any:
    response = http.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.requirement("C4")
def test_the_address_may_be_left_out() -> None:
    loaded = configuration.loads('[[model]]\nname = "claude-opus-5-5"\nprovider = "anthropic"\n', environ={})
    [replica] = address_of(loaded.models[0]).replicas
    assert replica.api_base == "https://api.anthropic.com"


@pytest.mark.requirement("A3")
def test_what_the_model_can_is_found_out(http: httpx.Client) -> None:
    shown = posted(http, "/api/show", model="claude")
    assert set(shown["capabilities"]) == {"completion", "tools", "vision", "thinking"}
    assert 200_000 in shown["model_info"].values()


@pytest.mark.requirement("A3")
async def test_a_model_that_is_not_there_says_nothing_of_the_others(provider: AnthropicProvider) -> None:
    clients, tasks = Clients(), ServerTasks()
    capabilities = Capabilities(clients)
    followed = [
        Followed(ModelAddress(name, "anthropic", (ReplicaAddress(provider.base, "k"),), model), (Breaker(),))
        for name, model in (("gone", "a-model"), ("there", provider.model))
    ]
    capabilities.follow(followed)
    async with tasks.open():
        await capabilities.refresh(["gone", "there"], tasks)
    assert capabilities.info("there").context_window == 200_000
    assert capabilities.info("gone").context_window is None
    await clients.aclose()


@pytest.mark.requirement("A4")
def test_tokens_are_counted_by_the_model_else_estimated(http: httpx.Client, provider: AnthropicProvider) -> None:
    counted = posted(http, "/v1/messages/count_tokens", model="claude", messages=ASKING, tools=[BASH])
    assert provider.counts[-1]["tools"] == [BASH]
    assert counted["input_tokens"] > 5
    provider.upstream.on("/v1/messages/count_tokens", Status(500))
    for model in ("claude", "other", "chorus"):
        assert posted(http, "/v1/messages/count_tokens", model=model, messages=ASKING) == {"input_tokens": 2}
    provider.upstream.on("/v1/messages/count_tokens", provider._counted)


@pytest.mark.requirement("A4")
def test_own_tools_and_fields_go_to_anthropic_only(
    http: httpx.Client, provider: AnthropicProvider, other: OpenAIProvider
) -> None:
    asked = {
        "messages": ASKING,
        "max_tokens": 100,
        "tools": [BASH],
        "context_management": {"edits": []},
        "metadata": {"user_id": "u"},
    }
    for script in (provider, other):
        script.script(ModelAnswer("Fine."))
    response = http.post("/v1/messages", json={"model": "claude", **asked})
    assert response.status_code == 200
    assert "x-chorus-warning" not in response.headers
    sent = provider.bodies[-1]
    assert {name: sent[name] for name in asked if name != "messages"} == {
        k: v for k, v in asked.items() if k != "messages"
    }
    response = http.post("/v1/messages", json={"model": "other", **asked})
    assert "`context_management` is left out" in response.headers["x-chorus-warning"]
    assert not other.refusals
    assert not {"anthropic_options", "context_management", "betas"} & other.requests[-1].body.keys()
    assert other.requests[-1].tools == ("bash",)


@pytest.mark.requirement("A4")
def test_own_blocks_of_a_conversation_do_not_reach_others(http: httpx.Client, other: OpenAIProvider) -> None:
    other.script(ModelAnswer("Fine."))
    searched = [
        {"type": "text", "text": "Look."},
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"title": "Rain"}]},
        {"type": "text", "text": "It rains."},
    ]
    history = [*ASKING, {"role": "assistant", "content": searched}, *ASKING]
    response = http.post("/v1/messages", json={"model": "other", "messages": history, "max_tokens": 9})
    assert response.status_code == 200
    assert not other.refusals
    assert "anthropic_content" not in str(other.requests[-1].body)


@pytest.mark.requirement("A2")
@pytest.mark.parametrize("stream", [False, True])
def test_a_client_of_chat_completions_brings_signatures_back(
    http: httpx.Client, provider: AnthropicProvider, stream: bool
) -> None:
    provider.script(ModelAnswer("So.", thinking="Hm.", signature="c2ln"))
    asked = {"model": "claude", "messages": ASKING, "reasoning_effort": "low"}
    if stream:
        text = http.post("/v1/chat/completions", json={**asked, "stream": True}).text
        assert '"signature":"c2ln"' in text
        message: dict[str, Any] = {"role": "assistant", "content": "So.", "reasoning_details": [DETAILS]}
    else:
        message = posted(http, "/v1/chat/completions", **asked)["choices"][0]["message"]
        assert message["reasoning_content"] == "Hm."
        assert message["reasoning_details"] == [DETAILS]
    posted(http, "/v1/chat/completions", **{**asked, "messages": [*ASKING, message, *ASKING]})
    assert provider.bodies[-1]["messages"][1]["content"][0] == {
        "type": "thinking",
        "thinking": "Hm.",
        "signature": "c2ln",
    }


@pytest.mark.requirement("A2")
def test_thinking_between_texts_comes_back_in_its_place(http: httpx.Client, provider: AnthropicProvider) -> None:
    content: list[Any] = [
        {"type": "thinking", "thinking": "One.", "signature": "b25l"},
        {"type": "text", "text": "First."},
        {"type": "thinking", "thinking": "Two.", "signature": "dHdv"},
        {"type": "text", "text": "Second."},
    ]
    provider.signed |= {"b25l": "One.", "dHdv": "Two."}

    def interleaved(recorded: Recorded) -> Any:
        return raw_answer(content, stream=bool(recorded.json.get("stream")))

    provider.upstream.on("/v1/messages", interleaved)
    answer = posted(http, "/v1/chat/completions", model="claude", messages=ASKING)
    provider.upstream.on("/v1/messages", provider._answered)
    history = [*ASKING, answer["choices"][0]["message"], *ASKING]
    posted(http, "/v1/chat/completions", model="claude", messages=history)
    assert provider.bodies[-1]["messages"][1]["content"] == content


@pytest.mark.requirement("A5")
def test_cached_tokens_are_in_every_dialects_usage(http: httpx.Client, provider: AnthropicProvider) -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 30, "output_tokens": 4}

    def cached(recorded: Recorded) -> Any:
        return raw_answer([{"type": "text", "text": "So."}], stream=False, usage=usage)

    provider.upstream.on("/v1/messages", cached)
    chat = posted(http, "/v1/chat/completions", model="claude", messages=ASKING)["usage"]
    assert (chat["prompt_tokens"], chat["prompt_tokens_details"]["cached_tokens"]) == (240, 200)
    responses = posted(http, "/v1/responses", model="claude", input="How?")["usage"]
    assert responses["input_tokens_details"] == {"cached_tokens": 200, "cache_write_tokens": 30}
    own = posted(http, "/v1/messages", model="claude", messages=ASKING, max_tokens=9)["usage"]
    assert {name: own[name] for name in usage} == usage
    provider.upstream.on("/v1/messages", provider._answered)


@pytest.mark.requirement("A4")
def test_beta_names_go_on_but_for_those_of_the_clients_key(http: httpx.Client, provider: AnthropicProvider) -> None:
    betas = "claude-code-20250219, oauth-2025-04-20,,interleaved-thinking-2025-05-14"
    for model in ("claude", "chorus"):
        provider.script(ModelAnswer("Fine."))
        asked = {"model": model, "messages": ASKING, "max_tokens": 9}
        assert http.post("/v1/messages", json=asked, headers={"anthropic-beta": betas}).status_code == 200
        sent = provider.upstream.requests[0].headers["anthropic-beta"]
        assert sent == "claude-code-20250219,interleaved-thinking-2025-05-14"


@pytest.mark.requirement("S2")
def test_the_key_is_in_no_answer(http: httpx.Client, provider: AnthropicProvider) -> None:
    provider.script(Failure("unauthorized", f"invalid x-api-key: {KEY} ({KEY[4:]})"))
    for path in ("/v1/messages", "/v1/chat/completions"):
        response = http.post(path, json={"model": "claude", "messages": ASKING, "max_tokens": 9})
        assert response.status_code == 502
        assert "invalid x-" in response.text
        assert KEY not in response.text


@pytest.mark.requirement("W1")
def test_workers_of_a_workflow_get_the_clients_own_tools_and_judges_none(
    http: httpx.Client, provider: AnthropicProvider
) -> None:
    provider.script(ModelAnswer("Fine."))
    asked = {"model": "chorus", "messages": ASKING, "max_tokens": 100, "tools": [BASH]}
    response = http.post("/v1/messages", json=asked)
    assert response.status_code == 200
    assert "x-chorus-warning" in response.headers
    bodies = [each.body for each in provider.requests]
    mark = {"cache_control": {"type": "ephemeral"}}
    assert [body.get("tools") for body in bodies if "[Chorus" not in str(body)] == [[{**BASH, **mark}]]
    assert not any("tools" in body for body in bodies if "[Chorus" in str(body))
