"""What a conversation holds, as each provider and family of models gets it."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest

from chorus.errors import UnsupportedFeature
from chorus.llm.address import Settings
from chorus.llm.base import Call
from chorus.llm.providers.openai_request import request_body
from chorus.llm.providers.traits import openai_traits
from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest, Image, Message, Opaque, Part, Sampling, Text, ToolCall, Tools
from tests.kit import ScriptedUpstream
from tests.llm.reaching import PROVIDERS, reached

MARK = {"cache_control": {"type": "ephemeral"}}
SIGNED = {"extra_content": {"google": {"thought_signature": "s"}}}
PNG = Image("data:image/png;base64,AAAA")
FILE = Opaque(
    {
        "type": "file",
        "file": {"filename": "a.py", "file_data": f"data:text/x-python;base64,{b64encode(b'x = 1').decode()}"},
    }
)
PDF = Opaque(
    {
        "type": "file",
        "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{b64encode(b'%PDF-1.7').decode()}"},
    }
)
AUDIO = Opaque({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})
TURN = (
    Message("user", "go"),
    Message(
        "assistant",
        "",
        "I think",
        (ToolCall("c1", "look", '{"a": 1}', SIGNED),),
        extra={"reasoning_details": [{"d": 1}]},
    ),
    Message("tool", "seen", tool_call_id="c1", name="look"),
)
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}, **MARK}


async def sent(
    scripted: ScriptedUpstream, clients: Clients, provider: str, request: ChatRequest, **options: Any
) -> tuple[dict[str, Any], list[str]]:
    """The body that the upstream got, and what was said of it."""
    base = scripted.api_base if provider == "openai" else scripted.base
    warnings: list[str] = []
    upstream = reached(base, clients, provider, **options).upstream
    async with upstream.open(Call(request, warn=warnings.append)) as chunks:
        assert [chunk async for chunk in chunks]
    return scripted.requests[-1].json, warnings


def written(request: ChatRequest, model: str, api_base: str) -> tuple[dict[str, Any], list[str]]:
    """The body for an address that no test can listen on."""
    warnings: list[str] = []
    body = request_body(request, model, openai_traits(model, api_base), stream=True, warn=warnings.append)
    return msgspec.json.decode(msgspec.json.encode(body)), warnings


async def test_a_compatible_upstream_gets_all_of_the_conversation(scripted: ScriptedUpstream, clients: Clients) -> None:
    body, warnings = await sent(scripted, clients, "openai", ChatRequest("m", TURN, tools=Tools([TOOL])))
    user, assistant, tool = body["messages"]
    assert user == {"role": "user", "content": "go"}
    assert assistant == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "I think",
        "reasoning_details": [{"d": 1}],
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}, **SIGNED}
        ],
    }
    assert tool == {"role": "tool", "content": "seen", "tool_call_id": "c1", "name": "look"}
    assert body["tools"] == [TOOL]
    assert warnings == []


def test_openais_own_api_gets_no_field_that_it_refuses() -> None:
    marked = Message("user", (Text("hi", MARK), Image("https://x/y.png", "low", MARK)))
    body, warnings = written(
        ChatRequest("m", (marked, *TURN), tools=Tools([TOOL])), "gpt-4o", "https://api.openai.com/v1"
    )
    for name in ("reasoning_content", "reasoning_details", "extra_content", "cache_control"):
        assert name not in str(body)
        assert any(name in warning for warning in warnings)
    assert body["messages"][0]["content"][1] == {
        "type": "image_url",
        "image_url": {"url": "https://x/y.png", "detail": "low"},
    }


async def test_ollama_gets_thinking_and_the_tools_name(scripted: ScriptedUpstream, clients: Clients) -> None:
    body, _ = await sent(scripted, clients, "ollama", ChatRequest("m", TURN))
    _, assistant, tool = body["messages"]
    assert assistant["thinking"] == "I think"
    assert assistant["tool_calls"][0]["function"] == {"name": "look", "arguments": {"a": 1}}
    assert tool["tool_name"] == "look"


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("parts", [(PNG,), (Text("text"), PNG)])
async def test_an_image_of_a_tool_result_is_in_a_user_message(
    scripted: ScriptedUpstream, clients: Clients, provider: str, parts: tuple[Part, ...]
) -> None:
    shown = (*TURN[:2], Message("tool", parts, tool_call_id="c1"))
    body, _ = await sent(scripted, clients, provider, ChatRequest("m", shown))
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "tool", "user"]
    assert "AAAA" not in str(body["messages"][2])
    assert "AAAA" in str(body["messages"][3])


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_there_is_one_system_message_unless_the_configuration_says_otherwise(
    scripted: ScriptedUpstream, clients: Clients, provider: str
) -> None:
    request = ChatRequest("m", (Message("developer", "A"), Message("user", "hi"), Message("system", "B")))
    body, _ = await sent(scripted, clients, provider, request)
    assert [(each["role"], each["content"]) for each in body["messages"]] == [("system", "A\n\nB"), ("user", "hi")]
    body, _ = await sent(scripted, clients, provider, request, settings=Settings("anywhere"))
    assert [each["role"] for each in body["messages"]] == ["system", "user", "system"]


async def test_gpt_5_gets_what_it_takes(scripted: ScriptedUpstream, clients: Clients) -> None:
    request = ChatRequest(
        "m",
        (Message("developer", "A"), Message("user", "hi"), Message("developer", "B")),
        Sampling(0.5, 0.9, 64, ("END",), 3, 0.1, 0.1),
        reasoning_effort="none",
    )
    body, warnings = await sent(scripted, clients, "openai", request, model="openai/gpt-5-mini")
    assert [each["role"] for each in body["messages"]] == ["developer", "user", "developer"]
    del body["messages"]
    assert body == {
        "model": "openai/gpt-5-mini",
        "max_completion_tokens": 64,
        "seed": 3,
        "reasoning_effort": "minimal",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty", "stop", "reasoning_effort"):
        assert any(f"'{name}'" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("effort", "model", "sent_effort"),
    [(True, "m", "medium"), (False, "m", "none"), (False, "o3", "low"), (True, "gpt-4o", None), ("high", "gpt-4.1-mini", None),
     ("turbo", "m", "turbo"), ("xhigh", "m", "xhigh")],
)  # fmt: skip
def test_an_effort_for_openai(effort: str | bool, model: str, sent_effort: str | None) -> None:
    request = ChatRequest("m", (Message("user", "hi"),), reasoning_effort=effort)
    body, warnings = written(request, model, "http://10.0.0.5/v1")
    assert body.get("reasoning_effort") == sent_effort
    assert bool(warnings) is (sent_effort is None or (model == "o3"))


@pytest.mark.parametrize(
    ("effort", "think"),
    [(True, True), (False, False), ("none", False), ("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"),
     ("xhigh", "high"), ("max", "high"), ("adaptive", True)],
)  # fmt: skip
async def test_an_effort_for_ollama(
    scripted: ScriptedUpstream, clients: Clients, effort: str | bool, think: str | bool
) -> None:
    body, _ = await sent(
        scripted, clients, "ollama", ChatRequest("m", (Message("user", "hi"),), reasoning_effort=effort)
    )
    assert body["think"] == think


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_configured_body_merges_deeply_and_wins(
    scripted: ScriptedUpstream, clients: Clients, provider: str
) -> None:
    request = ChatRequest(
        "m",
        (Message("user", "hi"),),
        Sampling(temperature=0.1),
        ollama_options={"num_ctx": 8, "top_k": 3},
        extra={"options": {"num_ctx": 8, "temperature": 0.1, "top_k": 3}} if provider == "openai" else {},
    )
    body, _ = await sent(
        scripted, clients, provider, request, extra_body={"options": {"num_ctx": 32768}, "provider": {"sort": "price"}}
    )
    assert body["options"] == {"num_ctx": 32768, "temperature": 0.1, "top_k": 3}
    assert body["provider"] == {"sort": "price"}


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_a_configured_limit_is_the_only_one(scripted: ScriptedUpstream, clients: Clients, name: str) -> None:
    request = ChatRequest("m", (Message("user", "hi"),), Sampling(max_tokens=5))
    body, _ = await sent(scripted, clients, "openai", request, extra_body={name: 9})
    assert {key: value for key, value in body.items() if key.startswith("max_")} == {name: 9}


async def test_what_the_configuration_omits_is_not_sent(scripted: ScriptedUpstream, clients: Clients) -> None:
    settings = Settings(max_tokens_field="max_completion_tokens", omit=frozenset({"stream_options", "seed", "name"}))
    request = ChatRequest("m", TURN, Sampling(max_tokens=5, seed=1))
    body, warnings = await sent(scripted, clients, "openai", request, settings=settings)
    assert body["max_completion_tokens"] == 5
    assert not body.keys() & {"stream_options", "seed", "max_tokens"}
    assert "name" not in body["messages"][2]
    assert [warning.split("'")[1] for warning in warnings] == ["name", "seed"]


async def test_parts_of_other_kinds_reach_openai_as_they_are(scripted: ScriptedUpstream, clients: Clients) -> None:
    request = ChatRequest("m", (Message("user", (Text("see"), FILE, PDF, AUDIO)),))
    body, warnings = await sent(scripted, clients, "openai", request)
    assert body["messages"][0]["content"][1:] == [FILE.data, PDF.data, AUDIO.data]
    assert warnings == []


async def test_ollama_gets_the_text_of_files_and_no_other_part(scripted: ScriptedUpstream, clients: Clients) -> None:
    request = ChatRequest("m", (Message("user", (Text("see"), FILE, PDF, AUDIO)),))
    body, warnings = await sent(scripted, clients, "ollama", request)
    assert body["messages"][0]["content"] == "see\na.py:\nx = 1"
    assert [warning.split("'")[1] for warning in warnings] == ["file", "input_audio"]


async def test_ollama_fetches_no_images(scripted: ScriptedUpstream, clients: Clients) -> None:
    with pytest.raises(UnsupportedFeature, match="inline"):
        await sent(scripted, clients, "ollama", ChatRequest("m", (Message("user", (Image("https://x/y.png"),)),)))


async def test_options_of_one_provider_are_told_from_those_of_another(
    scripted: ScriptedUpstream, clients: Clients
) -> None:
    request = ChatRequest("m", (Message("user", "hi"),), ollama_options={"num_ctx": 8}, extra={"top_k": 3})
    body, warnings = await sent(scripted, clients, "ollama", request)
    assert (body["options"], "top_k" in body, warnings) == ({"num_ctx": 8, "top_k": 3}, False, [])
    body, warnings = await sent(scripted, clients, "openai", request)
    assert (body["top_k"], "options" in body) == (3, False)
    assert [warning.split("'")[1] for warning in warnings] == ["options.num_ctx"]


@pytest.mark.parametrize("kind", ["text", "summary"])
async def test_ollama_gets_reasoning_that_comes_in_parts(
    scripted: ScriptedUpstream, clients: Clients, kind: str
) -> None:
    details = [{"type": f"reasoning.{kind}", kind: "I "}, {"type": f"reasoning.{kind}", kind: "think"}, {"data": "x"}]
    turns = (
        Message("user", "hi"),
        Message("assistant", "", extra={"reasoning_details": details}),
        Message("user", "x"),
    )
    body, _ = await sent(scripted, clients, "ollama", ChatRequest("m", turns))
    assert body["messages"][1]["thinking"] == "I think"
