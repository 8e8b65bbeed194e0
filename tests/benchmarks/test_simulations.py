"""The claims of the simulations, on a few hundred questions each (W6, W7):
`python -m benchmarks.judging`, `benchmarks.shortcuts`, `benchmarks.length`, `benchmarks.judges`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks import judges, judging, learned_routes, length, shortcuts

pytestmark = pytest.mark.very_slow


@pytest.mark.requirement("W6")
def test_two_passes_come_near_a_judge_without_bias() -> None:
    found = judging.figures(200)
    assert (
        found.unbiased - found.biased[2] < 0.0275
    )  # a point at 2,000 questions; a tie that falls otherwise is half a point here
    assert found.biased[1] < found.biased[2] <= found.oracle
    assert found.majority > max(found.workers.values()) > found.drawn


@pytest.mark.requirement("W6")
def test_length_control_brings_a_judge_that_likes_length_to_the_fair_one() -> None:
    found = length.figures(400)
    assert found.fair - found.controlled <= 0.02
    assert found.fair - found.biased > 0.05
    assert found.found.length.low <= length.LENGTH <= found.found.length.high
    assert found.found.passes == 2


@pytest.mark.parametrize("name", list(judges.PLANTED))
def test_intervals_hold_what_was_planted(name: str) -> None:
    counts = judges.covered(judges.PLANTED[name], 100, questions=60, pairs=60)
    assert min(counts.values()) >= 93, counts


@pytest.mark.parametrize(
    ("claim", "questions"),
    # half a point must be more than one question, so that a tie that falls otherwise decides
    # nothing
    [(shortcuts.straggler, 50), (shortcuts.agreeing, 250), (shortcuts.sampling, 420)],
)
@pytest.mark.requirement("W7")
def test_shortcuts_save_what_they_claim(
    claim: Callable[[int], bool], questions: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert claim(questions), capsys.readouterr().out


@pytest.mark.requirement("W7")
def test_a_learned_route_finds_the_best_workers_and_follows_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    assert learned_routes.claims(learned_routes.curves(4)), capsys.readouterr().out
