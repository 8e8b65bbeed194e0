"""What a provider sends beyond text, as each dialect tells it, and as it comes back with the next
turn (issue 11, kinds 3, 4, 5, 15).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pytest

from chorus import wirejson
from chorus.events import Delta, Event, RunFinished, RunStarted
from chorus.server.dialects.anthropic.messages import AnthropicMessages
from chorus.server.dialects.base import Dialect, ResponseContext
from chorus.server.dialects.ollama.chat import OllamaChat
from chorus.server.dialects.openai.chat import OpenAIChat
from chorus.types import Answer, Message, ToolCall, ToolPiece
from chorus.usage import Usage

STARTED: Final = RunStarted("wf_1", "req_1", "glm", "glm", 1.0)
USER: Final = {"role": "user", "content": "How?"}
SIGNED: Final = {"extra_content": {"google": {"thought_signature": "s"}}}
DETAILS: Final = {"reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "theirs"}]}
CITED: Final = {"annotations": [{"type": "url_citation", "url_citation": {"url": "http://a", "title": "T"}}]}
CUSTOM: Final = {"type": "custom", "custom": {"name": "patch"}}
FUNCTION: Final = {"type": "function", "function": {"name": "f"}}


def context(dialect: Dialect, **more: Any) -> ResponseContext:
    asked = dialect.parse({"model": "glm", "messages": [USER], **more})
    return ResponseContext("id", "req_1", 1.0, asked, dialect.error_style)


def frames(dialect: Dialect, events: Sequence[Event], **more: Any) -> list[dict[str, Any]]:
    encoder = dialect.encoder(context(dialect, **more))
    found = [frame.data for event in events for frame in encoder.encode(event)]
    return [wirejson.decode(each) if isinstance(each, bytes) else each for each in found]


def whole(dialect: Dialect, answer: Answer, **more: Any) -> Any:
    return dialect.whole(context(dialect, **more), (STARTED, RunFinished(1.0, (answer,), Usage(3, 2))))


def deltas(*deltas: Delta, answer: Answer) -> list[Event]:
    return [STARTED, *deltas, RunFinished(1.0, (answer,), Usage(3, 2))]


def said(**more: Any) -> Delta:
    return Delta(("0",), 0.5, choice=0, **more)


def content_of(events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The blocks of Anthropic's stream, put together as its SDK does."""
    blocks: list[dict[str, Any]] = []
    for event in events:
        if event["type"] == "content_block_start":
            assert event["index"] == len(blocks)
            blocks.append(dict(event["content_block"]))
        elif event["type"] == "content_block_delta":
            delta = event["delta"]
            block = blocks[event["index"]]
            match delta["type"]:
                case "text_delta":
                    block["text"] += delta["text"]
                case "thinking_delta":
                    block["thinking"] += delta["thinking"]
                case "signature_delta":
                    block["signature"] = delta["signature"]
                case "citations_delta":
                    block.setdefault("citations", []).append(delta["citation"])
                case "input_json_delta":
                    block["partial"] = block.get("partial", "") + delta["partial_json"]
    for block in blocks:
        if "partial" in block:
            block["input"] = wirejson.decode(block.pop("partial"))
    return blocks


CALL: Final = ToolCall("call_1", "f", '{"a":1}', SIGNED)
PIECES: Final = (
    said(tool_calls=(ToolPiece(0, "call_1", "f", "", SIGNED),)),
    said(tool_calls=(ToolPiece(0, arguments='{"a":1}'),)),
)
THOUGHT: Final = Answer("So.", "hm", (CALL,), "tool_calls", extra=DETAILS)
QUIET: Final = Answer("", "", (CALL,), "tool_calls")


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("answer", [THOUGHT, QUIET], ids=["thought", "quiet"])
def test_reasoning_and_signatures_come_back_through_anthropics_dialect(answer: Answer, *, is_streamed: bool) -> None:
    dialect = AnthropicMessages()
    if is_streamed:
        spoken = [said(reasoning="h"), said(reasoning="m"), said(extra=DETAILS), said(text="So.")]
        content = content_of(frames(dialect, deltas(*(spoken if answer.reasoning else ()), *PIECES, answer=answer)))
    else:
        content = whole(dialect, answer)["content"]
    assert all(block.get("signature") for block in content if block["type"] == "thinking")
    back = dialect.parse({"model": "glm", "messages": [USER, {"role": "assistant", "content": content}]})
    assert back.warnings == ()
    expected = Message("assistant", answer.text, answer.reasoning, answer.tool_calls, extra=answer.extra)
    assert back.requests[0].messages[1] == expected


def test_a_signature_that_somebody_changed_counts_as_unknown() -> None:
    dialect = AnthropicMessages()
    [block, _] = whole(dialect, Answer("So.", "hm"))["content"]
    changed = {**block, "signature": block["signature"][:-4] + "AAAA"}
    asked = dialect.parse({"model": "glm", "messages": [{"role": "assistant", "content": [changed]}]})
    assert asked.requests[0].messages[0].reasoning == "hm"


def test_anthropics_thinking_ends_with_its_signature() -> None:
    events = frames(AnthropicMessages(), deltas(said(reasoning="hm"), said(text="So."), answer=Answer("So.", "hm")))
    kinds = [event.get("delta", {}).get("type") or event["type"] for event in events]
    assert kinds[1:5] == ["content_block_start", "thinking_delta", "signature_delta", "content_block_stop"]


@pytest.mark.parametrize("spoken", [[said(reasoning="hm")], []], ids=["thought", "quiet"])
def test_progress_does_not_come_back_as_reasoning_of_a_model_in_anthropics_dialect(spoken: list[Delta]) -> None:
    dialect = AnthropicMessages()
    progress = Delta((), 0.5, reasoning="glm is answering.\n", choice=0, is_progress=True)
    events = deltas(progress, *spoken, said(text="So."), answer=Answer("So."))
    content = content_of(frames(dialect, events))
    assert content[0]["thinking"].startswith("glm is answering.")
    back = dialect.parse({"model": "glm", "messages": [USER, {"role": "assistant", "content": content}]})
    assert back.requests[0].messages[1].reasoning == "".join(delta.reasoning for delta in spoken)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_citations_in_anthropics_dialect(*, is_streamed: bool) -> None:
    answer = Answer("So.", extra=CITED)
    events = deltas(said(text="So."), said(extra=CITED), answer=answer)
    dialect = AnthropicMessages()
    content = content_of(frames(dialect, events)) if is_streamed else whole(dialect, answer)["content"]
    assert [(cited["url"], cited["title"]) for cited in content[0]["citations"]] == [("http://a", "T")]


def test_fields_of_a_provider_are_in_whole_answers_of_chat() -> None:
    message = whole(OpenAIChat(), Answer("So.", "hm", (CALL,), "tool_calls", extra={**DETAILS, **CITED}))["choices"][0][
        "message"
    ]
    assert {**DETAILS, **CITED}.items() <= message.items()
    assert message["tool_calls"][0]["extra_content"] == SIGNED["extra_content"]
    back = OpenAIChat().parse({"model": "glm", "messages": [message]}).requests[0].messages[0]
    assert back == Message("assistant", "So.", "hm", (CALL,), extra={**DETAILS, **CITED})


def test_fields_of_a_provider_in_ollamas_dialect() -> None:
    images = {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw"}}]}
    answer = Answer("So.", "hm", (CALL,), "tool_calls", extra={**DETAILS, **images})
    message = whole(OllamaChat(), answer)["message"]
    assert message["images"] == ["iVBORw"]
    assert message["reasoning_details"] == DETAILS["reasoning_details"]
    assert message["tool_calls"][0]["extra_content"] == SIGNED["extra_content"]
    events = deltas(said(text="So."), said(extra={**DETAILS, **images}), *PIECES, answer=answer)
    lines = frames(OllamaChat(), events)
    assert [line["message"].get("images") for line in lines] == [None, ["iVBORw"], None, None]
    back = OllamaChat().parse({"model": "glm", "messages": [message]}).requests[0].messages[0]
    assert (back.reasoning, back.tool_calls, back.extra) == ("hm", (CALL,), DETAILS)


@pytest.mark.parametrize("arguments", ["", "{}"])
@pytest.mark.parametrize("dialect", [OpenAIChat(), AnthropicMessages(), OllamaChat()], ids=lambda each: each.path)
def test_a_call_without_arguments_has_an_empty_object(dialect: Dialect, arguments: str) -> None:
    body = whole(dialect, Answer("", "", (ToolCall("c", "now", arguments),), "tool_calls"))
    if isinstance(dialect, OpenAIChat):
        assert body["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] == "{}"
    elif isinstance(dialect, OllamaChat):
        assert body["message"]["tool_calls"][0]["function"]["arguments"] == {}
    else:
        assert body["content"][0]["input"] == {}


@pytest.mark.parametrize("written", ['{"input":"*** Begin 好"}', "*** Begin 好"])
def test_calls_of_custom_tools_come_back_as_custom(written: str) -> None:
    answer = Answer("", "", (ToolCall("c", "patch", written), ToolCall("d", "f", "{}")), "tool_calls")
    more = {"tools": [CUSTOM, FUNCTION]}
    calls = whole(OpenAIChat(), answer, **more)["choices"][0]["message"]["tool_calls"]
    assert calls[0] == {"id": "c", "type": "custom", "custom": {"name": "patch", "input": "*** Begin 好"}}
    assert calls[1]["type"] == "function"
    events = deltas(
        said(tool_calls=(ToolPiece(0, "c", "patch", written[:5]),)),
        said(tool_calls=(ToolPiece(0, arguments=written[5:]), ToolPiece(1, "d", "f", "{}"))),
        answer=answer,
    )
    chunks = frames(OpenAIChat(), events, **more, stream_options={"include_usage": True})
    pieces = [
        piece for chunk in chunks for choice in chunk["choices"] for piece in choice["delta"].get("tool_calls", ())
    ]
    assert [piece["index"] for piece in pieces] == [0, 1, 0]
    assert pieces[0]["custom"] == {"name": "patch", "input": ""}
    assert pieces[1]["function"]["name"] == "f"
    assert pieces[2]["custom"] == {"input": "*** Begin 好"}
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] == "tool_calls"


def test_the_old_functions_are_answered_as_function_calls() -> None:
    answer = Answer("", "", (ToolCall("c", "f", '{"a":1}'),), "tool_calls")
    more = {"functions": [{"name": "f"}]}
    choice = whole(OpenAIChat(), answer, **more)["choices"][0]
    assert choice["message"]["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert choice["finish_reason"] == "function_call"
    chunks = frames(OpenAIChat(), deltas(*PIECES, answer=answer), **more)
    calls = [chunk["choices"][0]["delta"].get("function_call") for chunk in chunks]
    assert [call["arguments"] for call in calls if call] == ["", '{"a":1}']
    assert chunks[-1]["choices"][0]["finish_reason"] == "function_call"
