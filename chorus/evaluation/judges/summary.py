"""What the judgements say of each judge, and which judge to use. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chorus.evaluation.judges.asking import Judgement
from chorus.evaluation.judges.fit import UNKNOWN, Row, grouped_mean, linear, logistic, share
from chorus.evaluation.judges.pairs import Pair, Stored
from chorus.evaluation.statistics import MeanInterval
from chorus.workflow.judging.borda import Ballot, count
from chorus.workflow.judging.length import control, doublings

_NOTICEABLE: Final = 0.05
"""A doubling of the length is an effect worth correcting when it moves the preference between
equally good answers by five points, and the interval does not hold 0."""
_STEADY: Final = 0.9
"""A judge that keeps its verdict on a right and a wrong answer so often, by the lower end of the
interval, needs one pass."""
_MOST_POINTS: Final = 5.0
"""The largest `length_effect` that a configuration may have."""

Families = Mapping[str, str]
"""The family of each model by its configured name."""


@dataclass(frozen=True, slots=True)
class Bias:
    """One judge. `pairs` are those that it has compared, in two calls each; `unreadable` is the
    share of replies without a verdict.

    Shares: `order_kept` of pairs whose verdict stays when the two change places, `steady` of those
    with a right and a wrong answer (of all where there is none such); `first_place` of
    verdicts for what was shown first (fair: a half). Of two answers that are alike but for one
    thing, `twice_as_long` and `own_family` are how often it prefers the longer one and that of its
    own family (fair: a half); `own_pairs` have one of its family and one of another.

    `position`, `length` and `own` are the same in points of its scores: for the first place, for
    each doubling of the length, for its own family. `quality` is what being right is worth.

    `agrees` has how often it prefers the right answer to a wrong one, in `contrasts` pairs: with
    one pass, with two, and with two and length control at `length`. NaN is what is not known; costs
    are per call, None where a price is unknown.
    """

    name: str
    pairs: int
    contrasts: int
    own_pairs: int
    unreadable: float
    order_kept: MeanInterval
    steady: MeanInterval
    first_place: MeanInterval
    twice_as_long: MeanInterval
    own_family: MeanInterval
    position: MeanInterval
    length: MeanInterval
    own: MeanInterval
    quality: MeanInterval
    one_pass: MeanInterval
    two_passes: MeanInterval
    controlled: MeanInterval
    tokens: float
    cost: float | None
    secs: float

    @property
    def likes_length(self) -> bool:
        """Whether length moves its preference above the threshold, either way."""
        return _is_off(self.twice_as_long) and abs(self.twice_as_long.mean - 0.5) >= _NOTICEABLE

    @property
    def length_effect(self) -> float | None:
        """The `length_effect` to configure; None where length matters too little, or not to its
        scores."""
        if not self.likes_length or math.isnan(self.length.mean) or self.length.low <= 0 <= self.length.high:
            return None
        if (self.length.mean > 0) != (self.twice_as_long.mean > 0.5):
            return None
        return round(min(max(self.length.mean, -_MOST_POINTS), _MOST_POINTS), 2)

    @property
    def prefers_a_place(self) -> bool:
        """Whether its verdicts depend on which answer is shown first."""
        return _is_off(self.first_place)

    @property
    def prefers_its_family(self) -> bool:
        """Whether its own family is worth something to it, or costs something."""
        return _is_off(self.own_family)

    @property
    def passes(self) -> int:
        """How many passes to configure: one for a judge that keeps its verdict whatever the order,
        else two, which cancel what a place is worth."""
        is_steady = self.steady.low >= _STEADY and not self.prefers_a_place
        return 1 if is_steady else 2

    @property
    def agrees(self) -> MeanInterval:
        """The agreement with the rules as this judge is best asked."""
        if self.length_effect is not None:
            return self.controlled
        return self.one_pass if self.passes == 1 else self.two_passes


@dataclass(frozen=True, slots=True)
class Judges:
    """All judges in their order. `pairs` were drawn, `unknown` of them without a grade, `expected`
    judgements belong to them; `best` is the judge to use, None where nothing tells; `behind` is how
    much less each other judge agrees with the rules than the best, at two passes and with the
    length control that each needs."""

    pairs: int
    unknown: int
    expected: int
    rows: Sequence[Bias]
    best: Bias | None
    behind: Mapping[str, MeanInterval]

    @property
    def complete(self) -> bool:
        """Whether every judge has compared every pair."""
        return sum(row.pairs for row in self.rows) == self.expected


def summarise_judges(
    judges: Sequence[str],
    pairs: Sequence[Pair],
    judgements: Mapping[tuple[str, str], Judgement],
    families: Families,
    seed: int = 0,
) -> Judges:
    """Return what `judgements` on `pairs` say of `judges`; `seed` fixes the bootstrap's draws."""
    rows = []
    for judge in judges:
        compared = [(pair, said) for pair in pairs if (said := judgements.get((judge, pair.key))) is not None]
        rows.append(_bias(judge, compared, families, seed))
    best = max((row for row in rows if row.unreadable < 1), key=_worth, default=None)
    behind = {}
    if best is not None:
        others = [row for row in rows if row is not best]
        behind = {row.name: grouped_mean(_ahead(best, row, pairs, judgements), seed) for row in others}
    unknown = sum(pair.kind == "unknown" for pair in pairs)
    return Judges(len(pairs), unknown, len(pairs) * len(judges), rows, best, behind)


def _ahead(
    best: Bias, other: Bias, pairs: Sequence[Pair], judgements: Mapping[tuple[str, str], Judgement]
) -> list[tuple[str, float]]:
    """Return the question of each pair of a right and a wrong answer that both judges have
    compared, and by how much `best` did better.

    Both are taken at two passes and with the length control that they need.
    """
    ahead = []
    for pair in pairs:
        mine, theirs = judgements.get((best.name, pair.key)), judgements.get((other.name, pair.key))
        if pair.kind == "contrast" and mine is not None and theirs is not None:
            better = _agreement(mine, pair, best.length_effect) - _agreement(theirs, pair, other.length_effect)
            ahead.append((pair.question.id, better))
    return ahead


def _worth(row: Bias) -> tuple[float, float, float]:
    """Return the key that is largest for the best judge.

    First agreement with the rules, then steadiness, then low cost.
    """
    known = [0.0 if math.isnan(value) else value for value in (row.agrees.mean, row.order_kept.mean)]
    return known[0], known[1], -(row.cost or 0.0)


def _bias(judge: str, compared: Sequence[tuple[Pair, Judgement]], families: Families, seed: int) -> Bias:
    own = families.get(judge, judge)
    both = [(pair, said) for pair, said in compared if None not in said.preferred]
    contrasts = [(pair, said) for pair, said in compared if pair.kind == "contrast"]
    telling = [(pair, said) for pair, said in both if pair.kind == "contrast"] or both
    choices = logistic(_rows(compared, own, families, _preferred_first))
    points = linear(_rows(compared, own, families, _points_ahead))
    effects = [share(effect) for effect in choices] or [UNKNOWN] * 4
    points = points or [UNKNOWN] * 4
    calls = 2 * len(compared)
    costs = [said.cost for _, said in compared if said.cost is not None]
    replies = [choice for _, said in compared for choice in said.preferred]

    def mean(values: Sequence[float], of: Sequence[tuple[Pair, Judgement]]) -> MeanInterval:
        return grouped_mean([(pair.question.id, value) for (pair, _), value in zip(of, values, strict=True)], seed)

    effect = points[2].mean
    return Bias(
        judge,
        len(compared),
        len(contrasts),
        sum(_more_own(pair, own, families) != 0 for pair, _ in compared),
        sum(choice is None for choice in replies) / len(replies) if replies else math.nan,
        mean([_kept(said) for _, said in both], both),
        mean([_kept(said) for _, said in telling], telling),
        mean([((said.preferred[0] == 0) + (said.preferred[1] == 1)) / 2 for _, said in both], both),
        effects[2],
        effects[3],
        points[0],
        points[2],
        points[3],
        points[1],
        mean([_one_pass(said, pair) for pair, said in contrasts], contrasts),
        mean([_agreement(said, pair) for pair, said in contrasts], contrasts),
        UNKNOWN
        if math.isnan(effect)
        else mean([_agreement(said, pair, effect) for pair, said in contrasts], contrasts),
        sum(said.tokens for _, said in compared) / calls if calls else math.nan,
        sum(costs) / calls if calls and len(costs) == len(compared) else None,
        sum(said.secs for _, said in compared) / calls if calls else math.nan,
    )


def _kept(said: Judgement) -> float:
    """Return whether a verdict stays when the two answers change places."""
    return float(said.preferred[0] == said.preferred[1])


def _preferred_first(said: Judgement, turn: int) -> float | None:
    """Return 1 where the verdict of this turn is for the answer shown first, else 0; None without a
    verdict."""
    preferred = said.preferred[turn]
    return None if preferred is None else float(preferred == turn)


def _points_ahead(said: Judgement, turn: int) -> float | None:
    """Return how many points what was shown first is ahead in the scores of this turn."""
    scores = said.scores[turn]
    return None if scores is None else scores[turn] - scores[1 - turn]


def _rows(
    compared: Sequence[tuple[Pair, Judgement]],
    own: str,
    families: Families,
    outcome: Callable[[Judgement, int], float | None],
) -> list[Row]:
    """Return the verdicts on pairs of known grade.

    The terms are: the first place; how much better, in doublings how much longer, and how much more
    of the judge's own family the answer is that was shown first.
    """
    rows = []
    for pair, said in compared:
        if pair.kind == "unknown":
            continue
        times = doublings([len(pair.one.text), len(pair.other.text)])
        better = (pair.one.grade or 0.0) - (pair.other.grade or 0.0)
        more_own = _more_own(pair, own, families)
        for turn, sign in enumerate((1.0, -1.0)):
            where = outcome(said, turn)
            if where is not None:
                terms = (1.0, sign * better, sign * (times[0] - times[1]), sign * more_own)
                rows.append(Row(pair.question.id, terms, where))
    return rows


def _more_own(pair: Pair, family: str, families: Families) -> float:
    """Return how much more of this family `one` is than `other`; 0 where an author is unknown."""
    if not (pair.one.authors and pair.other.authors):
        return 0.0
    return _of_family(pair.one, family, families) - _of_family(pair.other, family, families)


def _of_family(answer: Stored, family: str, families: Families) -> float:
    """Return the share of the authors of an answer that are of this family."""
    of = [families.get(author, author) == family for author in answer.authors]
    return sum(of) / len(of)


def _one_pass(said: Judgement, pair: Pair) -> float:
    """Return the share of the two verdicts that is for the right answer.

    An unreadable verdict counts 0.5.
    """
    right = 0 if (pair.one.grade or 0.0) > (pair.other.grade or 0.0) else 1
    return sum(0.5 if choice is None else float(choice == right) for choice in said.preferred) / 2


def _agreement(said: Judgement, pair: Pair, length_effect: float | None = None) -> float:
    """Return whether two passes choose the right answer, counted as a selector counts them.

    0.5 where they leave it open.
    """
    right = 0 if (pair.one.grade or 0.0) > (pair.other.grade or 0.0) else 1
    lengths = [len(pair.one.text), len(pair.other.text)]
    ballots = []
    for choice, given in zip(said.preferred, said.scores, strict=True):
        if choice is None:
            continue
        scores = dict(enumerate(given)) if given is not None else {}
        ranking: tuple[int, ...] = (choice, 1 - choice)
        if length_effect is not None:
            ranking, scores, _ = control(choice, ranking, scores, lengths, length_effect)
        ballots.append(Ballot(ranking[0], ranking, scores))
    if not ballots:
        return 0.5
    counted = count(ballots, 2)
    if counted.points[0] == counted.points[1] and counted.scores.get(0, 0.0) == counted.scores.get(1, 0.0):
        return 0.5
    return float(counted.winner == right)


def _is_off(share_of: MeanInterval) -> bool:
    """Return whether the interval of a share leaves out a half."""
    return not math.isnan(share_of.low) and not share_of.low <= 0.5 <= share_of.high
