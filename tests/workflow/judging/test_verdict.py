"""Reading what judges write (W5)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.workflow.judging.prompts import label
from chorus.workflow.judging.replies import Unreadable
from chorus.workflow.judging.verdict import read_analysis, read_verdict

LABELS = ["A", "B", "C"]


@pytest.mark.parametrize(
    "text",
    [
        '{"choice": "B", "reason": "better", "scores": {"A": 3, "B": 9}}',
        '```json\n{"choice": "B", "reason": "better"}\n```',
        'Candidate A is weak.\n{"choice": "B", "reason": "better",}\nHope this helps!',
        "{'choice': 'B', 'reason': 'better'}",
        '<think>A? {"choice": "A"} no.</think>{"choice": "B", "reason": "better"}',
        'thinking aloud {"choice": "B"} without an opening tag</think>\n{"choice": "B", "reason": "better"}',
        '{"choice": "candidate B", "reason": "better"}',
        '{"choice": "[B]", "reason": "better"}',
        '{"choice": 2, "reason": "better"}',
        '{"choice": "2", "reason": "better"}',
        '{"selected_index": 2, "reason": "better"}',
        '{"choice": "B", "reason": "better"',
        '{choice: "B", reason: "better"}',
        'It is {"choice": "B", "reason": "x"}, and again {"choice": "B", "reason": "better"}',
        '{"choice": "B" "reason": "better"}',
        "{“choice”: “B”，“reason”：“better”}",
        '{"choice": "b", "reason": "better"}',
    ],
)
@pytest.mark.requirement("W5")
def test_a_verdict_is_read_however_it_is_dressed(text: str) -> None:
    verdict = read_verdict(text, LABELS)
    assert verdict.choice == 1
    assert verdict.reason == "better"


@pytest.mark.parametrize(
    ("text", "choice"), [("B", 1), ("**C**", 2), ("Candidate A.", 0), (" `b` ", 1), ("答案 B", None)]
)
def test_a_lone_label_is_a_choice(text: str, choice: int | None) -> None:
    if choice is None:
        with pytest.raises(Unreadable):
            read_verdict(text, LABELS)
    else:
        assert read_verdict(text, LABELS).choice == choice


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "I like the 2nd one, with 3 reasons",
        'First I thought {"choice": "A"} but then {"choice": "B"}',
        'aloud {"choice": "A"} without an opening tag</think>{"choice": "B"}',
        '{"choice": "Z"}',
        '{"choice": 7}',
        '{"choice": true}',
        "[]",
        "null",
    ],
)
@pytest.mark.requirement("W5")
def test_nothing_is_guessed(text: str) -> None:
    with pytest.raises(Unreadable):
        read_verdict(text, LABELS)


@pytest.mark.parametrize(
    "scores",
    ['{"A": 3, "B": "9", "Z": 1}', "[3, 9]", '[{"label": "A", "score": 3}, {"label": "B", "score": 9}]'],
)
def test_scores_by_label_or_in_order(scores: str) -> None:
    verdict = read_verdict('{"choice": "B", "scores": ' + scores + "}", LABELS)
    assert verdict.scores == {0: 3.0, 1: 9.0}


def test_zero_can_only_mean_the_first() -> None:
    assert read_verdict('{"choice": 0}', LABELS).choice == 0


@given(position=st.integers(0, 300))
def test_every_label_is_read_back(position: int) -> None:
    labels = [label(each) for each in range(301)]
    assert len(set(labels)) == len(labels)
    assert read_verdict('{"choice": "' + labels[position] + '"}', labels).choice == position


@pytest.mark.requirement("W5")
def test_an_analysis_keeps_what_makes_sense() -> None:
    analysis = read_analysis('Sure: {"task_type": "code", "temperature": "5", "difficulty": "EASY"}')
    assert (analysis.task_type, analysis.temperature, analysis.difficulty) == ("code", 2.0, "easy")
    partial = read_analysis('{"task_type": 7, "temperature": null, "difficulty": "so-so"}')
    assert (partial.task_type, partial.temperature, partial.difficulty) == ("general", None, "medium")
    with pytest.raises(Unreadable):
        read_analysis("It is a coding task.")
