"""The incremental decoders: any split of the input gives the same output."""

import time
import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.errors import UpstreamProtocol
from chorus.llm.reading.thinking import MAX_LEAD, ThinkSplitter, split_thinking
from chorus.llm.transport import sse
from chorus.llm.transport.lines import MAX_LINE, LineSplitter
from chorus.llm.transport.ndjson import NDJSONDecoder
from chorus.llm.transport.sse import SSEDecoder

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


@given(
    lead=st.integers(0, 3).map(lambda more: " " * (MAX_LEAD - 1 + more)),
    rest=st.sampled_from(["<think>hm</think>so", "<thi", "so", ""]),
    places=st.lists(st.integers(MAX_LEAD - 3, MAX_LEAD + 20), max_size=10),
)
def test_a_lead_of_any_length_does_not_depend_on_where_it_is_cut(lead: str, rest: str, places: list[int]) -> None:
    text = lead + rest
    splitter = ThinkSplitter()
    parts = [splitter.feed(part.decode()) for part in cut(text.encode(), places)] + [splitter.flush()]
    assert ("".join(a for a, _ in parts), "".join(r for _, r in parts)) == split_thinking(text)


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


class Thinking:
    """A `ThinkSplitter` that is fed bytes."""

    def __init__(self) -> None:
        self._splitter = ThinkSplitter()

    def feed(self, data: bytes) -> object:
        return self._splitter.feed(data.decode("latin-1"))


SHAPES = [
    (LineSplitter, b"x"),
    (LineSplitter, b"\n"),
    (LineSplitter, b"\r"),
    (LineSplitter, b"a line of some length \r\n"),
    (NDJSONDecoder, b"\n \n"),
    (SSEDecoder, b"x"),
    (SSEDecoder, b"data: {}\r\n\r\n"),
    (SSEDecoder, b"data: one event\n"),
    (SSEDecoder, b"data:\n"),
    (SSEDecoder, b": ping\n\n"),
    (Thinking, b" "),
    (Thinking, b"<think>hm</think"),
    (Thinking, b"<think><"),
]


@pytest.mark.parametrize(("decoder", "shape"), SHAPES)
def test_the_cost_is_linear_whatever_the_bytes_and_the_cut(decoder: Callable[[], Any], shape: bytes) -> None:
    """1 MiB takes a tenth of a second; the square of it, in pieces of 16 bytes, eight seconds."""
    data = (shape * (1 << 20))[: 1 << 20]
    began = time.process_time()
    for size, total in ((1, 1 << 15), (16, 1 << 20), (1 << 20, 1 << 20)):
        each = decoder()
        for start in range(0, total, size):
            each.feed(data[start : start + size])
    assert time.process_time() - began < 3


@pytest.mark.parametrize(("decoder", "shape"), SHAPES[:-3])
def test_what_is_held_takes_a_few_times_its_bytes(decoder: Callable[[], Any], shape: bytes) -> None:
    size = 1 << 17
    data = (shape * size)[:size]
    each = decoder()
    tracemalloc.start()
    for start in range(0, size, 7):
        each.feed(data[start : start + 7])
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 4 * size


@pytest.mark.parametrize("line", [b"x" * 8000, b"data: " + b"x" * 8000 + b"\n", b"x" * 8000 + b"\r: y"])
@pytest.mark.requirement("L3")
def test_an_event_that_never_ends_is_given_up(line: bytes) -> None:
    decoder, fed = SSEDecoder(), 0
    with pytest.raises(UpstreamProtocol, match="32 MiB"):  # noqa: PT012
        while fed <= 2 * MAX_LINE:
            decoder.feed(line * 8)
            fed += 8 * len(line)
            line = line if line.endswith(b"\n") else b"x" * 8000


@pytest.mark.parametrize("line", [b"data:\n", b"data\n", b"data: ab\r\n"])
def test_lines_of_nothing_are_an_event_that_grows(line: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT", 10_000)
    decoder = SSEDecoder()
    with pytest.raises(UpstreamProtocol, match="event larger"):  # noqa: PT012
        for _ in range(10_002):
            decoder.feed(line)


@pytest.mark.parametrize("decoder", [LineSplitter, NDJSONDecoder])
@pytest.mark.requirement("L3")
def test_a_line_that_never_ends_is_given_up(decoder: Callable[[], Any]) -> None:
    each = decoder()
    with pytest.raises(UpstreamProtocol, match="line longer"):  # noqa: PT012
        for _ in range(MAX_LINE // 65536 + 1):
            each.feed(b"x" * 65536)
