"""Stop words on the text, however it is cut (A2, A1)."""

from __future__ import annotations

import time

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.llm.base import Call
from chorus.llm.fake import FakeUpstream, Hangs, Says
from chorus.llm.filters.stop_words import MAX_STOP_CHARS, MAX_STOPS, StopCutter, StopsEnforced
from chorus.types import ChatRequest, Message, Sampling

TEXT = st.text(alphabet="abE ND", max_size=40)
WORDS = st.lists(st.text("abEND", min_size=1, max_size=6), min_size=1, max_size=5)


def asking(*stop: str) -> Call:
    return Call(ChatRequest("m", (Message("user", "How?"),), Sampling(stop=stop)))


@given(text=TEXT, words=WORDS, size=st.integers(1, 40))
@pytest.mark.requirement("A2")
def test_the_answer_ends_before_the_first_stop_word_however_it_is_cut(text: str, words: list[str], size: int) -> None:
    cutter = StopCutter(words)
    said = "".join(cutter.feed(text[start : start + size]) for start in range(0, len(text), size))
    held = text[len(said) :]
    said += cutter.flush()
    places = [text.find(word) for word in words if word in text]
    assert cutter.stopped == bool(places)
    assert said == text[: min(places, default=len(text))]
    assert cutter.stopped or len(held) < max(map(len, words))


@given(text=TEXT, words=WORDS)
@pytest.mark.requirement("A1")
def test_text_is_held_back_only_while_a_word_may_have_begun(text: str, words: list[str]) -> None:
    cutter, out = StopCutter(words), ""
    for place, char in enumerate(text, 1):
        out += cutter.feed(char)
        if cutter.stopped:
            return
        held = text[len(out) : place]
        assert not held or any(word.startswith(held) and word != held for word in words)


@pytest.mark.parametrize(
    "words",
    [
        ["END"],
        [f"\n{place}\n" for place in range(MAX_STOPS)],
        ["a" * (MAX_STOP_CHARS - 1) + "b"],
        ["a" * (MAX_STOP_CHARS // 2) + "b" + "a" * (MAX_STOP_CHARS // 2 - 1)],
        ["a" * (MAX_STOP_CHARS - 4) + f"b{place}" for place in range(MAX_STOPS)],
        ["ab" * (MAX_STOP_CHARS // 2 - 1) + "c"],
    ],
)
@pytest.mark.parametrize("text", ["The quick brown fox.\n", "a", "ab"])
def test_the_cost_is_linear_whatever_the_words_and_the_text(words: list[str], text: str) -> None:
    """It takes some 5 µs a piece; to look for each word in each piece takes a minute here."""
    text = (text * (1 << 17))[: 1 << 17]
    began = time.process_time()
    for size, total in ((1, 1 << 13), (4, 1 << 16), (4096, 1 << 17)):
        cutter = StopCutter(words)
        for start in range(0, total, size):
            cutter.feed(text[start : start + size])
        assert not cutter.stopped
    assert time.process_time() - began < 5


async def test_others_have_their_turn_while_a_long_text_is_searched() -> None:
    upstream = FakeUpstream(Says("a" * 500_000))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as group:
        group.start_soon(others)
        async with StopsEnforced(upstream).open(asking("a" * 100 + "b")) as chunks:
            assert sum([len(chunk.text) async for chunk in chunks]) == 500_000
        group.cancel_scope.cancel()
    assert turns > 100


async def test_a_stop_word_inside_what_was_held_back_ends_the_answer_too() -> None:
    async with StopsEnforced(FakeUpstream(Says("x abc"))).open(asking("abcd", "bc")) as chunks:
        delivered = [chunk async for chunk in chunks]
    assert "".join(chunk.text for chunk in delivered) == "x a"
    assert delivered[-1].finish_reason == "stop"


@pytest.mark.requirement("A2")
async def test_an_upstream_that_talks_on_is_left() -> None:
    upstream = FakeUpstream(Says("one two END three four"))
    async with StopsEnforced(upstream).open(asking("END")) as chunks:
        delivered = [chunk async for chunk in chunks]
    assert "".join(chunk.text for chunk in delivered) == "one two "
    assert delivered[-1].finish_reason == "stop"
    assert upstream.open_calls == 0


async def test_what_looked_like_a_stop_word_is_given_out_at_the_end() -> None:
    async with StopsEnforced(FakeUpstream(Says("the EN"))).open(asking("END")) as chunks:
        assert "".join([chunk.text async for chunk in chunks]) == "the EN"


async def test_without_stop_words_nothing_is_held_back() -> None:
    async with StopsEnforced(FakeUpstream(Hangs("EN"))).open(asking()) as chunks:
        assert (await anext(chunks)).text == "EN"
