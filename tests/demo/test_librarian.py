"""The librarian finds the right section, and says so when there is none."""

from __future__ import annotations

import pytest

from chorus.demo import question
from chorus.demo.handbook import handbook
from chorus.demo.librarian import look_up
from chorus.demo.manners import is_refusal

from .asking import ask


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("What is Chorus?", "What is Chorus?"),
        ("what happens if a worker fails", "What happens when a worker fails?"),
        ("what happens if the selector fails?", "What happens when the selector fails?"),
        ("How do I set a timeout for one host?", "How do I set timeouts per host?"),
        ("which port?", "Which port does Chorus use?"),
        ("default temperature", "What is the default temperature?"),
        ("where does the config file live", "Where is the configuration file?"),
        ("how to run without api key", "How do I try Chorus without a key?"),
        ("Tell me about include_workflow", "What does include_workflow do?"),
        ("are my prompts stored in logs?", "Are prompts logged?"),
        ("can i use curl", "How do I use curl?"),
        ("How can I make a model fail?", "How can I see a model fail?"),
        ("工作流有哪几个阶段", "工作流有哪些阶段？"),
        ("include_workflow 是什么？", "include_workflow 有什么用？"),
        ("温度怎么决定", "温度是怎么决定的？"),
        ("怎么安装", "怎么安装 Chorus？"),
    ],
)
def test_the_right_section_is_found(text: str, title: str) -> None:
    hits = look_up(question.read(text))
    assert hits
    assert hits[0].section.title == title


@pytest.mark.parametrize("section", handbook().sections, ids=lambda section: section.title)
def test_every_section_is_found_by_its_title(section: object) -> None:
    hits = look_up(question.read(section.title))  # type: ignore[attr-defined]
    assert hits
    assert hits[0].section == section


@pytest.mark.parametrize(
    "text", ["What is the capital of France?", "tell me a joke", "Who won the world cup in 2018?", "法国的首都是哪里？"]
)
async def test_it_says_plainly_what_is_beyond_it(text: str) -> None:
    answer = await ask("demo-librarian", text)
    assert is_refusal(answer)
    assert "demo model" in answer or "演示模型" in answer


async def test_it_answers_in_the_language_of_the_question() -> None:
    assert "11435" in await ask("demo-librarian", "Which port does Chorus listen on?")
    assert "四个阶段" in await ask("demo-librarian", "工作流有哪些阶段？")
