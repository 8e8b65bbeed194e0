"""When enough workers have answered: the rules alone, without tasks and without time (W7)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.events import Fault
from chorus.types import Answer
from chorus.workflow.nodes.results import WorkerResult, gathered
from chorus.workflow.nodes.stop_rules import Decision, StopRules, agreed, is_quorum
from chorus.workflow.plan import Agreement, Leaf, Node, Quorum, Samples

pytestmark = pytest.mark.requirement("W7")
MODEL = Leaf("m", "m")
FAULT = Fault("upstream_error", "gone")


@dataclass(frozen=True)
class Seat:
    """A worker's place, without a task."""

    index: int
    node: Node = MODEL


def result(index: int, text: str | None, *, is_valid: bool = True) -> WorkerResult:
    if text is None:
        return WorkerResult(index, f"w{index}", fault=FAULT)
    return WorkerResult(index, f"w{index}", Answer(text), is_valid=is_valid)


results = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.booleans()), min_size=1, max_size=8).flatmap(
    lambda texts: st.permutations([result(i, text, is_valid=valid) for i, (text, valid) in enumerate(texts)])
)


def decisions(arriving: Sequence[WorkerResult], rules: StopRules[Seat], seats: Sequence[Seat]) -> list[Decision[Seat]]:
    return [rules.arrived(seats[arrived.index], arrived) for arrived in arriving]


def votes(candidates: Sequence[WorkerResult]) -> Counter[str]:
    return Counter(each.whole.text for each in candidates if each.answer is not None and each.is_valid)


@given(results, st.integers(1, 5))
def test_agreement_stops_with_the_result_that_reaches_the_threshold_and_only_then(
    arriving: list[WorkerResult], threshold: int
) -> None:
    seats = [Seat(index) for index in range(len(arriving))]
    rules = StopRules(seats, Agreement(threshold), None)
    stops = [decision.stop for decision in decisions(arriving, rules, seats)]
    reached = [max(votes(arriving[: count + 1]).values(), default=0) >= threshold for count in range(len(arriving))]
    assert stops.count("agreement") == any(reached)
    if any(reached):
        seen = arriving[: reached.index(True) + 1]
        assert stops.index("agreement") == reached.index(True)
        assert rules.agreed is not None
        same = [each for each in seen if each.is_valid and each.answer == rules.agreed.answer]
        assert len(same) == threshold
        assert rules.agreed == min(same, key=lambda each: each.index)
    else:
        assert rules.agreed is None


@given(results, st.integers(1, 5), st.sampled_from([0.0, 2.5]))
def test_a_quorum_is_reached_once_with_its_last_candidate(
    arriving: list[WorkerResult], least: int, grace: float
) -> None:
    seats = [Seat(index) for index in range(len(arriving))]
    made = decisions(arriving, StopRules(seats, None, Quorum(least, grace)), seats)
    candidates = [each.answer is not None for each in arriving]
    stopping = [place for place, decision in enumerate(made) if decision.stop is not None]
    expected = [place for place in range(len(made)) if candidates[place] and sum(candidates[: place + 1]) == least]
    assert stopping == expected
    assert all((made[place].stop, made[place].grace_secs) == ("quorum", grace) for place in stopping)


@given(st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=12), st.sampled_from([0.7, 0.95]))
def test_samples_start_once_each_and_end_settled_or_used_up(texts: list[str | None], confidence: float) -> None:
    node = Leaf("m", "m", samples=Samples("g", confidence))
    seats = [Seat(index, node) for index in range(len(texts))]
    rules = StopRules(seats, None, None)
    running, started = list(rules.first()), []
    settled = None
    while running:
        seat = running.pop(0)
        started.append(seat)
        decision = rules.arrived(seat, result(seat.index, texts[seat.index]))
        assert decision.stop is None
        running += decision.start
        if decision.agreed is not None:
            settled = decision
    assert len(set(started)) == len(started)
    assert rules.waiting == 0
    assert len(started) + (settled.dropped if settled is not None else 0) == len(texts)
    if settled is not None:
        counted = votes(rules.results)
        assert rules.agreed == settled.agreed
        assert counted[rules.agreed.whole.text] == max(counted.values())  # type: ignore[union-attr]


def test_after_a_stop_nothing_follows() -> None:
    seats = [Seat(0), Seat(1), Seat(2)]
    rules = StopRules(seats, Agreement(1), None)
    assert decisions([result(1, "a"), result(0, "a"), result(2, "b")], rules, seats) == [
        Decision(stop="agreement", agreed=result(1, "a")),
        Decision(),
        Decision(),
    ]
    assert [rules.has_result(index) for index in range(4)] == [True, True, True, False]


def test_agreement_comes_before_a_quorum() -> None:
    seats = [Seat(0)]
    assert decisions([result(0, "a")], StopRules(seats, Agreement(1), Quorum(1)), seats)[0].stop == "agreement"


@pytest.mark.parametrize(
    ("keys", "threshold", "expected"), [("", 1, None), ("aab", 2, 0), ("abb", 2, 1), ("ab", 2, None)]
)
def test_agreed(keys: str, threshold: int, expected: int | None) -> None:
    keyed = [(key, result(index, key)) for index, key in enumerate(keys)]
    found = agreed(keyed, threshold)
    assert (found.index if found is not None else None) == expected


def test_a_quorum_counts_candidates_without_the_response_format_too() -> None:
    assert is_quorum([result(0, "a", is_valid=False), result(1, None)], Quorum(1))
    assert not is_quorum([result(0, "a"), result(1, "b")], Quorum(1))


@given(results)
def test_what_a_layer_gave_stands_in_the_order_of_its_workers(arriving: list[WorkerResult]) -> None:
    candidates = [each for each in arriving if each.answer is not None]
    chosen = candidates[-1] if candidates else None
    layer = gathered(arriving, chosen, None, 9)
    indexes = [each.index for each in layer.candidates]
    assert indexes == sorted(indexes)
    assert len(indexes) + len(layer.failures) == len(arriving)
    assert chosen is None or (layer.agreed is not None and layer.candidates[layer.agreed] == chosen)
