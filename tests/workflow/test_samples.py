"""One model several times: waves, and layers that read each other (W7)."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.llm.base import Call
from chorus.llm.fake import FakeUpstream, Says
from chorus.types import Answer, ToolCall
from chorus.workflow.judging.agreement import key, most_frequent, needed, settled
from tests.workflow.running import failing, fake_models, on_trio, run_plan

pytestmark = pytest.mark.requirement("W7")


def answers(*texts: str) -> FakeUpstream:
    return FakeUpstream(*(Says(text, before=1) for text in texts))


@on_trio
async def test_samples_that_agree_need_no_further_wave() -> None:
    model = answers("42")
    result = await run_plan(
        {"workers": [{"ref": "m", "samples": 12}], "selector": "s", "synthesizer": "z"}, fake_models(m=model)
    )
    assert result.delivered == "42"
    assert len(model.calls) == 4
    assert result.finished.at == 1
    assert result.trace["shortcuts"] == [{"name": "settled", "path": "", "saved_calls": 10}]


@on_trio
async def test_a_doubt_costs_another_wave() -> None:
    model = answers("42", "41", "42", "42", "42")
    result = await run_plan({"workers": [{"ref": "m", "samples": 12}], "selector": "s"}, fake_models(m=model))
    assert result.delivered == "42"
    assert 4 < len(model.calls) < 12
    assert result.trace["shortcuts"][0]["name"] == "settled"


@on_trio
async def test_texts_that_cannot_be_counted_are_all_asked_for_at_once() -> None:
    model = answers(*(f"text number {'abcdefgh'[place]}" for place in range(8)))
    result = await run_plan({"workers": [{"ref": "m", "samples": 8}], "synthesizer": "z"}, fake_models(m=model))
    assert len(model.calls) == 8
    assert result.finished.at == 2
    assert result.delivered == "the final answer"


@on_trio
async def test_samples_that_fail_are_replaced_by_the_next_wave() -> None:
    model = failing()
    result = await run_plan({"workers": [{"ref": "m", "samples": 6}, "x"], "selector": "s"}, fake_models(m=model))
    assert len(model.calls) == 6
    assert result.delivered == "a wrong answer"


@on_trio
async def test_beside_others_settled_samples_are_candidates_like_any() -> None:
    models = fake_models(m=answers("right"))
    result = await run_plan({"workers": [{"ref": "m", "samples": 9}, "x"], "selector": "s"}, models)
    assert len(models["m"].calls) == 4
    assert len(models["s"].calls) == 1
    assert result.delivered == "right"


def seen(call: Call) -> str:
    return "second thought" if "[Chorus refiner]" in call.request.messages[-1].text else "first thought"


@on_trio
async def test_a_second_layer_reads_the_first() -> None:
    tree = {"workers": ["p", "q"], "refine": {"layers": 2}, "synthesizer": "z"}
    models = fake_models(p=FakeUpstream(Says(seen)), q=FakeUpstream(Says("other")))
    result = await run_plan(tree, models)
    assert [(worker["name"], worker["response"]) for worker in result.trace["workers"]] == [
        ("p", "first thought"),
        ("q", "other"),
        ("p (layer 2)", "second thought"),
        ("q (layer 2)", "other"),
    ]
    reading = models["p"].calls[1].request.messages
    assert reading[:-1] == models["p"].calls[0].request.messages
    assert "first thought" in reading[-1].text
    assert "second thought" in models["z"].calls[0].request.messages[-1].text
    assert "first thought" not in models["z"].calls[0].request.messages[-1].text


@on_trio
async def test_a_layer_of_its_own_and_one_that_fails_as_a_whole() -> None:
    tree = {"workers": ["x", "y"], "refine": {"layers": 3, "workers": ["w"]}, "selector": "s"}
    models = fake_models(w=failing())
    result = await run_plan(tree, models)
    assert result.delivered == "the right answer"
    assert [worker["status"] for worker in result.trace["workers"]] == ["ok", "ok", "failed", "failed"]
    assert result.trace["status"] == "degraded"


def beta_by_steps(first: int, second: int) -> float:
    """The mass of Beta(first + 1, second + 1) above one half, by adding it up."""
    steps = 2_000
    middle = ((place + 0.5) / steps for place in range(steps))
    heights = [(p, p**first * (1 - p) ** second) for p in middle]
    return math.fsum(h for p, h in heights if p > 0.5) / math.fsum(h for _, h in heights)


@given(first=st.integers(0, 12), second=st.integers(0, 12))
def test_the_criterion_is_the_papers(first: int, second: int) -> None:
    mass = beta_by_steps(first, second)
    assert settled(first, second, mass - 1e-4)
    assert not settled(first, second, mass + 1e-4)


@given(second=st.integers(0, 8), lead=st.integers(0, 8), confidence=st.floats(0.6, 0.99))
def test_what_is_needed_is_needed(second: int, lead: int, confidence: float) -> None:
    first = second + lead
    more = needed(first, second, confidence)
    assert more == 1 or not settled(first + more - 1, second, confidence)
    assert settled(first + more, second, confidence)


SPELLINGS = [
    ("The answer is 42.", "the answer  is **42**"),
    ("北京。", "北京"),
    ("\uff14\uff12", "42"),
]


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_what_is_the_same_but_for_its_spelling(one: str, other: str) -> None:
    assert key(Answer(one), "normalised") == key(Answer(other), "normalised")
    assert key(Answer(one), "exact") != key(Answer(other), "exact")


@given(st.text())
def test_what_is_normalised_stays_as_it_is(text: str) -> None:
    once = key(Answer(text), "normalised")
    assert key(Answer(once), "normalised") == once


def test_tool_calls_agree_by_what_they_do() -> None:
    one = Answer(tool_calls=(ToolCall("a", "f", '{"x": 1, "y": 2}'),))
    other = Answer("I call it", tool_calls=(ToolCall("b", "f", '{"y":2,"x":1}'),))
    assert key(one, "normalised") == key(other, "normalised")
    assert key(one, "normalised") != key(Answer(tool_calls=(ToolCall("a", "g", '{"x": 1, "y": 2}'),)), "normalised")


def test_of_equals_the_first_leads() -> None:
    assert most_frequent(["b", "a", "a", "b", "c"]) == ("b", 2, 2)
