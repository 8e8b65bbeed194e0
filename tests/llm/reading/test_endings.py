"""What an upstream sends that is no success is none (L3), and what it says of it reaches the
caller.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from chorus.errors import ChorusError, ContentFiltered, LLMError, UpstreamProtocol
from chorus.llm.base import Chunk
from chorus.llm.providers.ollama_reading import LineReader
from chorus.llm.providers.openai_reading import ChunkReader, read_whole
from chorus.llm.reading.endings import is_error
from chorus.llm.reading.error_bodies import MAX_ERROR_BODY, error_text
from chorus.llm.transport.sse import SSEDecoder
from chorus.types import Extra


def read(text: str, finish: Any, *, stream: bool, error: Any = None, **fields: Any) -> list[Chunk]:
    message = {"role": "assistant", "content": text, **fields}
    choice = {"index": 0, "finish_reason": finish} | ({"error": error} if error else {})
    if not stream:
        body = json.dumps({"choices": [{**choice, "message": message}]}).encode()
        return [read_whole(body, "m", prompt_estimate=lambda: 1)]
    reader = ChunkReader("m", prompt_estimate=lambda: 1)
    begun = reader.read(json.dumps({"choices": [{"index": 0, "delta": message}]}).encode())
    more = reader.read(json.dumps({"choices": [{**choice, "delta": {"content": ""}}]}).encode())
    return [chunk for chunk in (begun, more, reader.end(done=True)) if chunk is not None]


streamed = pytest.mark.parametrize("stream", [True, False])


@streamed
@pytest.mark.parametrize("finish", ["error", "abort", "insufficient_system_resource", "network_error", "ERROR"])
def test_a_finish_reason_that_says_failed_is_an_error(finish: str, stream: bool) -> None:
    with pytest.raises(LLMError, match=finish):
        read("half", finish, stream=stream)


@streamed
@pytest.mark.parametrize("finish", ["error", "stop", None])
def test_an_error_in_a_choice_is_an_error(finish: str | None, stream: bool) -> None:
    with pytest.raises(LLMError, match="provider died"):
        read("half", finish, stream=stream, error={"code": 502, "message": "provider died"})


@streamed
@pytest.mark.parametrize("finish", ["content_filter", "SAFETY", "sensitive"])
def test_a_filter_keeps_what_was_said(finish: str, stream: bool) -> None:
    assert read("half", finish, stream=stream)[-1].finish_reason == "content_filter"
    with pytest.raises(ContentFiltered):
        read("", finish, stream=stream)


@streamed
def test_an_unknown_finish_reason_is_success_only_where_there_is_an_answer(stream: bool) -> None:
    assert read("fine", "bananas", stream=stream)[-1].finish_reason == "stop"
    assert read("", "bananas", stream=stream, reasoning_content="hm")[-1].finish_reason == "stop"
    for finish in ("bananas", None):
        with pytest.raises(UpstreamProtocol, match="without an answer"):
            read("", finish, stream=stream)


@streamed
@pytest.mark.parametrize(("finish", "meaning"), [("stop", "stop"), ("MAX_TOKENS", "length"), ("end_turn", "stop")])
def test_an_empty_answer_with_a_finish_reason_is_what_the_model_said(finish: str, meaning: str, stream: bool) -> None:
    assert read("", finish, stream=stream)[-1].finish_reason == meaning


def extra_in(chunks: list[Chunk]) -> list[Extra]:
    return [chunk.extra for chunk in chunks if chunk.extra is not None]


@streamed
@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]},
        {"annotations": [{"type": "url_citation"}], "images": [{"type": "image_url"}]},
        {"audio": {"id": "a", "data": "AA"}},
        {"signature": "abc"},
        {"anything": 0},
    ],
)
def test_unknown_fields_of_a_message_survive(fields: dict[str, Any], stream: bool) -> None:
    nothing: dict[str, Any] = {"annotations_": [], "thing": None, "empty": ""}
    chunks = read("fine", "stop", stream=stream, **fields, **nothing)
    assert "".join(chunk.text for chunk in chunks) == "fine"
    assert extra_in(chunks) == [fields]
    assert extra_in(read("", "stop", stream=stream, **fields)) == [fields]


def test_text_goes_on_in_a_stream_whose_messages_have_other_fields() -> None:
    reader = ChunkReader("m", prompt_estimate=lambda: 1)
    deltas = [{"content": "a", "x": None}, {"content": "b", "x": 1}, {"content": "c"}, {"content": "d", "x": [2]}]
    chunks = [reader.read(json.dumps({"choices": [{"index": 0, "delta": each}]}).encode()) for each in deltas]
    assert [(chunk.text, chunk.extra) for chunk in chunks if chunk] == [
        ("a", None), ("b", {"x": 1}), ("c", None), ("d", {"x": [2]}),
    ]  # fmt: skip


def test_citations_beside_the_choices_are_told_once() -> None:
    reader = ChunkReader("m", prompt_estimate=lambda: 1)
    top = {"citations": ["https://a", "https://b"], "search_results": [{"url": "https://a"}]}
    for text in ("a", "b", "c"):
        reader.read(json.dumps({"choices": [{"index": 0, "delta": {"content": text}}], **top}).encode())
    reader.read(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **top}).encode())
    assert reader.end(done=True).extra == top
    body = {"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}], **top}
    assert read_whole(json.dumps(body).encode(), "m", prompt_estimate=lambda: 1).extra == top


def ollama(*lines: dict[str, Any]) -> list[Chunk]:
    reader = LineReader("m", prompt_estimate=lambda: 1)
    return [reader.read(json.dumps(line).encode()) for line in lines]


def test_ollamas_calls_and_unknown_fields() -> None:
    call = {"function": {"name": "now", "arguments": None}, "extra_content": {"a": 1}}
    message = {"role": "assistant", "content": "", "tool_calls": [call], "signature": "s"}
    [first, last] = ollama({"message": message, "done": False}, {"message": {"content": ""}, "done": True})
    assert first.extra == {"signature": "s"}
    assert [(piece.name, piece.arguments, piece.extra) for piece in first.tool_calls] == [
        ("now", "{}", {"extra_content": {"a": 1}})
    ]
    assert last.finish_reason == "tool_calls"


def test_ollamas_endings() -> None:
    [last] = ollama({"message": {"content": "x"}, "done": True, "done_reason": "bananas"})
    assert last.finish_reason == "stop"
    assert ollama({"message": {"content": ""}, "done": True, "done_reason": "load"})[-1].finish_reason == "stop"
    for reason, kind in (("bananas", UpstreamProtocol), ("error", LLMError)):
        with pytest.raises(kind):
            ollama({"message": {"content": ""}, "done": True, "done_reason": reason})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "MARK"}}, "MARK"),
        ({"error": "MARK"}, "MARK"),
        ({"detail": "MARK"}, "MARK"),
        ({"detail": [{"loc": ["body", "tools", 0], "msg": "MARK"}, {"loc": ["x"], "msg": "B"}]}, "body.tools.0: MARK; x: B"),
        ({"object": "error", "message": {"detail": [{"msg": "MARK"}]}}, "MARK"),
        ({"object": "error", "message": "MARK", "type": "invalid"}, "MARK"),
        ([{"error": {"code": 400, "message": "MARK", "status": "INVALID"}}], "MARK"),
        ({"error": {"message": "A", "details": [{"fieldViolations": [{"field": "f", "description": "MARK"}]}]}}, "A; MARK"),
        ({"errors": [{"message": "MARK"}]}, "MARK"),
        ({"code": 1, "msg": "MARK"}, "MARK"),
        ({"error": {"message": "P", "metadata": {"raw": "MARK", "provider_name": "X"}}}, "P; X: MARK"),
        ({"error": "invalid_request", "error_description": "MARK"}, "invalid_request; MARK"),
        ({"title": "Bad", "errors": {"model": ["MARK", "WORD"]}}, "Bad; model: MARK; model: WORD"),
        ({"errors": {"model": ["MARK"]}}, "model: MARK"),
        ({"errors": {"message": ["MARK"]}}, "MARK"),
        ({"error": {"message": "P", "metadata": {"raw": '{"error":{"message":"MARK"}}'}}}, "P; MARK"),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "MARK"}}, "MARK"),
        ({"__type": "ValidationException", "message": "MARK"}, "MARK"),
        ({"Message": "MARK"}, "MARK"),
        ({"__type": "MARK"}, "MARK"),
        ({"error": {"code": 3, "message": None}}, ""),
        ({"error": None, "message": "MARK"}, "MARK"),
    ],
)  # fmt: skip
def test_what_an_error_body_says(body: object, said: str) -> None:
    assert error_text(json.dumps(body).encode()) == said


def test_error_bodies_that_are_no_json() -> None:
    page = b"<html><head><title>502 Bad\nGateway</title></head>"
    assert error_text(page) == "(an HTML page: 502 Bad Gateway)"
    assert error_text(b"<p>") == "(an HTML page)"
    assert error_text(b"plain words") == "plain words"
    assert error_text(b'event: error\ndata: {"error": {"message": "MARK"}}\n\n') == "MARK"
    deep = b'{"error":' * 90 + b'"x"' + b"}" * 90
    assert error_text(deep) == ""
    assert len(error_text(b'{"error": "' + b"x" * MAX_ERROR_BODY + b'"}')) == MAX_ERROR_BODY


def test_the_reason_is_cut_and_holds_no_key() -> None:
    detail = error_text(json.dumps({"detail": "key sk-abcdefghijklmnopqrst is wrong " + "x" * 999}).encode())
    message = ChorusError.__str__(LLMError("Upstream 'm' refused", detail=detail))
    assert "sk-abc" not in message
    assert len(message) < 300


@pytest.mark.parametrize("error", [None, "", {}, {"code": 0, "message": ""}, {"code": None}, 0, False, []])
def test_an_error_that_says_nothing_is_none(error: object) -> None:
    assert not is_error(error)


@pytest.mark.parametrize(
    "error", ["out of memory", {"code": 1}, {"message": "no"}, {"code": 0, "message": "no"}, True, 1]
)
def test_an_error_that_says_anything_is_one(error: object) -> None:
    assert is_error(error)


HALF = b'{"choices":[{"index":0,"delta":{"content":"half"}}]}'


@pytest.mark.parametrize(
    "event",
    [
        b'{"object":"error","message":"died","code":500}',
        b'{"object":"error","message":"died","type":"InternalServerError"}',
        b'{"type":"error","message":"died"}',
        b'{"detail":"died"}',
        b'{"detail":[{"msg":"died","loc":["body"]}]}',
        b'{"errors":[{"message":"died"}]}',
        b'{"status":500,"message":"died"}',
        b'{"error_code":7,"message":"died"}',
    ],
)
def test_an_error_without_a_field_for_it_is_no_end(event: bytes) -> None:
    reader = ChunkReader("m", prompt_estimate=lambda: 1)
    reader.read(HALF)
    with pytest.raises(LLMError) as caught:
        reader.read(event)
    assert "died" in caught.value.message


@pytest.mark.parametrize(
    "event", [b'{"type":"ping"}', b'{"message":"processing"}', b"{}", b'{"object":"ping","code":0}']
)
def test_events_that_say_nothing_are_passed_over(event: bytes) -> None:
    reader = ChunkReader("m", prompt_estimate=lambda: 1)
    reader.read(HALF)
    assert reader.read(event) is None
    assert reader.end(done=True).finish_reason == "stop"


@pytest.mark.parametrize("data", [b'{"message":"died"}', b'{"error":{"message":"died"}}', b'"died"', b"died", b"null"])
def test_an_event_named_error_is_one(data: bytes) -> None:
    reader, decoder = ChunkReader("m", prompt_estimate=lambda: 1), SSEDecoder()
    events = decoder.feed(b"event: message\ndata: " + HALF + b"\n\nevent: error\ndata: " + data + b"\n\n")
    events += decoder.feed(b"data: [DONE]\n\n")
    assert (events[0], events[2]) == (HALF, b"[DONE]")
    reader.read(events[0])
    if data == b"null":  # it says nothing
        assert reader.read(events[1]) is None
        return
    with pytest.raises(LLMError) as caught:
        reader.read(events[1])
    assert data == b"died" or "died" in caught.value.message
