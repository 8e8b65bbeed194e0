"""The scribe does what a sentence asks, with the text that the sentence means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.demo import question, scribe
from chorus.demo.manners import is_refusal

from .asking import ask

PETS = "Cats sleep a lot. Cats and dogs are pets. Dogs bark at cats. The weather is nice. Dogs run."


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('reverse "hello world"', "dlrow olleh"),
        ("Reverse the word stressed", "desserts"),
        ("Reverse the order of words in 'one two three'", "three two one"),
        ("Convert hello world to upper case", "HELLO WORLD"),
        ("lowercase: ABC Def", "abc def"),
        ("make 'hello there' title case", "Hello There"),
        ("sort the words: pear, apple, fig", "apple, fig, pear"),
        ("What is the acronym of Portable Network Graphics?", "PNG"),
        ("reverse and uppercase: abc", "CBA"),
        (f"Summarize: {PETS}", "Cats and dogs are pets."),
        ("把“你好世界”倒过来", "界世好你"),
        ("把 hello 变成大写", "HELLO"),
        ("写成首字母大写：hello world", "Hello World"),
    ],
)
async def test_it_transforms(text: str, answer: str) -> None:
    assert await ask("demo-scribe", text) == answer


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("How many r's are in strawberry?", "3 times"),
        ('How often does the letter "s" appear in "Mississippi"?', "4 times"),
        ("how many letters are in strawberry", "10 letters"),
        ("count the words: one two three", "3 words"),
        ("Is racecar a palindrome?", "Yes"),
        ("Is hello a palindrome?", "No"),
        ("strawberry 里有几个 r", "3 个"),
        ("“hello world”里有几个词", "2 个词"),
        ("上海自来水来自海上是回文吗？", "是的"),
    ],
)
async def test_it_counts_and_checks(text: str, part: str) -> None:
    assert part in await ask("demo-scribe", text)


async def test_a_longer_text_without_instruction_gets_an_extract() -> None:
    answer = await ask("demo-scribe", PETS)
    assert "Cats and dogs are pets." in answer
    assert is_refusal(answer)


@given(st.text(max_size=400))
def test_no_text_breaks_it(text: str) -> None:
    assert isinstance(scribe.answer(question.read(text)), str)


@given(st.text(alphabet="abc XYZ'你好", min_size=1, max_size=30).map(str.strip).filter(bool))
def test_reversing_twice_gives_the_text_back(text: str) -> None:
    once = scribe.perform(question.read(f"reverse «{text}»"))
    assert once is not None
    assert once.result[::-1] == text
