"""Which pairs of stored answers judges compare."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.evaluation.dataset import Question
from chorus.evaluation.judges.families import family_of
from chorus.evaluation.judges.pairs import draw
from chorus.evaluation.results import Result, WorkerAnswer
from chorus.types import Message


def asked(count: int, check: str = "numeric") -> list[Question]:
    messages = (Message("user", "2 + 2"),)
    return [Question(str(number), messages, check, 4) for number in range(count)]  # type: ignore[arg-type]


def answered(*given: tuple[str, str, str]) -> dict[tuple[str, str], Result]:
    """Results of a question, a contestant and a text each."""
    return {(id, who): Result(id, who, text) for id, who, text in given}


TEXTS = st.lists(st.sampled_from(["4", "it is 4", "5", "it is 5", "so 4", "6"]), min_size=3, max_size=3)


@given(st.lists(TEXTS, min_size=1, max_size=5), st.integers(0, 9), st.integers(0, 5))
def test_a_draw_is_repeatable_and_a_larger_one_holds_it(texts: list[list[str]], seed: int, count: int) -> None:
    questions = asked(len(texts))
    found = answered(*((str(n), f"m{k}", text) for n, row in enumerate(texts) for k, text in enumerate(row)))
    names = ["m0", "m1", "m2"]
    drawn = draw(questions, names, found, 100, seed)
    assert draw(questions, names[::-1], dict(reversed(found.items())), 100, seed) == drawn
    assert draw(questions, names, found, count, seed) == drawn[:count]
    assert len(drawn) == sum(len(set(row)) * (len(set(row)) - 1) // 2 for row in texts)
    assert len({pair.key for pair in drawn}) == len(drawn)
    for pair in drawn:
        assert pair.one.text != pair.other.text


def test_contrasts_and_equal_ones_alternate_and_every_question_comes_first_once() -> None:
    texts = ["4", "so 4", "5", "so 5"]
    found = answered(*((str(n), f"m{k}", f"{n} {text}") for n in range(6) for k, text in enumerate(texts)))
    drawn = draw(asked(6), ["m0", "m1", "m2", "m3"], found, 24, 0)
    assert [pair.kind for pair in drawn] == ["contrast", "equal"] * 12
    assert {pair.question.id for pair in drawn[:12:2]} == {str(n) for n in range(6)}
    assert draw(asked(6), ["m0", "m1", "m2", "m3"], found, 24, 1) != drawn


def test_answers_that_no_rule_grades_come_last() -> None:
    questions = [*asked(1), Question("j", (Message("user", "Why?"),), "judge")]
    found = answered(("0", "a", "4"), ("0", "b", "5"), ("j", "a", "since"), ("j", "b", "because"))
    assert [pair.kind for pair in draw(questions, ["a", "b"], found, 9, 0)] == ["contrast", "unknown"]


def test_the_same_text_is_one_answer_of_several_authors_and_none_is_no_answer() -> None:
    found = answered(("0", "a", "4"), ("0", "b", "4"), ("0", "c", "5"), ("0", "d", " "), ("0", "e", "9" * 40_000))
    [pair] = draw(asked(1), ["a", "b", "c", "d", "e"], found, 9, 0)
    assert {pair.one.authors, pair.other.authors} == {frozenset("ab"), frozenset("c")}
    assert {pair.one.grade, pair.other.grade} == {0, 1}


def test_workers_and_synthesizer_of_a_workflow_are_authors() -> None:
    trace: Any = {
        "workers": [{"name": "mine", "model": "glm"}, {"name": "team"}],
        "synthesizer": {"status": "ok", "model": "kimi"},
    }
    candidates = (WorkerAnswer("mine", "4"), WorkerAnswer("team", "5"))
    found = {("0", "chorus"): Result("0", "chorus", "it is 4", candidates=candidates, trace=trace)}
    drawn = draw(asked(1), ["chorus"], found, 9, 0)
    authors = {answer.text: set(answer.authors) for pair in drawn for answer in (pair.one, pair.other)}
    assert authors == {"4": {"glm"}, "5": set(), "it is 4": {"kimi"}}


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("gpt-5-mini", "gpt"),
        ("openai/o3", "gpt"),
        ("chatgpt-4o-latest", "gpt"),
        ("Qwen/Qwen3-8B", "qwen"),
        ("qwen3:8b", "qwen"),
        ("us.anthropic.claude-sonnet-4", "claude"),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama"),
        ("mixtral-8x7b", "mistral"),
        ("deepseek-r1-distill-llama-70b", "deepseek"),
        ("gemma-3-270m", "gemini"),
        ("olmo-2", "olmo"),
        ("7b", "7b"),
    ],
)
def test_families_are_known_by_name(model: str, family: str) -> None:
    assert family_of(model) == family


def test_each_demo_model_is_a_family_of_its_own() -> None:
    assert family_of("demo-judge", "demo") != family_of("demo-abacus", "demo")
