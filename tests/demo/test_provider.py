"""Demo models behave as upstreams do: pieces, limits, usage, failures; on any anyio backend."""

from __future__ import annotations

import anyio
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from chorus.demo import DEMO_MODELS, DemoUpstream
from chorus.demo.language import pieces
from chorus.demo.provider import cut
from chorus.errors import LLMError
from chorus.llm.base import Call
from chorus.types import Image, Message, Sampling
from chorus.usage import estimate_tokens

from .asking import ask, chunks, request

QUESTION = "What happens when a worker fails?"


@pytest.mark.parametrize("model", DEMO_MODELS)
@pytest.mark.parametrize(
    "text", [QUESTION, "What is 17*23?", "reverse: abc", "hello", "你好", "", "法国的首都是哪里？"]
)
async def test_every_model_answers_anything_and_the_same_again(model: str, text: str) -> None:
    answer = await ask(model, text)
    assert answer
    assert answer == await ask(model, text)


async def test_the_models_differ() -> None:
    answers = {
        await ask(model, QUESTION) for model in ("demo-librarian", "demo-abacus", "demo-scribe", "demo-generalist")
    }
    assert len(answers) == 4


async def test_a_stream_ends_with_a_reason_and_usage() -> None:
    *spoken, last = await chunks("demo-librarian", QUESTION)
    assert len(spoken) > 10
    assert all(chunk.text and chunk.finish_reason is None for chunk in spoken)
    assert last.finish_reason == "stop"
    assert last.usage is not None
    assert last.usage.prompt_tokens == estimate_tokens(QUESTION)
    assert last.usage.completion_tokens == estimate_tokens("".join(chunk.text for chunk in spoken))


async def test_whole_answers_come_in_one_piece() -> None:
    assert len(await chunks("demo-librarian", QUESTION, stream=False)) == 2


async def test_chinese_comes_by_a_few_characters() -> None:
    spoken = await chunks("demo-librarian", "工作流有哪些阶段？")
    assert max(len(chunk.text) for chunk in spoken) < 16


async def test_each_call_tells_its_instance_once() -> None:
    instances: list[str] = []
    call = Call(request("1+1"), attempting=instances.append)
    async with DemoUpstream("calc", model="demo-abacus", pace=0).open(call) as answer:
        async for _ in answer:
            pass
    assert instances == ["calc@demo"]


async def test_max_tokens_ends_with_length() -> None:
    *spoken, last = await chunks("demo-librarian", QUESTION, sampling=Sampling(max_tokens=5))
    assert last.finish_reason == "length"
    assert 0 < estimate_tokens("".join(chunk.text for chunk in spoken)) <= 5


async def test_stop_sequences_end_the_answer() -> None:
    *spoken, last = await chunks("demo-librarian", QUESTION, sampling=Sampling(stop=("trace", "workers")))
    assert "".join(chunk.text for chunk in spoken) == "The other "
    assert last.finish_reason == "stop"


async def test_an_unknown_model_names_the_known() -> None:
    upstream = DemoUpstream("x", model="demo-genius")
    with pytest.raises(LLMError, match=r"demo-genius.*demo-librarian"):
        async with upstream.open(Call(request("hi"))):
            pass


async def test_images_are_beyond_them() -> None:
    picture = Message("user", (Image("https://example.com/cat.png"),))
    call = Call(type(request())("demo", (picture,)))
    async with DemoUpstream("x", model="demo-generalist", pace=0).open(call) as answer:
        assert "cannot see images" in "".join([chunk.text async for chunk in answer])


async def test_moody_fails_when_told() -> None:
    with pytest.raises(LLMError, match="The demo model 'demo-moody' was told to fail"):
        await ask("demo-moody", "What is 1+1? moody: fail")


async def test_moody_breaks_in_mid_answer() -> None:
    received = ""
    with pytest.raises(LLMError, match="mid-answer"):  # noqa: PT012 - what arrived before counts
        async with DemoUpstream("m", model="demo-moody", pace=0).open(
            Call(request(f"{QUESTION} moody: break"))
        ) as answer:
            async for chunk in answer:
                received += chunk.text
    assert received
    assert (await ask("demo-moody", QUESTION)).startswith(received)


async def test_moody_talks_nonsense_when_told() -> None:
    nonsense = await ask("demo-moody", "What is 1+1? moody: garbage")
    assert nonsense != await ask("demo-moody", "What is 1+1?")


async def test_others_do_not_heed_the_mood() -> None:
    assert await ask("demo-abacus", "What is 17*23? moody: fail") == "17 × 23 = 391"
    assert await ask("demo-scribe", "reverse: abc moody: hang") == "cba"


def seconds(text: str, limit: float) -> float:
    """How long the moody model takes for its first word on a clock that waits for nothing.

    `limit` when it never comes.
    """

    async def first_word() -> float:
        started = anyio.current_time()
        with anyio.move_on_after(limit):
            async with DemoUpstream("m", model="demo-moody").open(Call(request(text))) as answer:
                async for _ in answer:
                    break
        return anyio.current_time() - started

    return trio.run(first_word, clock=MockClock(autojump_threshold=0))


def test_moody_is_slow_when_told_on_trio_too() -> None:
    assert seconds("What is 1+1? moody: slow", 60) == pytest.approx(5)
    assert seconds("What is 1+1?", 60) == pytest.approx(0)


def test_moody_hangs_until_cancelled() -> None:
    assert seconds("What is 1+1? moody: hang", 600) == pytest.approx(600)


def test_pace_is_between_pieces() -> None:
    async def answer_time() -> float:
        started = anyio.current_time()
        async with DemoUpstream("a", model="demo-abacus", pace=0.5).open(Call(request("17*23"))) as answer:
            texts = [chunk.text async for chunk in answer]
        assert texts == ["17", " ×", " 23", " =", " 391", ""]
        return anyio.current_time() - started

    assert trio.run(answer_time, clock=MockClock(autojump_threshold=0)) == pytest.approx(2)


@given(st.text(alphabet="ab \n\t你好，。é🙂\u2028", max_size=60))
def test_pieces_lose_nothing(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert all(pieces(text))


@given(st.text(alphabet="ab 你好", max_size=60), st.integers(1, 20))
def test_a_cut_fits(text: str, limit: int) -> None:
    kept, finish = cut(text, Sampling(max_tokens=limit))
    assert text.startswith(kept)
    assert (finish == "stop") == (kept == text)
    assert estimate_tokens(kept) <= limit
