"""Stop words on the text, however it is cut (A2, A1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.llm.base import Call
from chorus.llm.fake import FakeUpstream, Hangs, Says
from chorus.llm.stops import StopCutter, StopsEnforced
from chorus.types import ChatRequest, Message, Sampling

TEXT = st.text(alphabet="abE ND", max_size=40)


def asking(*stop: str) -> Call:
    return Call(ChatRequest("m", (Message("user", "How?"),), Sampling(stop=stop)))


@given(
    text=TEXT, words=st.lists(st.text("abEND", min_size=1, max_size=4), min_size=1, max_size=3), size=st.integers(1, 9)
)
@pytest.mark.requirement("A2")
def test_the_answer_ends_before_the_first_stop_word_however_it_is_cut(text: str, words: list[str], size: int) -> None:
    cutter = StopCutter(words)
    said = "".join(cutter.feed(text[start : start + size]) for start in range(0, len(text), size))
    said += "" if cutter.stopped else cutter.flush()
    assert cutter.stopped == any(word in text for word in words)
    assert not any(word in said for word in words)
    assert text.startswith(said)
    if not cutter.stopped:
        assert said == text


@pytest.mark.requirement("A2")
async def test_an_upstream_that_talks_on_is_left() -> None:
    upstream = FakeUpstream(Says("one two END three four"))
    async with StopsEnforced(upstream).open(asking("END")) as chunks:
        heard = [chunk async for chunk in chunks]
    assert "".join(chunk.text for chunk in heard) == "one two "
    assert heard[-1].finish_reason == "stop"
    assert upstream.open_calls == 0


async def test_what_looked_like_a_stop_word_is_given_out_at_the_end() -> None:
    async with StopsEnforced(FakeUpstream(Says("the EN"))).open(asking("END")) as chunks:
        assert "".join([chunk.text async for chunk in chunks]) == "the EN"


async def test_without_stop_words_nothing_is_held_back() -> None:
    async with StopsEnforced(FakeUpstream(Hangs("EN"))).open(asking()) as chunks:
        assert (await anext(chunks)).text == "EN"
