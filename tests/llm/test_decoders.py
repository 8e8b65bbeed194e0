"""The incremental decoders: any split of the input gives the same output."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.llm.lines import LineSplitter
from chorus.llm.ndjson import NDJSONDecoder
from chorus.llm.sse import SSEDecoder
from chorus.llm.think import ThinkSplitter, split_thinking

TRICKY = st.text(alphabet=st.sampled_from('ab{}"\r\n\u2028\u0085é好🙂: data'), max_size=80)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({min(place, len(data)) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(edges)]


@given(text=TRICKY, places=st.lists(st.integers(0, 300), max_size=12))
def test_lines_do_not_depend_on_where_the_network_cut(text: str, places: list[int]) -> None:
    data = text.encode()
    splitter = LineSplitter()
    pieces = [line for part in cut(data, places) for line in splitter.feed(part)] + splitter.flush()
    assert pieces == data.splitlines()


@given(
    events=st.lists(st.text(alphabet="ab \u2028\u0085é好🙂{}:", min_size=1, max_size=20), max_size=6),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    space=st.sampled_from(["", " "]),
    comment=st.booleans(),
    closed=st.booleans(),
    places=st.lists(st.integers(0, 300), max_size=12),
)
@pytest.mark.requirement("L3")
def test_sse_events_survive_every_split(
    events: list[str], newline: str, space: str, comment: bool, closed: bool, places: list[int]
) -> None:
    if space == "":
        events = [event.lstrip(" ") or "x" for event in events]
    stream = ""
    for event in events:
        stream += (": keepalive" + newline if comment else "") + "event: x" + newline
        stream += f"data:{space}{event}{newline}{newline}"
    if not closed:
        stream = stream.removesuffix(newline)
    decoder = SSEDecoder()
    got = [data for part in cut(stream.encode(), places) for data in decoder.feed(part)] + decoder.flush()
    assert [data.decode() for data in got] == events


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
        (b"data\n\n", [b""]),
        (b": only a comment\n\n", []),
        (b"id: 7\nretry: 10\ndata: x\n\n", [b"x"]),
        ("\ufeffdata: x\n\n".encode(), [b"x"]),
        (b"data: [DONE]", [b"[DONE]"]),
        (b"", []),
    ],
)
def test_sse_as_upstreams_really_send_it(stream: bytes, expected: list[bytes]) -> None:
    decoder = SSEDecoder()
    assert decoder.feed(stream) + decoder.flush() == expected


@given(
    lines=st.lists(st.text(alphabet="ab \u2028é🙂{}", min_size=1).filter(str.strip), max_size=6),
    places=st.lists(st.integers(0, 200), max_size=12),
)
def test_ndjson_survives_every_split_and_skips_blank_lines(lines: list[str], places: list[int]) -> None:
    data = "\n\n".join(lines).encode()
    decoder = NDJSONDecoder()
    got = [line for part in cut(data, places) for line in decoder.feed(part)] + decoder.flush()
    assert [line.decode() for line in got] == lines


@given(
    thought=st.text(alphabet="ab<>/think\n", max_size=20).filter(lambda t: "</think>" not in t),
    answer=st.text(alphabet="ab<>/think ", max_size=20),
    places=st.lists(st.integers(0, 60), max_size=10),
)
@pytest.mark.requirement("L5")
def test_thinking_is_kept_apart_however_it_is_cut(thought: str, answer: str, places: list[int]) -> None:
    text = f"<think>{thought}</think>\n\n{answer}"
    splitter = ThinkSplitter()
    parts = [splitter.feed(part.decode()) for part in cut(text.encode(), places)] + [splitter.flush()]
    assert "".join(a for a, _ in parts) == answer.lstrip()
    assert "".join(r for _, r in parts) == thought


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("plain", "plain", ""),
        ("  plain", "  plain", ""),
        ("the tag <think> is a tag", "the tag <think> is a tag", ""),
        ("<think>never closed", "", "never closed"),
        ("<thin", "<thin", ""),
        ("", "", ""),
    ],
)
@pytest.mark.requirement("L5")
def test_only_a_block_that_opens_the_answer_is_thinking(text: str, answer: str, reasoning: str) -> None:
    assert split_thinking(text) == (answer, reasoning)
