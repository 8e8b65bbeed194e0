"""The `anthropic` library against the scripted Messages API, directly and through Chorus (A4, L2).

Directly it shows that the scripted API is like the real one. Through Chorus a conversation has to
reach it just as it would without: signatures, blocks of tools that run at Anthropic, beta names,
marks of the prompt cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic

from tests.kit import Recorded
from tests.kit.providers import Failure, ModelAnswer, ToolUse
from tests.kit.providers.anthropic import MODEL, AnthropicProvider, raw_answer
from tests.server.running import Running, running

ASKING: list[Any] = [{"role": "user", "content": "How?"}]
WEATHER: Any = {"name": "weather", "description": "The weather", "input_schema": {"type": "object", "properties": {}}}
SEARCH: Any = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
THINKS: Any = {"type": "enabled", "budget_tokens": 2048}
PARIS = ToolUse("weather", {"city": "Paris"})
SEARCHED: list[Any] = [
    {"type": "thinking", "thinking": "I search.", "signature": "Zmlyc3Q="},
    {"type": "text", "text": "Let me look."},
    {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "rain"}},
    {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [
            {
                "type": "web_search_result",
                "url": "https://example.com/",
                "title": "Rain",
                "encrypted_content": "ZW5j",
            }
        ],
    },
    {"type": "thinking", "thinking": "It rains.", "signature": "c2Vjb25k"},
    {
        "type": "text",
        "text": "It rains.",
        "citations": [
            {
                "type": "web_search_result_location",
                "url": "https://example.com/",
                "title": "Rain",
                "cited_text": "rain",
                "encrypted_index": "aW5k",
            }
        ],
    },
]


@pytest.fixture(scope="module")
def provider() -> Iterator[AnthropicProvider]:
    with AnthropicProvider.serving() as serving:
        yield serving


@pytest.fixture(scope="module")
def server(provider: AnthropicProvider) -> Iterator[Running]:
    with running(f'[[model]]\nname = "{MODEL}"\nretries = 0\n{provider.settings()}') as server:
        yield server


@pytest.fixture(params=["directly", "through chorus"])
def client(request: pytest.FixtureRequest, provider: AnthropicProvider, server: Running) -> Iterator[Anthropic]:
    base = provider.base if request.param == "directly" else server.base
    provider.script(ModelAnswer("ready"))
    provider.upstream.on("/v1/messages", provider._answered)
    provider.bodies.clear()
    with Anthropic(base_url=base, api_key="sk-ant-test", max_retries=0) as client:
        yield client


def answered(client: Anthropic, *, stream: bool, **body: Any) -> anthropic.types.Message:
    """The answer, put together by the library."""
    whole = {"model": MODEL, "max_tokens": 8000, "messages": ASKING, **body}
    if not stream:
        message: anthropic.types.Message = client.messages.create(**whole)
        return message
    with client.messages.stream(**whole) as streamed:
        return streamed.get_final_message()


def plain(blocks: Any) -> list[dict[str, Any]]:
    """Blocks without what is not set."""
    return [block.to_dict(exclude_none=True) for block in blocks]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.requirement("A4")
def test_text_usage_and_end(client: Anthropic, provider: AnthropicProvider, stream: bool) -> None:
    provider.script(ModelAnswer("It rains 好🙂.", usage=(12, 5)))
    message = answered(
        client, stream=stream, system="Be brief.", stop_sequences=["END"], extra_body={"temperature": 0.5}
    )
    assert [block.text for block in message.content if block.type == "text"] == ["It rains 好🙂."]
    assert message.stop_reason == "end_turn"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (12, 5)
    body = provider.bodies[-1]
    assert (body["temperature"], body["stop_sequences"]) == (0.5, ["END"])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.requirement("A4")
def test_thinking_comes_back_as_it_was(client: Anthropic, provider: AnthropicProvider, stream: bool) -> None:
    thought = ModelAnswer("I look.", thinking="Paris, I think.", signature="c2lnbmVk", calls=(PARIS,))
    provider.script(thought, ModelAnswer("Rain."))
    message = answered(client, stream=stream, tools=[WEATHER], thinking=THINKS)
    thinking, text, call = message.content
    assert thinking.type == "thinking"
    assert (thinking.thinking, thinking.signature) == ("Paris, I think.", "c2lnbmVk")
    assert (text.type, call.type, message.stop_reason) == ("text", "tool_use", "tool_use")
    assert call.type == "tool_use"
    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "no such city", "is_error": True}
    history: Any = [
        *ASKING,
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result]},
    ]
    answered(client, stream=stream, messages=history, tools=[WEATHER], thinking=THINKS)
    sent = provider.bodies[-1]
    assert sent["thinking"] == THINKS
    assert sent["messages"][1]["content"][0] == {
        "type": "thinking",
        "thinking": "Paris, I think.",
        "signature": "c2lnbmVk",
    }
    assert sent["messages"][2]["content"] == [result]
    assert not provider.refusals


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.requirement("A4")
def test_blocks_of_tools_that_run_at_anthropic_go_there_and_back(
    client: Anthropic, provider: AnthropicProvider, stream: bool
) -> None:
    for block in SEARCHED:
        if block["type"] == "thinking":
            provider.signed[block["signature"]] = block["thinking"]

    def searching(recorded: Recorded) -> Any:
        return raw_answer(SEARCHED, stream=bool(recorded.json.get("stream")), stop_reason="pause_turn")

    provider.upstream.on("/v1/messages", searching)
    message = answered(client, stream=stream, tools=[SEARCH, WEATHER], thinking=THINKS)
    assert plain(message.content) == SEARCHED
    assert message.stop_reason == "pause_turn"
    sent = provider.upstream.requests[-1].json
    assert sent["tools"] == [SEARCH, WEATHER]
    provider.upstream.on("/v1/messages", provider._answered)
    provider.script(ModelAnswer("Yes."))
    history: Any = [*ASKING, {"role": "assistant", "content": message.content}, {"role": "user", "content": "Sure?"}]
    answered(client, stream=stream, messages=history, tools=[SEARCH, WEATHER])
    assert not provider.refusals
    returned = provider.bodies[-1]["messages"][1]["content"]
    kept = [{key: value for key, value in block.items() if value is not None} for block in returned]
    assert [block["type"] for block in kept] == [block["type"] for block in SEARCHED]
    assert [block.get("signature") for block in kept] == [block.get("signature") for block in SEARCHED]
    assert kept[2] == SEARCHED[2]
    assert kept[5]["citations"][0]["encrypted_index"] == "aW5k"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.requirement("A4")
def test_thinking_that_is_redacted_or_not_shown(client: Anthropic, provider: AnthropicProvider, stream: bool) -> None:
    provider.signed["aGlkZGVu"] = ""
    content: list[Any] = [
        {"type": "thinking", "thinking": "", "signature": "aGlkZGVu"},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
        {"type": "text", "text": "So."},
    ]
    provider.upstream.on("/v1/messages", lambda asked: raw_answer(content, stream=bool(asked.json.get("stream"))))
    message = answered(client, stream=stream, thinking=THINKS)
    assert plain(message.content) == content
    provider.upstream.on("/v1/messages", provider._answered)
    history: Any = [*ASKING, {"role": "assistant", "content": message.content}, {"role": "user", "content": "Sure?"}]
    answered(client, stream=stream, messages=history)
    assert provider.bodies[-1]["messages"][1]["content"] == content


@pytest.mark.requirement("A4")
def test_documents_with_citations_reach_the_model(client: Anthropic, provider: AnthropicProvider) -> None:
    source = {"type": "text", "media_type": "text/plain", "data": "It rains."}
    document = {"type": "document", "source": source, "title": "Rain", "citations": {"enabled": True}}
    messages: Any = [{"role": "user", "content": [document, {"type": "text", "text": "What?"}]}]
    answered(client, stream=False, messages=messages)
    assert provider.bodies[-1]["messages"] == messages
    response = client.messages.with_raw_response.create(model=MODEL, max_tokens=9, messages=messages)
    assert "x-chorus-warning" not in response.headers


@pytest.mark.requirement("A4")
def test_beta_names_and_marks_of_the_cache(client: Anthropic, provider: AnthropicProvider) -> None:
    mark = {"type": "ephemeral", "ttl": "1h"}
    text: Any = [{"type": "text", "text": "Rules. " * 200, "cache_control": mark}]
    headers = {"anthropic-beta": "extended-cache-ttl-2025-04-11,context-1m-2025-08-07"}
    first = answered(client, stream=False, system=text, extra_headers=headers)
    second = answered(client, stream=True, system=text, extra_headers=headers)
    assert provider.bodies[-1]["system"] == text
    sent = provider.upstream.requests[-1].headers["anthropic-beta"]
    assert sent == headers["anthropic-beta"]
    written = first.usage.cache_creation_input_tokens or first.usage.cache_read_input_tokens
    assert written
    assert second.usage.cache_read_input_tokens == written
    assert second.usage.input_tokens == 11


@pytest.mark.requirement("A4")
def test_a_turn_stays_what_it_was_when_its_mark_moves_on(client: Anthropic, provider: AnthropicProvider) -> None:
    """As Claude Code does it: the mark stands at the end of the last turn."""
    mark = {"cache_control": {"type": "ephemeral"}}

    def turn(word: str, *, marked: bool) -> Any:
        texts: list[Any] = [{"type": "text", "text": f"{word} " * 100}, {"type": "text", "text": f"{word}!"}]
        return {"role": "user", "content": [texts[0], {**texts[1], **(mark if marked else {})}]}

    system: Any = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    said: Any = {"role": "assistant", "content": [{"type": "text", "text": "A."}, {"type": "text", "text": "B."}]}
    provider.cached.clear()
    answered(client, stream=False, system=system, messages=[turn("red", marked=True)])
    history = [turn("red", marked=False), said, turn("blue", marked=True)]
    sent = provider.bodies[-1]
    assert sent["system"] == system
    assert sent["messages"] == [turn("red", marked=True)]
    answered(client, stream=False, system=system, messages=history)
    assert provider.bodies[-1]["messages"] == history
    assert provider.bodies[-1]["messages"][0] == turn("red", marked=False)


@pytest.mark.requirement("A4")
def test_counting(client: Anthropic, provider: AnthropicProvider) -> None:
    counted = client.messages.count_tokens(model=MODEL, messages=ASKING, system="S", tools=[WEATHER])
    provider_says = provider.counts[-1]
    assert counted.input_tokens > 0
    assert provider_says["messages"][0]["role"] == "user"


@pytest.mark.requirement("A5")
def test_errors(client: Anthropic, provider: AnthropicProvider) -> None:
    provider.script(Failure("rate_limited", "Slower.", retry_after=2))
    with pytest.raises(anthropic.RateLimitError, match="Slower") as caught:
        answered(client, stream=False)
    assert caught.value.response.headers["retry-after"] == "2"
    provider.script(Failure("refused", "prompt is too long: 213462 tokens > 200000 maximum"))
    with pytest.raises(anthropic.BadRequestError, match="too long"):
        answered(client, stream=True)


@pytest.mark.requirement("A4")
def test_a_schema(client: Anthropic, provider: AnthropicProvider) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    provider.script(ModelAnswer('{"a": "b"}'))
    answered(client, stream=False, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert provider.bodies[-1]["output_config"]["format"]["schema"] == schema


def test_the_list_of_models_is_as_the_library_reads_it(provider: AnthropicProvider) -> None:
    with Anthropic(base_url=provider.base, api_key="k") as client:
        described = client.models.retrieve(MODEL)
        listed = [model.id for model in client.models.list()]
    assert described.max_input_tokens == 200_000
    assert listed == [MODEL]
