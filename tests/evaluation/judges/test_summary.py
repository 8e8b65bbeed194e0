"""What is said of judges of planted biases, and how it is shown."""

from __future__ import annotations

import math
import tomllib
from io import StringIO

import pytest
from rich.console import Console

from benchmarks.judges import MODELS, Planted, covered, judged, judgement, stored
from chorus.evaluation.judges.advice import advice, setting
from chorus.evaluation.judges.asking import Judgement
from chorus.evaluation.judges.pairs import draw
from chorus.evaluation.judges.report import judges_section
from chorus.evaluation.judges.summary import Bias, Judges, summarise_judges
from chorus.evaluation.judges.table import print_judges
from chorus.workflow.parse import parse
from chorus.workflow.plan import Flow

BIASED = Planted(position=1.0, length=0.6, own=0.9)


def sentences(judges: Judges) -> list[str]:
    """The advice in English."""
    return [text.en for text in advice(judges)]


def one(by: Planted, seed: int = 1, *, pairs: int = 120) -> Bias:
    [row] = judged(by, questions=60, pairs=pairs, seed=seed).rows
    return row


def several(**planted: Planted) -> Judges:
    """Judges on the same pairs, by name."""
    asked, results = stored(60, 1)
    pairs = draw(asked, list(MODELS)[1:], results, 120, 1)
    said = {}
    for name, by in planted.items():
        for pair in pairs:
            row = judgement(pair, by, 1)
            said[name, pair.key] = Judgement(name, row.pair, row.id, row.preferred, row.scores, 0.1, 80, by.noise)
    return summarise_judges(list(planted), pairs, said, {**MODELS, "fair": "fair"}, 1)


def test_planted_effects_are_recovered() -> None:
    counts = covered(BIASED, 6, questions=40, pairs=40)
    assert min(counts.values()) >= 5, counts
    row = one(BIASED)
    assert row.position.low <= BIASED.position <= row.position.high
    assert row.length.low <= BIASED.length <= row.length.high
    assert row.own.low <= BIASED.own <= row.own.high
    assert row.twice_as_long.low <= BIASED.twice_as_long <= row.twice_as_long.high
    assert row.quality.low <= BIASED.quality <= row.quality.high


def test_what_is_found_is_named_with_the_setting_that_helps() -> None:
    judges = judged(BIASED, questions=60, pairs=120, seed=1)
    [row] = judges.rows
    said = "\n".join(sentences(judges))
    assert (row.prefers_a_place, row.likes_length, row.prefers_its_family) == (True, True, True)
    assert "prefers what is shown first" in said
    assert "prefers an answer twice as long" in said
    assert f"length_control = true, length_effect = {row.length_effect:g}" in said
    assert "prefers its own family's answers" in said
    assert row.two_passes.mean > row.one_pass.mean
    assert row.controlled.mean > row.one_pass.mean


def test_the_setting_is_one_that_a_configuration_takes() -> None:
    row = one(BIASED)
    selector = tomllib.loads(setting(row))["selector"]
    flow, problems = parse({"workers": ["mine"], "selector": selector}, label="chorus", place="tree", kinds={})
    assert not problems
    assert isinstance(flow, Flow)
    assert (flow.passes, flow.length_effect) == (2, row.length_effect)


def test_a_fair_and_steady_judge_needs_one_pass_and_no_warning() -> None:
    judges = judged(Planted(quality=8.0, noise=0.05), questions=60, pairs=120, seed=2)
    [row] = judges.rows
    assert row.length_effect is None
    only_contrasts = [line for line in sentences(judges) if "prefers what" in line or "length_control" in line]
    assert only_contrasts == []
    assert row.passes == 1
    assert setting(row) == 'selector = { ref = "judge" }'


def test_a_judge_that_likes_short_answers_is_corrected_the_other_way() -> None:
    row = one(Planted(length=-0.8))
    assert row.length_effect is not None
    assert row.length_effect < 0
    assert "half as long" in "\n".join(sentences(judged(Planted(length=-0.8), questions=60, pairs=120, seed=1)))


def test_the_best_is_the_one_that_agrees_most_and_the_others_are_compared_with_it() -> None:
    judges = several(noisy=Planted(quality=0.5), fair=Planted(quality=3.0))
    assert judges.best is not None
    assert judges.best.name == "fair"
    assert judges.behind["noisy"].low > 0
    said = sentences(judges)
    assert said[0].startswith("Use fair with ")
    assert "family" not in "\n".join(said)  # neither has answered
    assert said[1].startswith("noisy is ")
    assert "costs as much" in said[1]
    assert repr(several(noisy=Planted(quality=0.5), fair=Planted(quality=3.0))) == repr(judges)


def test_a_judge_that_gives_no_scores_has_shares_and_no_points() -> None:
    asked, results = stored(40, 1)
    pairs = draw(asked, list(MODELS)[1:], results, 60, 1)
    rows = {("judge", pair.key): judgement(pair, Planted(length=1.5), 1) for pair in pairs}
    silent = {key: Judgement(row.judge, row.pair, row.id, row.preferred) for key, row in rows.items()}
    judges = summarise_judges(["judge"], pairs, silent, MODELS)
    [row] = judges.rows
    assert row.likes_length
    assert row.length_effect is None
    assert math.isnan(row.length.mean)
    assert "its scores do not show it" in "\n".join(sentences(judges))


@pytest.mark.parametrize("unreadable", [0.0, 1.0])
def test_replies_without_a_verdict_and_pairs_without_a_judgement(unreadable: float) -> None:
    asked, results = stored(5, 1)
    pairs = draw(asked, list(MODELS)[1:], results, 6, 1)
    said = {("judge", pair.key): Judgement("judge", pair.key, pair.question.id, (None, None)) for pair in pairs}
    judges = summarise_judges(["judge"], pairs, said if unreadable else {}, MODELS)
    assert judges.best is None
    assert judges.complete == bool(unreadable)
    assert sentences(judges)[0].startswith("No reply" if unreadable else "No judge has")
    assert "nan" not in judges_section(judges)


def test_without_a_pair_it_says_what_is_missing() -> None:
    judges = summarise_judges(["judge"], [], {}, {})
    assert "no pair to judge" in sentences(judges)[0]
    assert "<table" not in judges_section(judges)


def test_the_section_is_whole_escaped_and_always_the_same() -> None:
    poison = "<script>alert(1)</script>"
    judges = several(**{poison: BIASED, "fair": Planted()})
    page = judges_section(judges)
    assert page == judges_section(several(**{poison: BIASED, "fair": Planted()}))
    assert "<script" not in page
    assert page.count("<svg") == 1
    for text in ("order kept", "twice as long", "own family", "&lt;script&gt;", "length_control = true"):
        assert text in page
    assert "nan" not in page
    assert "not every judge" not in page.lower()


def test_the_table_fits_a_terminal_and_has_every_judge() -> None:
    printed = StringIO()
    planted = {f"judge-number-{number}": Planted(quality=number) for number in range(5)}
    print_judges(several(**planted), Console(file=printed, width=124))
    text = printed.getvalue()
    for name in planted:
        assert name in text
    assert "…" not in text
    assert text.count("order kept") == 2  # four judges stand beside each other
    assert "5 judges on 120 pairs" in text
