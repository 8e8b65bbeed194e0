"""What an answer holds that a dialect has no place for: it is put in words, and never lost in
silence.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.events import StageStarted
from chorus.server.dialects.anthropic.messages import AnthropicMessages
from chorus.server.dialects.media_notes import notes
from chorus.server.dialects.ollama.chat import OllamaChat
from chorus.server.dialects.ollama.generate import OllamaGenerate
from chorus.server.dialects.progress_encoder import ProgressEncoder
from chorus.types import Answer, Extra, ToolCall, ToolPiece
from tests.server.dialects.responses import asked, delta, output, saying
from tests.server.dialects.responses import streamed as responses_streamed
from tests.server.dialects.test_answers_of_dialects import CITED, USER, content_of, context, deltas, frames, said, whole

ANTHROPIC = AnthropicMessages()


def images(*urls: str) -> dict[str, Any]:
    return {"images": [{"type": "image_url", "image_url": {"url": url}} for url in urls]}


INLINE = "data:image/png;base64," + "A" * 4000
SPOKEN = {"audio": {"id": "audio_1", "data": "A" * 8000, "transcript": "Good morning."}}
CALL = ToolCall("c1", "f", "{}")


def texts(content: list[dict[str, Any]]) -> str:
    return "\n\n".join(block["text"] for block in content if block["type"] == "text")


def messages_of(answer: Answer, *, is_streamed: bool) -> list[dict[str, Any]]:
    """The content of `answer` in Anthropic's dialect."""
    if not is_streamed:
        content: list[dict[str, Any]] = whole(ANTHROPIC, answer)["content"]
        return content
    events = [said(text=answer.text)] if answer.text else []
    events += [
        said(tool_calls=(ToolPiece(index, call.id, call.name, call.arguments),))
        for index, call in enumerate(answer.tool_calls)
    ]
    return content_of(frames(ANTHROPIC, deltas(*events, said(extra=answer.extra), answer=answer)))


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        (images("https://a.example/x.png"), "![image](https://a.example/x.png)"),
        (images(INLINE), "[An image (image/png, 3 kB) is left out: this protocol has no images in answers.]"),
        (SPOKEN, "Good morning.\n\n[Sound (6 kB) is left out: this protocol has no sound in answers.]"),
    ],
    ids=["link", "inline", "sound"],
)
@pytest.mark.parametrize("text", ["Here.", ""])
@pytest.mark.parametrize("calls", [(), (CALL,)])
def test_images_and_sound_in_anthropics_dialect(
    extra: Extra, expected: str, text: str, calls: tuple[ToolCall, ...], *, is_streamed: bool
) -> None:
    content = messages_of(Answer(text, "", calls, extra=extra), is_streamed=is_streamed)
    assert texts(content) == "\n\n".join(filter(None, (text, expected)))
    assert [block["id"] for block in content if block["type"] == "tool_use"] == [call.id for call in calls]


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("dialect", [OllamaChat(), OllamaGenerate()], ids=["chat", "generate"])
def test_images_by_their_address_in_ollamas_dialect(dialect: OllamaChat | OllamaGenerate, *, is_streamed: bool) -> None:
    answer = Answer("Here.", extra=images("https://a.example/x.png"))
    more = {"prompt": "hi"} if isinstance(dialect, OllamaGenerate) else {}
    if is_streamed:
        lines = frames(dialect, deltas(said(text="Here."), said(extra=answer.extra), answer=answer), **more)
    else:
        lines = [whole(dialect, answer, **more)]
    texts = [line.get("response", line.get("message", {}).get("content")) for line in lines]
    assert "".join(texts).replace("\n", "") == "Here.![image](https://a.example/x.png)"


def test_images_that_responses_has_no_place_for() -> None:
    extra = images("https://a.example/x.png", INLINE)
    items = output(asked(), saying(delta(text="Here."), delta(extra=extra), text="Here.", extra=extra))
    assert [item["type"] for item in items] == ["message", "image_generation_call", "message"]
    assert items[2]["content"][0]["text"] == "![image](https://a.example/x.png)"


def test_sound_in_responses_is_told_and_its_id_comes_back() -> None:
    items = output(asked(), saying(delta(extra=SPOKEN), extra=SPOKEN))
    [message] = [item for item in items if item["type"] == "message"]
    assert message["content"][0]["text"].startswith("Good morning.")
    assert sum(len(str(item)) for item in items) < 2000  # the sound itself is not carried along
    back = asked(input=[{"role": "user", "content": "hi"}, *items]).requests[0].messages[1]
    assert back.extra == {"audio": {"id": "audio_1"}}


@pytest.mark.parametrize("is_streamed", [False, True])
@pytest.mark.parametrize("extra", [CITED, {"citations": ["http://a"]}, {"search_results": [{"url": "http://a"}]}])
def test_citations_of_every_provider_in_anthropics_dialect(extra: Extra, *, is_streamed: bool) -> None:
    [block] = messages_of(Answer("So.", extra=extra), is_streamed=is_streamed)
    assert [cited["url"] for cited in block["citations"]] == ["http://a"]


def test_citations_that_come_after_the_text_of_anthropics_dialect() -> None:
    call = said(tool_calls=(ToolPiece(0, "c1", "f", "{}"),))
    answer = Answer("So.", "", (CALL,), extra=CITED)
    events = deltas(said(text="So."), call, said(extra=CITED), said(extra=CITED), answer=answer)
    last = content_of(frames(ANTHROPIC, events))[-1]
    assert last["text"] == "Sources:\n- T: http://a"
    assert [cited["url"] for cited in last["citations"]] == ["http://a"]


def test_repeated_citations_are_told_once() -> None:
    events = deltas(said(text="So.", extra=CITED), said(text=" It", extra=CITED), answer=Answer("So. It"))
    [block] = content_of(frames(ANTHROPIC, events))
    assert len(block["citations"]) == 1


def test_citations_that_come_after_the_message_of_responses() -> None:
    call = delta(tool_calls=(ToolPiece(0, "c1", "f", "{}"),))
    events = saying(delta(text="So."), call, delta(extra=CITED), text="So.")
    sent = responses_streamed(asked(), events)
    [added] = [frame for frame in sent if frame["type"] == "response.output_text.annotation.added"]
    assert (added["output_index"], added["annotation"]["url"]) == (0, "http://a")
    [message, _] = sent[-1]["response"]["output"]
    assert message["status"] == "completed"
    assert [each["url"] for each in message["content"][0]["annotations"]] == ["http://a"]


@pytest.mark.parametrize("thought", ["", "hm"])
def test_progress_is_never_sealed_into_anthropics_signatures(thought: str) -> None:
    given = msgspec.structs.replace(context(ANTHROPIC, stream=True), parsed=context(ANTHROPIC).parsed)
    encoder = ProgressEncoder(ANTHROPIC.encoder(given))
    deltas_of = [said(reasoning=thought)] if thought else []
    events = deltas(
        StageStarted(("0",), 0.1, "worker", "glm"),  # type: ignore[arg-type]
        *deltas_of,
        said(text="So."),
        answer=Answer("So.", thought),
    )
    content = content_of([frame.data for event in events for frame in encoder.encode(event)])
    assert "glm is answering." in content[0]["thinking"]
    assert content[0]["signature"]
    body = {"model": "glm", "messages": [USER, {"role": "assistant", "content": content}]}
    assert ANTHROPIC.parse(body).requests[0].messages[1].reasoning == thought


@given(
    st.dictionaries(
        st.sampled_from(["images", "audio"]),
        st.recursive(
            st.none()
            | st.booleans()
            | st.text(max_size=8)
            | st.just("data:image/png;base64,AA")
            | st.just("http://[a"),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["image_url", "url", "data", "transcript", "id"]), inner, max_size=3)
            ),
            max_leaves=8,
        ),
    )
)
def test_any_shape_is_read(extra: dict[str, Any]) -> None:
    assert isinstance(notes(extra), str)
    assert isinstance(notes(extra, inline_images=False), str)


def test_many_images_are_counted() -> None:
    text = notes(images(*[f"https://a.example/{number}" for number in range(1000)]))
    assert text.endswith("[980 more images are left out.]")
    assert len(text) < 2000
