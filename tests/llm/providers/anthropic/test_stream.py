"""Answers of the Messages API as chunks, whole and streamed, cut anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
from chorus.extras import Extras
from chorus.llm.base import Chunk
from chorus.llm.providers.anthropic.stream import EventReader, read_whole
from chorus.llm.transport.sse import SSEDecoder
from chorus.types import ToolPiece
from chorus.usage import Usage
from tests.kit.providers.anthropic import raw_answer
from tests.kit.providers.http import event

THINKING = {"type": "thinking", "thinking": "I look.", "signature": "c2ln"}
REDACTED = {"type": "redacted_thinking", "data": "b3BhcXVl"}
TEXT = {"type": "text", "text": "It rains 好🙂.", "citations": None}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "北京"}, "caller": {"type": "direct"}}
EMPTY_CALL = {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "rain"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result"}]}
CITED = {
    "type": "web_search_result_location",
    "url": "https://example.com/",
    "title": "Rain",
    "cited_text": "It rains",
    "encrypted_index": "ZW5j",
}


def read(pieces: Sequence[bytes], size: int | None = None) -> list[Chunk]:
    """The chunks of a stream, whose bytes come in parts of `size`."""
    reader, decoder, chunks = EventReader("m", prompt_estimate=lambda: 5), SSEDecoder(), list[Chunk]()
    raw = b"".join(pieces)
    for start in range(0, len(raw), size or len(raw)):
        for data in decoder.feed(raw[start : start + (size or len(raw))]):
            if (chunk := reader.read(data)) is not None:
                chunks.append(chunk)
            if reader.is_done:
                return [*chunks, reader.end()]
    return [*chunks, reader.end()]


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """All chunks as one."""
    extras, calls = Extras(), dict[int, ToolPiece]()
    for chunk in chunks:
        extras.add(chunk.extra or {})
        for piece in chunk.tool_calls:
            before = calls.get(piece.index)
            arguments = (before.arguments if before else "") + piece.arguments
            calls[piece.index] = ToolPiece(
                piece.index, before.id if before else piece.id, before.name if before else piece.name, arguments
            )
    return Chunk(
        "".join(chunk.text for chunk in chunks),
        "".join(chunk.reasoning for chunk in chunks),
        tuple(calls.values()),
        chunks[-1].finish_reason,
        chunks[-1].usage,
        extra=extras.whole() or None,
    )


def answers(content: Sequence[Any], **more: Any) -> list[Chunk]:
    """What is read of a content: whole, streamed, and streamed byte by byte."""
    streamed = raw_answer(content, stream=True, **more).chunks
    [whole] = raw_answer(content, stream=False, **more).chunks
    return [
        joined([read_whole(whole, "m", prompt_estimate=lambda: 5)]),
        joined(read(streamed)),
        joined(read(streamed, 1)),
    ]


def normal(chunk: Chunk) -> Any:
    """A chunk whose arguments are compared as JSON."""
    calls = [(piece.index, piece.id, piece.name, json.loads(piece.arguments)) for piece in chunk.tool_calls]
    return chunk.text, chunk.reasoning, calls, chunk.finish_reason, chunk.usage, chunk.extra


@pytest.mark.parametrize(
    ("content", "stop"),
    [
        ([TEXT], "end_turn"),
        ([THINKING, REDACTED, TEXT, CALL, EMPTY_CALL], "tool_use"),
        ([CALL], "tool_use"),
        ([THINKING, TEXT, THINKING, CALL], "tool_use"),
        ([TEXT, SEARCH, FOUND, {**TEXT, "citations": [CITED]}], "end_turn"),
        ([{"type": "symphony", "score": {"bars": 4}}, TEXT], "end_turn"),
        ([], "end_turn"),
    ],
)
def test_whole_and_streamed_answers_say_the_same(content: list[Any], stop: str) -> None:
    whole, streamed, in_bytes = map(normal, answers(content, stop_reason=stop))
    assert whole == streamed == in_bytes
    assert whole[4] == Usage(11, 7)


def test_thinking_is_reasoning_and_keeps_its_signature() -> None:
    for chunk in answers([THINKING, REDACTED, TEXT]):
        assert (chunk.reasoning, chunk.text) == ("I look.", "It rains 好🙂.")
        assert chunk.extra == {
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "I look.",
                    "signature": "c2ln",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                },
                {"type": "reasoning.encrypted", "data": "b3BhcXVl", "format": "anthropic-claude-v1", "index": 1},
            ]
        }


def test_thinking_that_is_not_shown_keeps_its_signature() -> None:
    for chunk in answers([{"type": "thinking", "thinking": "", "signature": "c2ln"}, TEXT]):
        assert chunk.reasoning == ""
        assert chunk.extra is not None
        assert chunk.extra["reasoning_details"][0]["signature"] == "c2ln"


def test_calls_have_their_own_index_and_arguments() -> None:
    for chunk in answers([CALL, EMPTY_CALL], stop_reason="tool_use"):
        first, second = chunk.tool_calls
        assert (first.index, first.id, first.name, json.loads(first.arguments)) == (
            0,
            "toolu_1",
            "weather",
            {"city": "北京"},
        )
        assert (second.index, second.arguments) == (1, "{}")
        assert chunk.finish_reason == "tool_calls"
        assert chunk.extra is None


def test_blocks_without_a_place_of_ours_go_out_as_they_are_with_all_others() -> None:
    cited = {**TEXT, "citations": [CITED]}
    for chunk in answers([TEXT, SEARCH, FOUND, cited]):
        assert chunk.text == f"{TEXT['text']}" * 2
        assert chunk.extra is not None
        plain = {"type": "text", "text": TEXT["text"]}
        assert chunk.extra["anthropic_content"] == [plain, SEARCH, FOUND, cited]
        [annotation] = chunk.extra["annotations"]
        assert annotation["url_citation"]["url"] == CITED["url"]
        assert annotation["url_citation"]["anthropic_citation"] == CITED


def test_thinking_between_texts_keeps_its_place() -> None:
    for chunk in answers([THINKING, TEXT, THINKING, CALL], stop_reason="tool_use"):
        assert chunk.extra is not None
        kinds = [block["type"] for block in chunk.extra["anthropic_content"]]
        assert kinds == ["thinking", "text", "thinking", "tool_use"]


@pytest.mark.parametrize(
    ("stop", "finish", "kept"),
    [
        ("end_turn", "stop", None),
        ("max_tokens", "length", None),
        ("stop_sequence", "stop", {"stop_reason": "stop_sequence"}),
        ("pause_turn", "stop", {"stop_reason": "pause_turn"}),
        ("refusal", "content_filter", None),
        ("model_context_window_exceeded", "length", {"stop_reason": "model_context_window_exceeded"}),
    ],
)
def test_stop_reasons(stop: str, finish: str, kept: Any) -> None:
    for chunk in answers([TEXT], stop_reason=stop):
        assert chunk.finish_reason == finish
        assert (chunk.extra or {}).get("anthropic_stop") == kept


def test_a_refusal_without_a_word_says_why() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "I do not help with that."}
    [raw] = raw_answer([], stream=False, stop_reason="refusal", stop_details=details).chunks
    chunk = read_whole(raw, "m", prompt_estimate=lambda: 5)
    assert (chunk.text, chunk.finish_reason) == ("I do not help with that.", "content_filter")
    with pytest.raises(ContentFiltered):
        read(raw_answer([], stream=True, stop_reason="refusal").chunks)


def test_usage_counts_what_was_read_from_the_cache_and_written_to_it() -> None:
    reader = EventReader("m", prompt_estimate=lambda: 5)
    start = {"input_tokens": 10, "cache_read_input_tokens": 200, "cache_creation_input_tokens": 30, "output_tokens": 1}
    end = {"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 25}, "input_tokens": None}
    reader.read(json.dumps({"type": "message_start", "message": {"usage": start}}).encode())
    reader.read(json.dumps({"type": "content_block_start", "index": 0, "content_block": TEXT}).encode())
    reader.read(json.dumps({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": end}).encode())
    assert reader.end().usage == Usage(240, 40, 200, 25, cache_write_tokens=30)


@pytest.mark.parametrize(
    ("kind", "expected", "status"),
    [
        ("overloaded_error", UpstreamStatus, 529),
        ("rate_limit_error", UpstreamRateLimited, 429),
        ("invalid_request_error", UpstreamRefused, 400),
        ("request_too_large", UpstreamRefused, 413),
        ("api_error", UpstreamStatus, 500),
        ("something_new", LLMError, None),
    ],
)
def test_an_error_in_the_middle_of_a_stream_is_what_its_type_says(
    kind: str, expected: type[LLMError], status: int | None
) -> None:
    error = event({"type": "error", "error": {"type": kind, "message": "Overloaded"}}, "error")
    begun = raw_answer([TEXT], stream=True).chunks[:4]
    with pytest.raises(expected, match="Overloaded") as caught:
        read([*begun, error])
    assert getattr(caught.value, "upstream_status", None) == status


def test_a_stream_that_ends_before_its_stop_reason_is_no_answer() -> None:
    with pytest.raises(UpstreamProtocol, match="stop reason"):
        read(raw_answer([TEXT], stream=True).chunks[:5])


def test_a_stream_may_end_without_its_last_event() -> None:
    assert joined(read(raw_answer([TEXT], stream=True).chunks[:-1])).text == TEXT["text"]


def test_unknown_events_and_deltas_are_passed_over() -> None:
    pieces = list(raw_answer([TEXT], stream=True).chunks)
    odd = [
        event({"type": "ping"}),
        event({"type": "weather_report", "index": 0, "rain": True}),
        event({"type": "content_block_delta", "index": 0, "delta": {"type": "colour_delta", "colour": "red"}}),
        event({"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "lost"}}),
        event({"type": "content_block_stop", "index": 7}),
        event({"type": None}),
    ]
    assert joined(read([*pieces[:4], *odd, *pieces[4:]])).text == TEXT["text"]


@pytest.mark.parametrize("raw", [b"", b"<html>Bad gateway</html>", b"[]", b'{"type":"message"}', b"nonsense"])
def test_what_is_no_message_is_no_answer(raw: bytes) -> None:
    with pytest.raises(UpstreamProtocol):
        read_whole(raw, "m", prompt_estimate=lambda: 5)


def test_a_call_beyond_the_limit_is_an_error() -> None:
    calls = [{**EMPTY_CALL, "id": f"toolu_{number}"} for number in range(1025)]
    [raw] = raw_answer(calls, stream=False).chunks
    with pytest.raises(UpstreamProtocol, match="1024"):
        read_whole(raw, "m", prompt_estimate=lambda: 5)
