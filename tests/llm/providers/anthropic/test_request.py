"""Requests to the Messages API: every body passes the rules of the real one."""

from __future__ import annotations

from typing import Any

import pytest

from chorus.errors import UnsupportedFeature
from chorus.types import ChatRequest, Image, Message, Opaque, Sampling, Text, ToolCall, Tools
from tests.llm.providers.anthropic.writing import ADAPTIVE, BOTH, BUDGET, HOW, asking, function, written

CALL = ToolCall("call_1", "weather", '{"city": "Paris"}')
RESULT = Message("tool", "rain", tool_call_id="call_1")
SIGNED = {
    "reasoning_details": [
        {"type": "reasoning.text", "text": "I look.", "signature": "c2ln", "format": "anthropic-claude-v1"},
        {"type": "reasoning.encrypted", "data": "b3BhcXVl", "format": "anthropic-claude-v1"},
    ]
}


def blocks(body: dict[str, Any], place: int) -> list[dict[str, Any]]:
    return list(body["messages"][place]["content"])


def test_a_plain_question_needs_its_length_only() -> None:
    body, warnings = written(asking(Message("system", "Be brief."), HOW))
    assert body == {
        "model": BUDGET,
        "max_tokens": 64_000,
        "system": [{"type": "text", "text": "Be brief."}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "How?"}]}],
    }
    assert not warnings


def test_a_longer_answer_than_the_model_writes_is_cut() -> None:
    body, warnings = written(asking(sampling=Sampling(max_tokens=500_000)))
    assert body["max_tokens"] == 64_000
    assert "max_tokens" in warnings[0]
    assert written(asking(sampling=Sampling(max_tokens=10)))[0]["max_tokens"] == 10


@pytest.mark.parametrize("messages", [(), (Message("system", "Go."),), (Message("assistant", "Hello!"), HOW)])
def test_a_user_comes_first(messages: tuple[Message, ...]) -> None:
    body, warnings = written(ChatRequest("m", messages))
    assert body["messages"][0]["role"] == "user"
    assert "stands first" in warnings[0]


def test_empty_texts_are_left_out_and_turns_of_one_role_become_one() -> None:
    messages = (Message("user", "One."), Message("user", " "), Message("user", "Two."), Message("assistant", ""))
    body, _ = written(asking(*messages, Message("user", "Three.")))
    assert [block["text"] for block in blocks(body, 0)] == ["One.", "Two.", "Three."]


def test_system_messages_in_the_middle_go_to_the_front() -> None:
    body, _ = written(asking(HOW, Message("assistant", "So."), Message("developer", "Be kind."), HOW))
    assert body["system"] == [{"type": "text", "text": "Be kind."}]


def test_calls_and_results_are_blocks_with_images_inside() -> None:
    picture = Image("data:image/jpg;base64,AAAA")
    result = Message("tool", (Text("see"), picture), tool_call_id="call_1")
    body, _ = written(
        asking(HOW, Message("assistant", "I look.", tool_calls=(CALL,)), result, tools=Tools([function()]))
    )
    assert blocks(body, 1) == [
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}},
    ]
    [block] = blocks(body, 2)
    source = {"type": "base64", "media_type": "image/jpeg", "data": "AAAA"}
    assert block["content"] == [{"type": "text", "text": "see"}, {"type": "image", "source": source}]


def test_a_history_with_calls_has_tools_though_the_request_has_none() -> None:
    body, _ = written(asking(HOW, Message("assistant", "", tool_calls=(CALL,)), RESULT))
    assert body["tools"] == [{"name": "weather", "input_schema": {"type": "object", "properties": {}}}]
    assert body["tool_choice"] == {"type": "none"}


def test_a_call_without_a_result_gets_one_and_a_result_without_a_call_is_a_text() -> None:
    open_call = Message("assistant", "", tool_calls=(CALL, ToolCall("call_2", "time", "{}")))
    body, warnings = written(asking(HOW, open_call, RESULT, Message("user", "And?"), Message("tool", "old", name="t")))
    first, second, *texts = blocks(body, 2)
    assert (first["content"], second["is_error"], second["tool_use_id"]) == ("rain", True, "call_2")
    assert [block["text"] for block in texts] == ["And?", "Result of t:", "old"]
    assert len(warnings) == 2


def test_ids_of_other_providers_become_ids_that_are_taken() -> None:
    call = ToolCall("functions.weather:0", "weather", "not JSON")
    body, _ = written(
        asking(HOW, Message("assistant", "", tool_calls=(call,)), Message("tool", "x", tool_call_id=call.id))
    )
    assert blocks(body, 1)[0]["id"] == blocks(body, 2)[0]["tool_use_id"] == "functions_weather_0"
    assert blocks(body, 1)[0]["input"] == {"arguments": "not JSON"}


def test_thinking_comes_back_unchanged_and_first() -> None:
    turn = Message("assistant", "Looking.", "I look.", (CALL,), extra=SIGNED)
    body, _ = written(asking(HOW, turn, RESULT, reasoning_effort="low", tools=Tools([function()])))
    assert blocks(body, 1)[:2] == [
        {"type": "thinking", "thinking": "I look.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "b3BhcXVl"},
    ]
    assert body["thinking"]["type"] == "enabled"


def test_pieces_of_a_stream_that_a_client_kept_are_one_thought() -> None:
    kind = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    pieces = [{**kind, "text": "I "}, {**kind, "text": "look."}, {**kind, "signature": "c2ln"}]
    turn = Message("assistant", "So.", "I look.", extra={"reasoning_details": pieces})
    body, _ = written(asking(HOW, turn, HOW))
    assert blocks(body, 1)[0] == {"type": "thinking", "thinking": "I look.", "signature": "c2ln"}


def test_a_tool_turn_that_lost_its_thinking_is_answered_without_any() -> None:
    turn = Message("assistant", "", "I look.", (CALL,))
    judged = asking(HOW, turn, RESULT, Message("user", "Judge."), reasoning_effort="low", tools=Tools([function()]))
    assert "thinking" not in written(judged)[0]
    body, warnings = written(asking(HOW, turn, RESULT, reasoning_effort="low", tools=Tools([function()])))
    assert "thinking" not in body
    assert any("without its thinking" in warning for warning in warnings)
    body, _ = written(asking(HOW, turn, RESULT, reasoning_effort="low", tools=Tools([function()])), ADAPTIVE)
    assert body["thinking"]["type"] == "adaptive"


def test_reasoning_of_other_providers_is_no_thinking() -> None:
    others = {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x", "format": "openai-responses-v1"}]}
    body, _ = written(asking(HOW, Message("assistant", "So.", "Hm.", extra=others), HOW))
    assert blocks(body, 1) == [{"type": "text", "text": "So."}]


@pytest.mark.parametrize(
    ("effort", "model", "thinking", "output"),
    [
        (None, BUDGET, None, None),
        ("low", BUDGET, {"type": "enabled", "budget_tokens": 4096}, None),
        ("high", BUDGET, {"type": "enabled", "budget_tokens": 24_000}, None),
        (True, BUDGET, {"type": "enabled", "budget_tokens": 10_000}, None),
        ("none", BUDGET, None, None),
        ("low", "claude-opus-4-5", {"type": "enabled", "budget_tokens": 4096}, {"effort": "low"}),
        ("minimal", BOTH, {"type": "adaptive", "display": "summarized"}, {"effort": "low"}),
        ("xhigh", BOTH, {"type": "adaptive", "display": "summarized"}, {"effort": "high"}),
        ("xhigh", ADAPTIVE, {"type": "adaptive", "display": "summarized"}, {"effort": "xhigh"}),
        (True, ADAPTIVE, {"type": "adaptive", "display": "summarized"}, None),
        (False, BOTH, None, None),
        ("none", ADAPTIVE, {"type": "between_tools"}, None),
        (False, "claude-haiku-5-5", {"type": "disabled"}, None),
        (False, "claude-opus-5-5", None, None),
        ("low", "claude-3-5-haiku-latest", None, None),
    ],
)
def test_an_effort_is_what_the_family_has_for_it(effort: Any, model: str, thinking: Any, output: Any) -> None:
    request = asking(reasoning_effort=effort, sampling=Sampling(max_tokens=None))
    body, _ = written(request, model)
    assert (body.get("thinking"), body.get("output_config")) == (thinking, output)


def test_a_budget_leaves_room_for_the_answer() -> None:
    body, _ = written(asking(reasoning_effort="high", sampling=Sampling(max_tokens=2000)))
    assert body["thinking"]["budget_tokens"] == 1600
    body, warnings = written(asking(reasoning_effort="high", sampling=Sampling(max_tokens=500)))
    assert "thinking" not in body
    assert "1024 tokens" in warnings[0]


def test_the_budget_that_the_client_names_is_kept_where_there_are_budgets() -> None:
    asked = asking(
        reasoning_effort="medium",
        anthropic_options={"thinking": {"type": "enabled", "budget_tokens": 5000}},
        sampling=Sampling(max_tokens=8000),
    )
    assert written(asked)[0]["thinking"] == {"type": "enabled", "budget_tokens": 5000}
    body, _ = written(asked, ADAPTIVE)
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body["output_config"] == {"effort": "medium"}


def test_sampling_is_what_the_family_takes() -> None:
    both = Sampling(temperature=1.4, top_p=0.9)
    assert written(asking(sampling=both), BUDGET)[0]["temperature"] == 1
    body, warnings = written(asking(sampling=both), ADAPTIVE)
    assert not {"temperature", "top_p"} & body.keys()
    assert len(warnings) == 2
    body, warnings = written(asking(sampling=Sampling(temperature=0.2), reasoning_effort="low"), BUDGET)
    assert "temperature" not in body
    assert "while the model thinks" in warnings[0]


def test_what_the_api_has_no_place_for_is_named() -> None:
    request = asking(
        sampling=Sampling(seed=1, presence_penalty=1.0, stop=("END", "\n")),
        extra={"user": "u1", "logit_bias": {}, "service_tier": "flex", "metadata": {"a": "b"}},
        ollama_options={"top_k": 5, "num_ctx": 8},
        logprobs=True,
    )
    body, warnings = written(request)
    assert body["stop_sequences"] == ["END"]
    assert (body["metadata"], body["top_k"]) == ({"user_id": "u1"}, 5)
    named = [sentence.split("'")[1] for sentence in warnings]
    assert named == ["logit_bias", "logprobs", "metadata", "num_ctx", "presence_penalty", "seed", "service_tier"]
    body, warnings = written(asking(Message("user", "How?", name="Ann"), extra={"service_tier": "auto"}))
    assert (body["service_tier"], len(warnings)) == ("auto", 1)
    assert "'name'" in warnings[0]


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        ("auto", None, {"type": "auto"}),
        ("required", None, {"type": "any"}),
        ("none", False, {"type": "none"}),
        ({"type": "function", "function": {"name": "weather"}}, False, {"type": "tool", "name": "weather"}),
        (None, False, {"type": "auto"}),
        (None, None, None),
    ],
)
def test_the_choice_among_tools(choice: Any, parallel: bool | None, expected: Any) -> None:
    request = asking(tools=Tools([function()]), tool_choice=choice, parallel_tool_calls=parallel)
    body, _ = written(request)
    if expected is not None and parallel is False and expected["type"] != "none":
        expected = {**expected, "disable_parallel_tool_use": True}
    assert body.get("tool_choice") == expected


def test_a_required_tool_and_thinking_are_not_together() -> None:
    body, warnings = written(asking(tools=Tools([function()]), tool_choice="required", reasoning_effort="low"))
    assert "thinking" not in body
    assert "a tool is required" in warnings[0]


def test_strict_is_kept_where_the_schema_is_one_that_is_taken() -> None:
    closed = {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False}
    good, bad = function("a", parameters=closed, strict=True), function("b", strict=True)
    body, warnings = written(asking(tools=Tools([good, bad])))
    assert [tool.get("strict") for tool in body["tools"]] == [True, None]
    assert "strict" in warnings[0]


def test_a_schema_is_closed_and_loses_its_limits() -> None:
    schema = {"type": "object", "properties": {"minimum": {"type": "integer", "minimum": 1}}, "required": ["minimum"]}
    asked = asking(response_format={"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}})
    body, _ = written(asked)
    assert body["output_config"]["format"]["schema"] == {
        "type": "object",
        "properties": {"minimum": {"type": "integer"}},
        "required": ["minimum"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize("model", ["claude-3-7-sonnet-latest", BUDGET])
def test_a_schema_that_cannot_be_sent_is_an_instruction(model: str) -> None:
    schema = {"type": "object", "additionalProperties": True}
    asked = asking(response_format={"type": "json_schema", "json_schema": {"schema": schema}})
    body, warnings = written(asked, model)
    assert "additionalProperties" in body["system"][-1]["text"]
    assert "as an instruction" in warnings[0]
    body, _ = written(asking(response_format={"type": "json_object"}), model)
    assert "one JSON object" in body["system"][-1]["text"]


def test_files_are_documents() -> None:
    pdf = Opaque({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}})
    text = Opaque({"type": "file", "file": {"filename": "a.md", "file_data": "data:text/markdown;base64,SGk="}})
    link = Opaque({"type": "file", "file": {"file_data": "https://example.com/a.pdf"}})
    body, _ = written(asking(Message("user", (pdf, text, link, Image("https://example.com/a.png")))))
    sources = [block["source"] for block in blocks(body, 0)]
    assert [source["type"] for source in sources] == ["base64", "text", "url", "url"]
    assert sources[1]["data"] == "Hi"
    assert blocks(body, 0)[0]["title"] == "a.pdf"


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "data:application/zip;base64,/////w=="}},
    ],
)
def test_what_no_model_reads_is_refused(part: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedFeature):
        written(asking(Message("user", (Opaque(part),))))


def test_the_marks_of_the_client_stay_where_they_are() -> None:
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    system = Message("system", (Text("Long.", mark), Text("More.")))
    turn = Message("assistant", "", tool_calls=(ToolCall("call_1", "weather", "{}", mark),))
    result = Message("tool", (Text("rain", mark),), tool_call_id="call_1")
    body, _ = written(asking(system, HOW, turn, result, tools=Tools([{**function(), **mark}])))
    assert body["system"] == [{"type": "text", "text": "Long.", **mark}, {"type": "text", "text": "More."}]
    assert blocks(body, 1)[0]["cache_control"] == blocks(body, 2)[0]["cache_control"] == mark["cache_control"]
    assert body["tools"][0]["cache_control"] == mark["cache_control"]


def test_marks_are_set_at_the_end_of_what_calls_share() -> None:
    ours = Message("user", "Judge.")
    request = asking(Message("system", "S"), HOW, ours, tools=Tools([function("a"), function("b")]), shared_messages=2)
    body, _ = written(request, caches=True)
    ephemeral = {"type": "ephemeral"}
    assert [block.get("cache_control") for block in blocks(body, 0)] == [ephemeral, None]
    assert body["system"][0]["cache_control"] == ephemeral
    assert [tool.get("cache_control") for tool in body["tools"]] == [None, ephemeral]


def test_there_are_four_marks_at_most_and_the_clients_go_first() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    parts = tuple(Text(f"part {number}", mark) for number in range(3))
    request = asking(Message("system", "S"), Message("user", parts), HOW, tools=Tools([function()]), shared_messages=3)
    body, _ = written(request, caches=True)
    assert "cache_control" in blocks(body, 0)[-1]  # the end of the conversation is worth most
    assert "cache_control" not in body["system"][0]
    many = tuple(Text(f"part {number}", mark) for number in range(6))
    body, warnings = written(asking(Message("user", many)), caches=True)
    assert [("cache_control" in block) for block in blocks(body, 0)] == [False, False, True, True, True, True]
    assert "four marks" in warnings[0]


def test_the_clients_own_tools_and_fields_go_out_as_they_are() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    options = {"tools": [search], "tool_choice": {"type": "tool", "name": "web_search"}, "speed": "fast"}
    body, _ = written(asking(anthropic_options=options))
    assert (body["tools"], body["tool_choice"], body["speed"]) == ([search], options["tool_choice"], "fast")


def test_a_prompt_of_token_numbers_is_refused() -> None:
    with pytest.raises(UnsupportedFeature):
        written(asking(prompt=(1, 2)))
    _, warnings = written(asking(prompt="Once"))
    assert "user message" in warnings[0]
