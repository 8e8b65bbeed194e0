"""The fields of a Responses request: mapped to chat's, echoed, or left out with a warning (A3,
A6).
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from chorus.errors import UnsupportedFeature
from tests.kit import ScriptedUpstream
from tests.server.dialects.responses import asked, chat, delta, output, saying, streamed

MAPPED: dict[str, tuple[Any, dict[str, Any]]] = {
    "prompt_cache_key": ("k", {"prompt_cache_key": "k"}),
    "prompt_cache_retention": ("24h", {"prompt_cache_retention": "24h"}),
    "service_tier": ("flex", {"service_tier": "flex"}),
    "user": ("u", {"user": "u"}),
    "safety_identifier": ("s", {"safety_identifier": "s"}),
    "text": ({"verbosity": "low"}, {"verbosity": "low"}),
    "top_logprobs": (3, {"logprobs": True, "top_logprobs": 3}),
    "include": (["message.output_text.logprobs"], {"logprobs": True}),
    "reasoning": ({"effort": "low", "summary": "auto"}, {"reasoning_effort": "low"}),
    "parallel_tool_calls": (False, {"parallel_tool_calls": False}),
    "top_k": (7, {"top_k": 7}),
}
"""What a client sends, and what a pass-through upstream gets."""
TOOL = {"type": "function", "name": "look", "parameters": {"type": "object"}}
ALWAYS = {"model", "messages", "tools", "stream", "stream_options"}


@pytest.mark.parametrize("field", MAPPED)
@pytest.mark.requirement("A6")
async def test_a_field_reaches_the_upstream_under_its_name_in_chat(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, field: str
) -> None:
    value, sent = MAPPED[field]
    response = await client.post("/v1/responses", json={"model": "glm", "input": "hi", "tools": [TOOL], field: value})
    assert response.status_code == 200, response.text
    assert "x-chorus-warning" not in response.headers
    upstream = scripted.calls("glm")[0].json
    assert {key: item for key, item in upstream.items() if key not in ALWAYS} == sent


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("truncation", "auto"),
        ("max_tool_calls", 3),
        ("client_metadata", {"a": "b"}),
        ("context_management", [{"type": "compaction"}]),
        ("include", ["file_search_call.results"]),
    ],
)
@pytest.mark.requirement("A6")
async def test_a_field_that_chat_has_not_is_left_out_with_a_warning(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, field: str, value: Any
) -> None:
    response = await client.post("/v1/responses", json={"model": "glm", "input": "hi", field: value})
    assert response.status_code == 200, response.text
    assert field in response.headers["x-chorus-warning"]
    assert scripted.calls("glm")[0].json.keys() <= ALWAYS


@pytest.mark.parametrize(
    "fields",
    [{"truncation": "disabled"}, {"store": False}, {"metadata": {"a": "b"}}, {"stream_options": {}}, {"include": []}],
)
@pytest.mark.requirement("A6")
def test_fields_that_mean_nothing_to_an_upstream_need_no_warning(fields: dict[str, Any]) -> None:
    request = asked(**fields)
    assert request.warnings == ()
    assert request.requests[0].extra == {}


@pytest.mark.requirement("A3")
async def test_a_response_says_what_was_asked(client: httpx.AsyncClient) -> None:
    fields = {
        "user": "u",
        "safety_identifier": "s",
        "prompt_cache_key": "k",
        "service_tier": "default",
        "top_logprobs": 2,
        "max_tool_calls": 3,
        "metadata": {"a": "b"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "parallel_tool_calls": False,
    }
    body = (await client.post("/v1/responses", json={"model": "glm", "input": "hi", **fields})).json()
    assert {key: body[key] for key in fields} == fields
    body = (
        await client.post("/v1/responses", json={"model": "glm", "input": "hi", "text": {"verbosity": "high"}})
    ).json()
    assert body["text"] == {"format": {"type": "text"}, "verbosity": "high"}


@pytest.mark.requirement("A3")
def test_what_openai_keeps_is_refused() -> None:
    with pytest.raises(UnsupportedFeature) as refused:
        asked(input=None, prompt={"id": "pmpt_1"})
    assert refused.value.param == "prompt"


@pytest.mark.requirement("A3")
def test_log_probabilities_stand_beside_their_text() -> None:
    entry = {"token": "Yes", "logprob": -0.1, "bytes": None, "top_logprobs": [{"token": "No", "logprob": -2.0}]}
    events = saying(delta(text="Yes", logprobs={"content": [entry]}), text="Yes")
    request = asked(include=["message.output_text.logprobs"])
    (item,) = output(request, events)
    (found,) = item["content"][0]["logprobs"]
    assert (found["token"], found["logprob"], found["bytes"]) == ("Yes", -0.1, list(b"Yes"))
    assert found["top_logprobs"][0]["token"] == "No"
    deltas = [frame for frame in streamed(request, events) if frame["type"] == "response.output_text.delta"]
    assert deltas[0]["logprobs"] == [found]
    (item,) = output(asked(), events)
    assert item["content"][0]["logprobs"] == []


@pytest.mark.requirement("A3")
def test_chat_shaped_turns_keep_their_fields() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}, "extra_content": {"a": 1}}
    turns = [
        {"role": "user", "name": "Ann", "content": "hi"},
        {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "seen"},
    ]
    user, assistant, _ = chat(input=None, messages=turns).messages
    assert user.name == "Ann"
    assert assistant.reasoning == "hm"
    assert assistant.tool_calls[0].extra == {"extra_content": {"a": 1}}
