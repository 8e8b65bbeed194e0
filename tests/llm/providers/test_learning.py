"""Refusals that name a field which the answer does not need: once more without it, and
remembered.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest

from chorus import wirejson
from chorus.errors import LLMError, UpstreamRefused, UpstreamTimeout
from chorus.llm.base import Call, Upstream, context_headers
from chorus.llm.embed import EmbedCall
from chorus.llm.providers.learning import MAX_LESSONS_PER_CALL, OPTIONAL, Learned, Lesson, lesson_of
from chorus.llm.providers.traits import Traits
from chorus.llm.registry import Reached
from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest, Message, Sampling, Text, ToolCall, Tools
from tests.kit import Hang, Say, ScriptedUpstream, Status
from tests.kit.record import Recorded
from tests.kit.script import Behaviour
from tests.llm.reaching import reached, text_of

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
MARK = {"cache_control": {"type": "ephemeral"}}
FULL = ChatRequest(
    "m",
    (
        Message("user", (Text("hi", MARK),)),
        Message("assistant", "", "hm", (ToolCall("c1", "f", "{}", {"extra_content": {"google": 1}}),)),
        Message("tool", "r", tool_call_id="c1", name="f", extra=MARK),
    ),
    Sampling(0.5, 0.9, 64, (), 7, 0.1, 0.1),
    Tools([TOOL]),
    parallel_tool_calls=True,
    reasoning_effort="minimal",
    extra={"prompt_cache_key": "k", "user": "u"},
)


def openai(field: str) -> Any:
    text = f"Unsupported parameter: '{field}' is not supported with this model."
    return {
        "error": {"message": text, "type": "invalid_request_error", "param": field, "code": "unsupported_parameter"}
    }


def argument(field: str) -> Any:
    return {"error": {"message": f"Unrecognized request argument supplied: {field}", "type": "invalid_request_error"}}


def gemini(field: str) -> Any:
    return [
        {
            "error": {
                "code": 400,
                "message": f'Invalid JSON payload received. Unknown name "{field}": Cannot find field.',
            }
        }
    ]


def pydantic(field: str) -> Any:
    # FastAPI repeats the whole request; what stands there names nothing
    given = {"messages": "temperature top_p stream_options are not supported"}
    return {
        "detail": [
            {"type": "extra_forbidden", "loc": ["body", field], "msg": "Extra inputs are not permitted", "input": given}
        ]
    }


def mistral(field: str) -> Any:
    return {"object": "error", "message": pydantic(field), "type": "invalid_request_error"}


def bedrock(field: str) -> Any:
    return {
        "message": f"Malformed input request: #: extraneous key [{field}] is not permitted, please reformat your input"
    }


def openrouter(field: str) -> Any:
    return {
        "error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": json.dumps(openai(field))}}
    }


def plain(field: str) -> str:
    return f"unknown field `{field}`"


STYLES = [openai, argument, gemini, pydantic, mistral, bedrock, openrouter, plain]


def present(body: Any, field: str) -> bool:
    """Whether the request has the field, at its top or in a message, a part or a tool call."""
    if field in body:
        return True
    inside = [item for message in body["messages"] for item in (message, *_items(message))]
    return any(field in item for item in inside)


def _items(message: Any) -> list[Any]:
    return [*(message["content"] if isinstance(message["content"], list) else []), *message.get("tool_calls", [])]


def refusing(field: str, style: Callable[[str], Any], status: int = 400) -> Callable[[Recorded], Behaviour]:
    return lambda seen: Status(status, style(field)) if present(seen.json, field) else Say("ok")


async def ask(model: Reached | Upstream, request: ChatRequest = FULL, *, stream: bool = True) -> tuple[str, list[str]]:
    """The text of the answer, and the warnings."""
    warnings: list[str] = []
    upstream = model.upstream if isinstance(model, Reached) else model
    async with upstream.open(Call(request, context_headers("req-1"), stream, warn=warnings.append)) as chunks:
        return text_of([chunk async for chunk in chunks]), warnings


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "field",
    ["stream_options", "temperature", "top_p", "presence_penalty", "reasoning_effort", "parallel_tool_calls", "seed",
     "prompt_cache_key", "user", "reasoning_content", "extra_content", "cache_control"],
)  # fmt: skip
async def test_a_refused_field_is_left_out_and_remembered(
    scripted: ScriptedUpstream, clients: Clients, field: str, style: Callable[[str], Any]
) -> None:
    scripted.on("m", refusing(field, style, 422 if style is pydantic else 400))
    model = reached(scripted.api_base, clients)
    text, warnings = await ask(model)
    assert text == "ok"
    assert any(field in warning for warning in warnings)
    assert [present(seen.json, field) for seen in scripted.requests] == [True, False]
    first, second = (seen.json for seen in scripted.requests)
    assert first.keys() - second.keys() <= {field}
    [replica] = model.pool.replicas
    assert replica.as_json(0)["learned"] == [f"{field} is left out"]
    assert (replica.errors, replica.breaker.failures, replica.calls) == (0, 0, 1)

    scripted.forget()
    assert (await ask(model))[0] == "ok"
    assert [present(seen.json, field) for seen in scripted.requests] == [False]


@pytest.mark.parametrize("wanted", ["max_tokens", "max_completion_tokens"])
async def test_the_limit_has_another_name(scripted: ScriptedUpstream, clients: Clients, wanted: str) -> None:
    other = "max_completion_tokens" if wanted == "max_tokens" else "max_tokens"
    scripted.on("m", refusing(other, openai)).on("gpt-5", refusing(other, openai))
    name = "gpt-5" if wanted == "max_tokens" else "m"
    model = reached(scripted.api_base, clients, model=name)
    for _ in range(2):
        assert (await ask(model))[0] == "ok"
    assert [seen.json.get(wanted) for seen in scripted.requests] == [None, 64, 64]
    assert model.pool.replicas[0].as_json(0)["learned"] == [f"{other} is sent as {wanted}"]


async def test_a_limit_that_is_refused_under_both_names_is_an_error(
    scripted: ScriptedUpstream, clients: Clients
) -> None:
    scripted.on(
        "m", lambda seen: Status(400, openai("max_tokens" if "max_tokens" in seen.json else "max_completion_tokens"))
    )
    model = reached(scripted.api_base, clients)
    with pytest.raises(UpstreamRefused):
        await ask(model)
    assert len(scripted.requests) == 2
    assert model.pool.replicas[0].as_json(0)["learned"] == []


async def test_several_fields_are_learned_one_by_one(scripted: ScriptedUpstream, clients: Clients) -> None:
    refused = ["temperature", "top_p", "seed", "max_tokens"]

    def answer(seen: Recorded) -> Behaviour:
        return next((Status(400, openai(field)) for field in refused if field in seen.json), Say("ok"))

    scripted.on("m", answer)
    assert (await ask(reached(scripted.api_base, clients)))[0] == "ok"
    assert len(scripted.requests) == 5


async def test_a_field_that_is_named_though_it_was_left_out_ends_the_call(
    scripted: ScriptedUpstream, clients: Clients
) -> None:
    scripted.on("m", Status(400, openai("temperature")))
    model = reached(scripted.api_base, clients)
    with pytest.raises(UpstreamRefused, match="temperature"):
        await ask(model)
    assert len(scripted.requests) == 2
    assert model.pool.replicas[0].as_json(0)["learned"] == []


async def test_one_that_refuses_everything_is_asked_a_bounded_number_of_times(
    scripted: ScriptedUpstream, clients: Clients
) -> None:
    without_limits = [name for name in OPTIONAL if not name.endswith("_tokens")]
    scripted.on("m", lambda seen: Status(400, openai(next(name for name in without_limits if name in seen.json))))
    with pytest.raises(UpstreamRefused):
        await ask(reached(scripted.api_base, clients))
    assert len(scripted.requests) == MAX_LESSONS_PER_CALL + 1


@pytest.mark.parametrize(
    "text",
    [
        "max_tokens is too large: 64. This model supports at most 32 completion tokens.",
        "This model's maximum context length is 8 tokens. Please reduce max_tokens; more is not supported.",
        "temperature must be between 0 and 2; other values are not allowed",
        "Invalid 'seed': integer below minimum value. Expected a value >= 0, but got -1 instead.",
        "Missing `reasoning_content` field in the assistant message; unknown thinking state",
        "'response_format' of type 'json_schema' is not supported with this model",
        "This model does not support tools.",
        "I don't know. temperature temperature temperature",
        "tool_choice is not supported",
    ],
)
async def test_a_wrong_value_and_a_field_that_matters_are_the_callers(
    scripted: ScriptedUpstream, clients: Clients, text: str
) -> None:
    scripted.on("m", Status(400, {"error": {"message": text}}))
    request = msgspec.structs.replace(FULL, response_format={"type": "json_object"}, tool_choice="required")
    with pytest.raises(UpstreamRefused):
        await ask(reached(scripted.api_base, clients), request)
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_other_statuses_teach_nothing(scripted: ScriptedUpstream, clients: Clients, status: int) -> None:
    scripted.on("m", Status(status, openai("temperature")))
    with pytest.raises(LLMError):
        await ask(reached(scripted.api_base, clients))
    assert len(scripted.requests) == 1


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("Unsupported value: 'reasoning_effort' does not support 'minimal' with this model. Supported values are: "
         "'low', 'medium', and 'high'.", "low"),
        ("reasoning_effort: Input should be 'low', 'medium' or 'high'", "low"),
        ("reasoning_effort must be one of [none, high]", "high"),
        ("Model grok-4 does not support parameter reasoningEffort.", None),
        ("This model does not support the effort parameter.", None),
    ],
)  # fmt: skip
async def test_an_effort_is_sent_in_a_word_that_the_model_knows(
    scripted: ScriptedUpstream, clients: Clients, text: str, sent: str | None
) -> None:
    scripted.on(
        "m",
        lambda seen: Status(400, {"error": text}) if seen.json.get("reasoning_effort") == "minimal" else Say("ok"),
    )
    model = reached(scripted.api_base, clients)
    for _ in range(2):
        assert (await ask(model))[0] == "ok"
    assert [seen.json.get("reasoning_effort") for seen in scripted.requests] == ["minimal", sent, sent]
    await ask(model, msgspec.structs.replace(FULL, reasoning_effort="high"))
    assert scripted.requests[-1].json.get("reasoning_effort") == ("high" if sent else None)


async def test_words_of_a_client_are_not_remembered(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", Status(400, {"error": "reasoning_effort should be one of 'low', 'high'"}))
    with pytest.raises(UpstreamRefused):
        await ask(reached(scripted.api_base, clients), msgspec.structs.replace(FULL, reasoning_effort="a lot"))
    assert len(scripted.requests) == 1


async def test_what_one_replica_refuses_another_gets(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", refusing("seed", openai))
    async with ScriptedUpstream() as other:
        first, second = reached(scripted.api_base, clients), reached(other.api_base, clients)
        await ask(first)
        await ask(second)
        assert "seed" in other.requests[-1].json


@pytest.mark.parametrize(
    "text", ['"llama3.1:8b" does not support thinking', 'think value "high" is not supported for this model']
)
async def test_an_ollama_model_that_cannot_think_is_asked_without(
    scripted: ScriptedUpstream, clients: Clients, text: str
) -> None:
    taken = (None,) if "does not" in text else (None, True)
    scripted.on("m", lambda seen: Say("ok") if seen.json.get("think") in taken else Status(400, {"error": text}))
    model = reached(scripted.base, clients, "ollama")
    request = msgspec.structs.replace(FULL, reasoning_effort="high")
    for _ in range(2):
        text, _warnings = await ask(model, request)
        assert text == "ok"
    assert [seen.json.get("think") for seen in scripted.requests] == ["high", taken[-1], taken[-1]]
    assert "think" in model.pool.replicas[0].as_json(0)["learned"][0]


async def test_a_prompt_goes_as_a_message_where_there_is_no_completion_endpoint(
    scripted: ScriptedUpstream, clients: Clients
) -> None:
    scripted.on("/v1/completions", Status(404, {"error": "no such route"}))
    model = reached(scripted.api_base, clients)
    request = ChatRequest("m", (Message("user", "1 2 3"),), prompt="1 2 3")
    for _ in range(2):
        text, warnings = await ask(model, request)
        assert text
        assert any("prompt" in warning for warning in warnings)
    assert [seen.path for seen in scripted.requests] == ["/v1/completions", *["/v1/chat/completions"] * 2]
    scripted.forget()
    with pytest.raises(LLMError):  # a chat cannot fill in the middle
        await ask(reached(scripted.api_base, clients), msgspec.structs.replace(request, suffix="5"))
    assert [seen.path for seen in scripted.requests] == ["/v1/completions"]


async def test_embeddings_learn_too(scripted: ScriptedUpstream, clients: Clients) -> None:
    vectors = {"data": [{"embedding": [1.0], "index": 0}], "usage": {"prompt_tokens": 1}}
    scripted.on(
        "m",
        lambda seen: (
            Status(400, argument("encoding_format")) if "encoding_format" in seen.json else Status(200, vectors)
        ),
    )
    embedder = reached(scripted.api_base, clients).embedder
    assert embedder is not None
    for _ in range(2):
        found = await embedder.embed(EmbedCall(["hi"]))
        assert found.vectors == [[1.0]]
    assert len(scripted.requests) == 3


@pytest.mark.parametrize(
    ("text", "lesson"),
    [
        ("'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : property 'reasoning_content' "
         "is unsupported)]", "reasoning_content is left out"),
        ("Unknown parameter: 'messages[1].reasoning_content'.", "reasoning_content is left out"),
        ("Unrecognized request argument supplied: messages[1].content[0].cache_control", "cache_control is left out"),
        ("unknown field `stream_options`, expected one of `messages`, `temperature`, `reasoning_effort`", "stream_options is left out"),
        ("invalid temperature: only 1 is allowed for this model", "temperature is left out"),
        ("Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) value is supported.",
         "temperature is left out"),
        ("`temperature` is deprecated for this model.", "temperature is left out"),
        ("Argument not supported on this model: presencePenalty", "presence_penalty is left out"),
        ("Argument not supported on this model: stop", "stop is left out"),
        ("The 'metadata' parameter is only allowed when 'store' is enabled.", "metadata is left out"),
        ("Unknown parameter: 'messages[2].name'.", "name is left out"),
        ("Unknown parameter: 'tools[0].function.strict'.", "strict is left out"),
        ("Use max_completion_tokens instead: max_tokens is not supported", "max_tokens is sent as max_completion_tokens"),
        ("Invalid value: 'developer'. Supported values are: 'system', 'assistant', 'user'.", "developer is sent as system"),
        ("Unexpected role 'developer'", "developer is sent as system"),
        ("System message must be at the beginning.", "system is sent as one message at the beginning"),
        ("Unknown name \"Ann\" of the user", None),
        ("tool_choice is not supported; stop asking", None),
    ],
)  # fmt: skip
def test_what_providers_write(text: str, lesson: str | None) -> None:
    sent = {
        "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "x", **MARK}]},
            {"role": "assistant", "content": "", "reasoning_content": "hm", "name": "n"},
        ],
        "tools": msgspec.Raw(b'[{"type": "function", "function": {"name": "f", "strict": false}}]'),
        **dict.fromkeys(
            ("max_tokens", "temperature", "presence_penalty", "stop", "user", "metadata", "stream_options"), 1
        ),
        "reasoning_effort": "low",
        "tool_choice": "required",
    }
    error = json.dumps({"error": {"message": text}}).encode()
    learned = lesson_of(400, error, wirejson.encode(sent), Traits(system="anywhere"), ())
    assert (str(learned) if learned else None) == lesson


@pytest.mark.parametrize("refused", ["developer", "system"])
async def test_a_role_that_is_refused_is_sent_otherwise(
    scripted: ScriptedUpstream, clients: Clients, refused: str
) -> None:
    def answer(seen: Recorded) -> Behaviour:
        roles = [message["role"] for message in seen.json["messages"]]
        if "developer" in roles and refused == "developer":
            return Status(400, {"error": "Unexpected role: 'developer'"})
        if set(roles[1:]) != {"user"} and refused == "system":
            return Status(400, {"error": "System message must be at the beginning."})
        return Say("ok")

    scripted.on("gpt-5", answer)
    request = ChatRequest("m", (Message("developer", "A"), Message("user", "hi"), Message("developer", "B")))
    model = reached(scripted.api_base, clients, model="gpt-5")
    for _ in range(2):
        assert (await ask(model, request))[0] == "ok"
    assert len(scripted.requests) == 3


async def test_the_second_try_has_no_time_of_its_own(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", Status(400, openai("seed")), Hang())
    model = reached(scripted.api_base, clients)
    with pytest.raises(UpstreamTimeout):
        async with model.upstream.open(Call(FULL, first_token_timeout=0.3)):
            pytest.fail("it answered")
    assert len(scripted.requests) == 2
    assert model.pool.replicas[0].as_json(0)["learned"] == []


async def test_calls_that_come_together_learn_the_same_once(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", refusing("seed", openai))
    model = reached(scripted.api_base, clients)
    texts: list[str] = []

    async def one() -> None:
        texts.append((await ask(model))[0])

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(one)
    assert texts == ["ok"] * 8
    assert model.pool.replicas[0].as_json(0)["learned"] == ["seed is left out"]


def test_the_newest_of_two_opposite_lessons_counts() -> None:
    learned = Learned(Traits())
    there, back = Lesson("max_tokens", "max_completion_tokens"), Lesson("max_completion_tokens", "max_tokens")
    for lesson, name in ((there, "max_completion_tokens"), (back, "max_tokens"), (there, "max_completion_tokens")):
        learned.remember([lesson])
        assert learned.traits.max_tokens_field == name
        assert learned.as_json() == [str(lesson)]


def test_two_fields_that_exclude_each_other_lose_the_lesser_one() -> None:
    error = json.dumps({"message": "`temperature` and `top_p` cannot both be specified for this model."}).encode()
    assert lesson_of(400, error, b'{"temperature":1,"top_p":1}', Traits(), ()) == Lesson("top_p")


@pytest.mark.parametrize("error", [b"", b"\xff\xfe", b"[" * 100_000, b'{"error": null}', b"{}" * 10, b'"x'])
def test_odd_error_bodies_teach_nothing(error: bytes) -> None:
    assert lesson_of(400, error, b'{"temperature":1,"messages":[]}', Traits(), ()) is None


ODD_TOOLS = Tools([{"type": "function", "function": {"name": "git.status", "parameters": {"type": "object"}}}])


@pytest.mark.parametrize(
    "message",
    [
        "Invalid 'tools[43].function.name': string too long. Expected a string with maximum length 64, but got 71.",
        "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that matches ...",
        "Invalid 'messages[3].tool_calls[0].function.name': string does not match pattern.",
        "* GenerateContentRequest.tools[0].function_declarations[41].name: Invalid function name. Must start with ...",
        "<400> InternalError.Algo.InvalidParameter: The length of the tool name cannot exceed 64.",
        "Tool name too long, please check: mcp__stata-mcp__stata_run_selection_stream_endpoint",
        "工具名称过长，请检查: mcp__mcp-router__mcp-shrimp-task-manager__analyze_task",
        "Tool name(s) exceed Kiro API limit of 64 characters",
        "Invalid request: function name is invalid, must start with a letter and can contain letters",
    ],
)
async def test_a_name_that_is_refused_is_sent_as_another(
    scripted: ScriptedUpstream, clients: Clients, message: str
) -> None:
    """Clients name the tools of MCP servers so; the next request has the other name at once."""

    def answered(seen: Recorded) -> Behaviour:
        name = seen.json["tools"][0]["function"]["name"]
        if "." in name:
            return Status(400, {"error": {"message": message, "type": "invalid_request_error"}})
        return Say("", tool_calls=[{"id": "c1", "name": name, "arguments": "{}"}])

    scripted.on("m", answered)
    model = reached(scripted.api_base, clients, model="m")
    for _ in range(2):
        request = ChatRequest("m", (Message("user", "hi"),), tools=ODD_TOOLS)
        async with model.upstream.open(Call(request, stream=True)) as chunks:
            pieces = [piece async for chunk in chunks for piece in chunk.tool_calls]
        assert pieces[0].name == "git.status"
    assert len(scripted.requests) == 3
    assert model.pool.replicas[0].as_json(0)["learned"] == ["tool_names is sent as names that OpenAI takes"]


def test_names_that_are_taken_teach_nothing() -> None:
    body = json.dumps({"error": {"message": "Invalid 'tools[0].function.name': string too long."}}).encode()
    sent = json.dumps({"messages": [], "tools": [TOOL]}).encode()
    assert lesson_of(400, body, sent, Traits(), []) is None
