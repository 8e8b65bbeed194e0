"""Requests of every dialect as the Responses API gets them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chorus.errors import UnsupportedFeature
from chorus.llm.address import Settings
from chorus.llm.providers.responses.items import InputWriter
from chorus.llm.providers.responses.request import request_body, with_extra_body
from chorus.llm.providers.traits import responses_traits
from chorus.types import (
    RESPONSES_ITEM,
    RESPONSES_ITEMS,
    ChatRequest,
    Image,
    Message,
    Opaque,
    Part,
    Sampling,
    Text,
    ToolCall,
    Tools,
)
from tests.kit.providers.responses_checks import check_fields, check_input

HI = Message("user", "hi")
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}}
FLAT = {"type": "function", "name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": False}
PNG = Image("data:image/png;base64,AAAA", "low")
PDF = Opaque({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}})
SOUND = Opaque({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})

pytestmark = pytest.mark.requirement("L2")


def written(
    *messages: Message, model: str = "gpt-5.2", settings: Settings | None = None, **fields: Any
) -> tuple[dict[str, Any], list[str]]:
    """The body, as its JSON is read, and the warnings.

    The strict checks of the scripted upstream hold for it.
    """
    warnings: list[str] = []
    request = ChatRequest("m", messages or (HI,), **fields)
    traits = responses_traits(model, settings or Settings())
    body = request_body(request, model, traits, stream=False, warn=warnings.append)
    read = msgspec.json.decode(msgspec.json.encode(body))
    check_fields(read)
    check_input(read["input"], {})
    return read, warnings


def test_the_least() -> None:
    body, warnings = written()
    assert body == {
        "model": "gpt-5.2",
        "store": False,
        "input": [{"role": "user", "content": "hi"}],
        "include": ["reasoning.encrypted_content"],
    }
    assert warnings == []


def test_a_model_that_never_reasons_is_asked_for_no_reasoning() -> None:
    assert "include" not in written(model="gpt-4o")[0]


@pytest.mark.parametrize(
    ("fields", "sent"),
    [
        ({"sampling": Sampling(temperature=0.5, top_p=0.9, max_tokens=100)}, {"max_output_tokens": 100}),
        ({"sampling": Sampling(temperature=0.5, top_p=0.9)}, {"temperature": 0.5, "top_p": 0.9}),
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low", "summary": "auto"}}),
        ({"reasoning_effort": False}, {"reasoning": {"effort": "none"}}),
        ({"reasoning_effort": True}, {"reasoning": {"effort": "medium", "summary": "auto"}}),
        ({"tools": Tools([TOOL])}, {"tools": [FLAT]}),
        ({"tools": Tools([TOOL]), "tool_choice": "required"}, {"tool_choice": "required"}),
        ({"tools": Tools([TOOL]), "parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        (
            {"tools": Tools([TOOL]), "tool_choice": {"type": "function", "function": {"name": "look"}}},
            {"tool_choice": {"type": "function", "name": "look"}},
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}, "strict": True}}},
            {
                "text": {
                    "format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": True}
                }
            },
        ),
        ({"response_format": {"type": "text"}}, {}),
        ({"extra": {"verbosity": "low"}}, {"text": {"verbosity": "low"}}),
        (
            {"logprobs": True, "top_logprobs": 3},
            {"include": ["reasoning.encrypted_content", "message.output_text.logprobs"], "top_logprobs": 3},
        ),
        (
            {"extra": {"user": "u", "service_tier": "flex", "prompt_cache_key": "k", "safety_identifier": "s"}},
            {"user": "u", "service_tier": "flex", "prompt_cache_key": "k", "safety_identifier": "s"},
        ),
        (
            {"extra": {"metadata": {"a": "b"}}, "responses_options": {"truncation": "auto"}},
            {"metadata": {"a": "b"}, "truncation": "auto"},
        ),
    ],
)
def test_a_field_has_its_place(fields: dict[str, Any], sent: dict[str, Any]) -> None:
    body, warnings = written(**fields)
    assert body | sent == body
    assert warnings == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"sampling": Sampling(seed=1)}, "'seed' is left out"),
        ({"sampling": Sampling(presence_penalty=0.5)}, "'presence_penalty' is left out"),
        ({"extra": {"logit_bias": {"1": 1}}}, "'logit_bias' is left out"),
        ({"sampling": Sampling(max_tokens=1)}, "16 tokens"),
        ({"ollama_options": {"num_ctx": 1}}, "'options.num_ctx' is left out"),
    ],
)
def test_what_has_no_place_is_left_out_with_a_warning(fields: dict[str, Any], named: str) -> None:
    _, [warning] = written(**fields)
    assert named in warning


@pytest.mark.parametrize("fields", [{"sampling": Sampling(stop=("x",))}, {"extra": {"store": True}}])
def test_what_chorus_does_itself_needs_no_warning(fields: dict[str, Any]) -> None:
    body, warnings = written(**fields)
    assert (body["store"], warnings) == (False, [])


def test_an_old_reasoning_model_gets_no_temperature() -> None:
    body, [warning] = written(model="o3", sampling=Sampling(temperature=0.5))
    assert "temperature" not in body
    assert "'temperature' is left out" in warning


def test_system_messages() -> None:
    system, later = Message("system", "Be brief."), Message("developer", "Now long.")
    body, _ = written(system, HI, later)
    assert body["instructions"] == "Be brief."
    assert body["input"] == [{"role": "user", "content": "hi"}, {"role": "developer", "content": "Now long."}]
    body, _ = written(system, HI, later, settings=Settings(system="first"))
    assert body["instructions"] == "Be brief.\n\nNow long."
    assert len(body["input"]) == 1
    assert written(system)[0]["input"] == [{"role": "system", "content": "Be brief."}]


def test_parts_of_a_message() -> None:
    parts: tuple[Part, ...] = (Text("See"), PNG, PDF, SOUND)
    assert written(Message("user", parts))[0]["input"][0]["content"] == [
        {"type": "input_text", "text": "See"},
        {"type": "input_image", "image_url": PNG.url, "detail": "low"},
        {"type": "input_file", "file_data": "data:application/pdf;base64,AA==", "filename": "a.pdf"},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    body, [warning] = written(Message("user", (Text("See"), Opaque({"type": "video_url"}))))
    assert len(body["input"][0]["content"]) == 1
    assert "left out" in warning
    body, [warning] = written(Message("developer", (Text("Be"), PNG)), HI)
    assert body["input"][0]["content"] == [{"type": "input_text", "text": "Be"}]
    assert "left out" in warning


def test_items_of_the_client_go_out_as_they_came_or_as_calls() -> None:
    shell = {"type": "local_shell_call", "id": "l1", "call_id": "c1", "status": "completed", "action": {"type": "exec"}}
    done = {"type": "local_shell_call_output", "id": "o1", "call_id": "c1", "output": "a.txt"}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    turn = (
        HI,
        Message(
            "assistant",
            "",
            tool_calls=(ToolCall("c1", "local_shell", '{"command": ["ls"]}', {RESPONSES_ITEM: shell}),),
            extra={RESPONSES_ITEMS: [{"item": search, "before": "c1"}]},
        ),
        Message("tool", "a.txt", tool_call_id="c1", extra={RESPONSES_ITEM: done}),
    )
    assert written(*turn)[0]["input"][1:] == [search, shell, done]
    plain, _ = written(*turn, settings=Settings(omit=frozenset({"reasoning_details"})))
    assert plain["input"][1:] == [
        {"type": "function_call", "call_id": "c1", "name": "local_shell", "arguments": '{"command": ["ls"]}'},
        {"type": "function_call_output", "call_id": "c1", "output": "a.txt"},
    ]


def test_names_are_left_out() -> None:
    body, [warning] = written(Message("user", "hi", name="ann"))
    assert body["input"] == [{"role": "user", "content": "hi"}]
    assert "names" in warning


def test_calls_and_results_with_images_and_long_ids() -> None:
    long = "toolu_" + "x" * 80
    calls = (ToolCall("c1", "look", '{"a": 1}'), ToolCall(long, "look", "{}"))
    body, _ = written(
        HI,
        Message("assistant", "I look.", tool_calls=calls),
        Message("tool", (Text("seen"), PNG), tool_call_id="c1"),
        Message("tool", "too", tool_call_id=long),
    )
    _, text, first, second, seen, too = body["input"]
    assert text == {"role": "assistant", "content": "I look."}
    assert first == {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"a": 1}'}
    assert seen["output"][1]["type"] == "input_image"
    assert second["call_id"] == too["call_id"]


def test_a_custom_tool_is_custom_again() -> None:
    custom = {"type": "custom", "name": "apply.patch"}
    options = {"tools": [custom], "customs": {"apply_patch": "apply.patch"}, "tool_choice": None}
    call = ToolCall("c1", "apply_patch", '{"input": "+ a"}')
    body, _ = written(
        HI,
        Message("assistant", "", tool_calls=(call,)),
        Message("tool", "done", tool_call_id="c1"),
        tools=Tools([TOOL]),
        tool_choice={"type": "function", "function": {"name": "apply_patch"}},
        responses_options=options,
    )
    assert body["tools"] == [custom]
    assert body["input"][1:] == [
        {"type": "custom_tool_call", "call_id": "c1", "name": "apply.patch", "input": "+ a"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "done"},
    ]


@pytest.mark.parametrize(
    "extra",
    [
        {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "hm", "signature": "s", "format": "anthropic-claude-v1"}
            ]
        },
        {},
    ],
)
def test_reasoning_of_another_provider_is_left_out(extra: dict[str, Any]) -> None:
    body, [warning] = written(HI, Message("assistant", "So.", "hm", extra=extra), HI)
    assert [item["role"] for item in body["input"]] == ["user", "assistant", "user"]
    assert "has not signed" in warning


def thought(its_id: str, **more: Any) -> dict[str, Any]:
    """An entry of `reasoning_details`: a sealed item of the Responses API."""
    return {"type": "reasoning.encrypted", "data": "gAAA", "format": "openai-responses-v1", "id": its_id, **more}


def test_reasoning_behind_which_nothing_stands_is_left_out() -> None:
    """An agent that was stopped in mid-answer has such a turn; the API refuses it."""
    body, [warning] = written(HI, Message("assistant", "", extra={"reasoning_details": [thought("rs_1")]}), HI)
    assert body["input"] == [{"role": "user", "content": "hi"}] * 2
    assert "nothing stands" in warning


def items_of(*details: dict[str, Any]) -> list[Any]:
    """The items for two turns of the same reasoning, as the writer makes them."""
    turn = Message("assistant", "So.", extra={"reasoning_details": list(details)})
    return [item for item in InputWriter({}, [].append).items((HI, turn, HI, turn)) if isinstance(item, dict)]


def test_an_item_stands_once() -> None:
    """Histories that a client has put together have items twice, which the API refuses."""
    items = items_of(thought("rs_1", before="message"))
    assert [item["id"] for item in items if item.get("type") == "reasoning"] == ["rs_1"]


@pytest.mark.parametrize("its_id", ["item_1", "rs_" + "x" * 400, ""])
def test_an_id_that_the_api_refuses_is_left_out(its_id: str) -> None:
    """GitHub's API makes ids of 400 characters, which it refuses itself in the next turn."""
    first, *_ = items_of(thought(its_id, before="message"))
    assert first == {"type": "reasoning", "summary": [], "encrypted_content": "gAAA"}


def test_token_numbers_are_refused_and_a_prompt_is_a_message() -> None:
    with pytest.raises(UnsupportedFeature):
        written(prompt=(1, 2))
    _, [warning] = written(prompt="hi")
    assert "user message" in warning


def test_configured_fields() -> None:
    body, _ = written(reasoning_effort="low")
    merged = with_extra_body(body, {"background": True, "reasoning": {"summary": "detailed"}})
    assert merged["store"] is True
    assert merged["reasoning"] == {"effort": "low", "summary": "detailed"}
    body, _ = written(settings=Settings(omit=frozenset({"reasoning.encrypted_content", "store"})))
    assert body.keys() == {"model", "input"}
