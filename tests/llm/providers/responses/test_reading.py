"""Answers of the Responses API as chunks: streamed, whole, odd and broken."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chorus.errors import (
    ContentFiltered,
    LLMError,
    UpstreamProtocol,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamStatus,
)
from chorus.llm.base import Chunk
from chorus.llm.providers.responses.output_items import OutputItems
from chorus.llm.providers.responses.reading import ResponseReader
from chorus.llm.providers.tool_names import OwnNames
from chorus.types import ChatRequest
from chorus.usage import Usage
from tests.kit.providers.http import encoded
from tests.kit.providers.responses_wire import (
    Item,
    custom_call,
    events,
    function_call,
    message,
    reasoning,
    response,
    web_search,
)
from tests.llm.answers import calls_of, reasoning_of, usage_of
from tests.llm.reaching import text_of

pytestmark = pytest.mark.requirement("L2")
LOGPROBS = [
    {"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []},
    {"token": " there", "logprob": -0.2, "bytes": [32], "top_logprobs": []},
]


def reader(warnings: list[str] | None = None, *, takes_items: bool = False) -> ResponseReader:
    warn = (warnings if warnings is not None else []).append
    items = OutputItems(
        "m", {"apply.patch": "apply_patch"}, OwnNames(ChatRequest("m", ()), 64), warn, takes_items=takes_items
    )
    return ResponseReader("m", items, prompt_estimate=lambda: 5)


def read(whole: Item, *, stream: bool, warnings: list[str] | None = None, takes_items: bool = False) -> list[Chunk]:
    """The chunks of a response."""
    reading = reader(warnings, takes_items=takes_items)
    if not stream:
        return list(reading.whole(encoded(whole)))
    chunks = [chunk for each in events(whole) for chunk in reading.event(encoded(each))]
    assert reading.is_over
    return chunks


def fed(*each: Any) -> list[Chunk]:
    """The chunks of these events."""
    reading = reader()
    return [chunk for data in each for chunk in reading.event(encoded(data))]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_text_reasoning_calls_and_usage(stream: bool) -> None:
    output = [
        reasoning("rs_1", "One two.", "Three."),
        message("msg_1", "Hi there 好🙂"),
        function_call("fc_1", "c1", "look", {"a": "北京"}),
        function_call("fc_2", "c2", "look", {}),
        custom_call("ctc_1", "c3", "apply.patch", 'say "好"\n\t🙂\\'),
    ]
    chunks = read(response(output, {}, usage=(20, 9), cached=4, thought=3), stream=stream)
    assert text_of(chunks) == "Hi there 好🙂"
    assert reasoning_of(chunks) == "One two.\n\nThree."
    calls = calls_of(chunks)
    assert [call[:2] for call in calls.values()] == [("c1", "look"), ("c2", "look"), ("c3", "apply_patch")]
    assert [json.loads(call[2]) for call in calls.values()] == [{"a": "北京"}, {}, {"input": 'say "好"\n\t🙂\\'}]
    assert chunks[-1].finish_reason == "tool_calls"
    assert usage_of(chunks) == Usage(20, 9, cached_tokens=4, reasoning_tokens=3)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_reasoning_is_kept_with_what_it_stood_before(stream: bool) -> None:
    output = [
        reasoning("rs_1", "One.", encrypted="gA"),
        message("msg_1", "Hi"),
        reasoning("rs_2", encrypted="gB"),
        function_call("fc_1", "c1", "look", {}),
        reasoning("rs_3", text="open"),
    ]
    chunks = read(response(output, {}), stream=stream)
    details = [entry for chunk in chunks if chunk.extra for entry in chunk.extra["reasoning_details"]]
    assert [(each["id"], each["type"], each.get("before")) for each in details] == [
        ("rs_1", "reasoning.summary", "message"),
        ("rs_1", "reasoning.encrypted", "message"),
        ("rs_2", "reasoning.encrypted", "c1"),
        ("rs_3", "reasoning.text", None),
    ]
    assert reasoning_of(chunks) == "One.\n\nopen"
    first = next(chunk for chunk in chunks if chunk.extra)
    assert not any(chunk.text for chunk in chunks[: chunks.index(first)])


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("else", "length")]
)
def test_an_incomplete_answer(stream: bool, reason: str, finish: str) -> None:
    chunks = read(response([message("msg_1", "Hi")], {}, status="incomplete", incomplete=reason), stream=stream)
    assert (text_of(chunks), chunks[-1].finish_reason) == ("Hi", finish)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_refusal_keeps_its_words(stream: bool) -> None:
    chunks = read(response([message("msg_1", "", refusal="I will not.")], {}), stream=stream)
    assert (text_of(chunks), chunks[-1].finish_reason) == ("I will not.", "content_filter")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_citations_phase_and_log_probabilities(stream: bool) -> None:
    cited = {"type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2}
    item = message("msg_1", "Hi there", annotations=[cited], phase="final_answer")
    item["content"][0]["logprobs"] = LOGPROBS
    chunks = read(response([item], {}), stream=stream)
    extras = {key: value for chunk in chunks for key, value in (chunk.extra or {}).items()}
    fields = {key: value for key, value in cited.items() if key != "type"}
    assert extras == {"annotations": [{"type": "url_citation", "url_citation": fields}], "phase": "final_answer"}
    content = [entry for chunk in chunks if chunk.logprobs for entry in chunk.logprobs["content"]]  # type: ignore[index]
    assert content == LOGPROBS


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_items_of_hosted_tools(stream: bool) -> None:
    whole = response([web_search("ws_1", "q"), message("msg_1", "Hi")], {})
    kept = read(whole, stream=stream, takes_items=True)
    assert [chunk.extra for chunk in kept if chunk.extra] == [{"responses_items": [{"item": whole["output"][0]}]}]
    warnings: list[str] = []
    assert text_of(read(whole, stream=stream, warnings=warnings)) == "Hi"
    [warning] = warnings
    assert "web_search_call" in warning


@pytest.mark.parametrize(
    ("error", "kind", "wait"),
    [
        ({"code": "server_error", "message": "It fell over."}, UpstreamStatus, None),
        ({"code": "rate_limit_exceeded", "message": "Please try again in 1.5s."}, UpstreamRateLimited, 1.5),
        ({"code": "rate_limit_exceeded", "message": "Please try again in 200ms."}, UpstreamRateLimited, 0.2),
        ({"code": "invalid_prompt", "message": "No."}, UpstreamRefused, None),
        ({"code": "image_content_policy_violation", "message": "No."}, ContentFiltered, None),
        ({"code": "context_length_exceeded", "message": "Too long."}, UpstreamRefused, None),
        ({"code": "new", "message": "Hm."}, LLMError, None),
    ],
)
@pytest.mark.parametrize("way", ["event", "nested event", "failed", "whole"])
@pytest.mark.requirement("L3")
def test_a_failure_has_its_type(error: Item, kind: type[LLMError], wait: float | None, way: str) -> None:
    whole = response([], {}, status="failed", error=error, usage=None)
    failures: dict[str, Item] = {
        "event": {"type": "error", **error, "param": None, "sequence_number": 3},
        "nested event": {"error": {"type": "error", **error}},
        "failed": events(whole)[-1],
    }
    with pytest.raises(LLMError) as raised:
        read(whole, stream=False) if way == "whole" else fed(failures[way])
    assert type(raised.value) is kind
    assert error["message"] in raised.value.message
    assert raised.value.retry_after == wait


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"object":"chat.completion","choices":[]}',
        b'{"object":"response","status":"queued"}',
    ],
)
@pytest.mark.requirement("L3")
def test_what_is_no_answer(raw: bytes) -> None:
    with pytest.raises(UpstreamProtocol):
        list(reader().whole(raw))


def test_unknown_events_and_items_are_passed_over() -> None:
    odd = [
        {"type": "response.of.tomorrow", "delta": 7},
        {"type": "keepalive", "sequence_number": 1},
        {"type": "response.output_text.delta", "delta": 7, "output_index": "x"},
        {"type": "response.output_item.added", "output_index": 0, "item": 7},
        {"type": "response.output_item.done", "output_index": 1, "item": {"type": ["list"]}},
        {},
    ]
    assert fed(*odd) == []


def test_an_upstream_that_sends_no_pieces() -> None:
    whole = response([message("msg_1", "Hi"), function_call("fc_1", "c1", "look", {"a": 1})], {})
    done = [{"type": "response.output_item.done", "output_index": i, "item": x} for i, x in enumerate(whole["output"])]
    for chunks in (fed(*done, events(whole)[-1]), fed(events(whole)[-1])):
        assert text_of(chunks) == "Hi"
        assert calls_of(chunks) == {0: ("c1", "look", '{"a": 1}')}
        assert chunks[-1].finish_reason == "tool_calls"


def test_characters_that_are_cut_in_two() -> None:
    halves = [json.dumps({"type": "response.output_text.delta", "output_index": 0, "delta": "x"}) for _ in range(2)]
    first, second = halves[0].replace('"x"', '"\\ud83d"'), halves[1].replace('"x"', '"\\ude42"')
    reading = reader()
    chunks = [*reading.event(first.encode()), *reading.event(second.encode())]
    assert text_of(chunks) == "🙂"
