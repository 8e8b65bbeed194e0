"""What of a trace becomes evidence."""

from __future__ import annotations

from typing import Any

import pytest

from chorus.errors import ChorusError
from chorus.evaluation.dataset import Question
from chorus.evaluation.results import Result, WorkerAnswer
from chorus.evaluation.tuning.evidence import Evidence, Variant
from chorus.evaluation.tuning.reading import evidence_of
from chorus.types import Message

QUESTIONS = {"q": Question("q", (Message("user", "What is 6 * 7?"),), "numeric", 42)}
SINGLES = [
    Result("q", "glm", "42", 1.0, 1.0, cost=0.5, calls=1),
    Result("q", "kimi", "41", 0.0, 2.0, cost=0.5, calls=1),
]


def worker(name: str, text: str, **more: Any) -> dict[str, Any]:
    plain = {"model": name, "status": "ok", "duration_ms": 3000.0, "temperature": 1.4, "temperature_source": "default"}
    return {"name": name, "response": text, "cost": 0.25, **plain, **more}


def read(workers: list[dict[str, Any]], **stages: Any) -> Evidence:
    trace = {"workers": workers, "analyzer": None, "selector": None, "synthesizer": None, **stages}
    candidates = (WorkerAnswer("glm", "42", 1.0), WorkerAnswer("kimi", "41", 0.0))
    run = Result("q", "chorus", "42", 1.0, 4.0, cost=2.0, calls=3, candidates=candidates, selected=1, trace=trace)
    return evidence_of([*SINGLES, run], QUESTIONS)


def test_workers_are_further_answers_of_their_models() -> None:
    evidence = read([worker("glm", "It is 42."), worker("kimi", "40")])
    [stored] = evidence.answers[Variant("glm")]
    assert [(answer.text, answer.score, answer.secs, answer.cost) for answer in stored] == [
        ("42", 1.0, 1.0, 0.5),
        ("It is 42.", 1.0, 3.0, 0.25),
    ]
    assert evidence.today["chorus"][0].calls == 3


def test_a_temperature_of_a_node_makes_another_variant() -> None:
    evidence = read([worker("glm", "42", temperature=0.7, temperature_source="node")])
    assert [answer.text for answer in evidence.answers[Variant("glm", "0.7")][0]] == ["42"]
    assert len(evidence.answers[Variant("glm")][0]) == 1


@pytest.mark.parametrize(
    "more", [{"layer": 2}, {"hedge": True}, {"status": "cancelled"}, {"temperature_source": "analyzer"}]
)
def test_an_answer_that_the_model_alone_would_not_give_is_left_out(more: dict[str, Any]) -> None:
    evidence = read([worker("glm", "42"), worker("kimi", "40", **more)])
    assert len(evidence.answers[Variant("kimi")][0]) == 1


def test_a_worker_that_failed_is_an_answer_that_did_not_come() -> None:
    evidence = read([worker("glm", "", status="failed", response=None)])
    assert evidence.answers[Variant("glm")][0][1].key is None


def test_each_pass_is_a_verdict_in_the_order_that_was_shown() -> None:
    seen = {"status": "ok", "duration_ms": 500.0, "selected_worker": "glm", "decisive": True}
    first = {**seen, "order_shown": ["kimi", "glm"], "ranking": ["glm", "kimi"], "scores": {"glm": 9, "kimi": 2}}
    second = {**seen, "order_shown": ["glm", "kimi"]}
    unread = {"status": "fallback", "duration_ms": 1.0}
    selector = {"model": "judge", "status": "ok", "passes": [first, second, unread]}
    evidence = read([worker("glm", "42"), worker("kimi", "40")], selector=selector)
    assert [(v.choice, [one.text for one in v.shown], v.secs) for v in evidence.verdicts] == [
        (1, ["40", "42"], 0.5),
        (0, ["42", "40"], 0.5),
    ]
    assert (evidence.verdicts[0].ranking, evidence.verdicts[0].scores) == ((1, 0), {1: 9.0, 0: 2.0})
    assert evidence.unread == {"judge": 1}


@pytest.mark.parametrize(
    ("said", "difficulty"),
    [
        ({"difficulty": "medium"}, "medium"),
        ({"strategy": "direct", "difficulty": "hard"}, "easy"),
        ({"strategy": "ensemble", "difficulty": "easy"}, ""),
        ({}, ""),
    ],
)
def test_an_analysis_says_who_answers(said: dict[str, str], difficulty: str) -> None:
    stage = {"model": "scout", "status": "ok", "duration_ms": 100.0, "analysis": said}
    [analysis] = read([worker("glm", "42")], analyzer=stage).analyses["scout"]
    assert analysis is not None
    assert (analysis.difficulty, analysis.secs) == (difficulty, 0.1)


def test_a_merge_compares_what_was_written_with_what_was_chosen() -> None:
    stage = {"model": "writer", "status": "ok", "duration_ms": 100.0}
    [merge] = read([worker("glm", "42")], synthesizer=stage).merges
    assert (merge.writer, merge.chosen, merge.written) == ("writer", 0.0, 1.0)


def test_questions_without_all_answers_are_left_out() -> None:
    results = [*SINGLES, Result("other", "glm", "1", 1.0, 1.0)]
    evidence = evidence_of(results, QUESTIONS)
    assert (evidence.ids, evidence.left_out) == (["q"], 1)
    with pytest.raises(ChorusError, match="no question has been answered"):
        evidence_of(results[1:], QUESTIONS)
