"""The scribe does what a sentence asks, with the text that the sentence means."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.demo import question, scribe

from .asking import ask

PETS = "Cats sleep a lot. Cats and dogs are pets. Dogs bark at cats. The weather is nice. Dogs run."


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('reverse "hello world"', "dlrow olleh"),
        ("Reverse the word stressed", "desserts"),
        ('Reverse: }1:"a"{', '{"a":1}'),
        ("Convert hello world to upper case", "HELLO WORLD"),
        ("lowercase: ABC Def", "abc def"),
        ("make 'hello there' title case", "Hello There"),
        ("sort the words: pear, apple, fig", "apple, fig, pear"),
        ("Sort pear apple fig", "apple fig pear"),
        ("What is the acronym of 'Portable Network Graphics'?", "PNG"),
        ("How many words are in: one two three", "The text has 3 words."),
        (f"Summarize: {PETS}", "Cats and dogs are pets."),
        ("把“你好世界”倒过来", "界世好你"),
        ("把 hello 变成大写", "HELLO"),
        ("“你好 hello world”有几个词", "这段文字有 4 个词。"),
    ],
)
async def test_it_transforms(text: str, answer: str) -> None:
    assert await ask("demo-scribe", text) == answer


@pytest.mark.parametrize(
    "text", ["Does Chorus run behind a reverse proxy?", "What sort of server is Chorus?", "reverse"]
)
def test_a_question_is_no_instruction(text: str) -> None:
    assert scribe.task(question.read(text)) is None


@given(st.text(max_size=400))
def test_no_text_breaks_it(text: str) -> None:
    done = scribe.task(question.read(text))
    assert done is None or isinstance(done.answer, str)


@pytest.mark.parametrize("operation", ["reverse", "sort", "summarize", "how many words", "acronym"])
@pytest.mark.parametrize("piece", ["a", "a ", "'", '"', "“", ":", "\n", ". ", "a. ", "the ", "一", "a-", "«a»"])
def test_repeated_pieces_end_soon(operation: str, piece: str) -> None:
    began = time.thread_time()
    for sign in (": ", " "):
        scribe.task(question.read(operation + sign + piece * (20_000 // len(piece))))
    assert time.thread_time() - began < 1


@given(st.text(alphabet="abc XYZ'你好", min_size=1, max_size=30).map(str.strip).filter(bool))
def test_reversing_twice_gives_the_text_back(text: str) -> None:
    done = scribe.task(question.read(f"reverse «{text}»"))
    assert done is not None
    assert done.answer[::-1] == text
