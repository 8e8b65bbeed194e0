"""What a panel would have given for each question. Pure, and the same for the same evidence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Final

from chorus.evaluation.statistics import percentile
from chorus.evaluation.tuning.evidence import Evidence, Merge, Outcome, Shown, StoredAnswer, Variant
from chorus.evaluation.tuning.judges import Judges
from chorus.evaluation.tuning.panels import Panel, Seats
from chorus.evaluation.tuning.replay import Replayed, replay
from chorus.workflow.judging.agreement import most_frequent

_MOST_TURNS: Final = 4
"""How often a question is replayed where a model's answers to it are several: each turn takes
others of them."""


@dataclass(frozen=True)
class Scored:
    """A panel on all questions: `quality` has a score from 0 to 1 for each, `secs` a time for each
    question and turn. `cost` and `calls` are means of a question; `cost` is None where a price is
    unknown; `modelled` is the share of questions where the fitted judge had to decide."""

    panel: Panel | None
    name: str
    quality: Sequence[float]
    secs: Sequence[float]
    cost: float | None
    calls: float
    modelled: float = 0.0

    @cached_property
    def mean(self) -> float:
        """The mean quality."""
        return sum(self.quality) / len(self.quality)

    @cached_property
    def p50(self) -> float:
        """Half of the answers take no longer, in seconds."""
        return percentile(self.secs, 0.5)

    @cached_property
    def p95(self) -> float:
        """Nineteen of twenty answers take no longer, in seconds."""
        return percentile(self.secs, 0.95)


@dataclass(frozen=True)
class Case:
    """One replay of one question: the answers of the seats, and what came of them."""

    question: int
    turn: int
    refs: Sequence[str]
    answers: Sequence[StoredAnswer]
    replayed: Replayed

    @cached_property
    def shown(self) -> list[Shown]:
        """The candidates that a judge would see."""
        return [
            Shown(self.refs[place], self.answers[place].text, self.answers[place].score)
            for place in self.replayed.candidates
        ]


class Scorer:
    """Scores panels on `evidence`; `seed` fixes which answers are drawn again where a panel asks
    more often than answers are stored."""

    def __init__(self, evidence: Evidence, judges: Judges, seed: int = 0) -> None:
        self.evidence = evidence
        self.judges = judges
        self._seed = seed
        several = max((len(row) for rows in evidence.answers.values() for row in rows), default=1)
        self._turns = min(several, _MOST_TURNS)
        self._drawn: dict[tuple[Variant, int, int, int], list[StoredAnswer]] = {}
        self._last: tuple[object, list[Case]] = (None, [])
        self._effects = {merge.writer: _effect(evidence.merges, merge.writer) for merge in evidence.merges}
        self._merge_times = {merge.writer: _times(evidence.merges, merge.writer) for merge in evidence.merges}

    def score(self, panel: Panel) -> Scored:
        """Return what `panel` would have given."""
        count = len(self.evidence.ids)
        quality = [0.0] * count
        secs: list[float] = []
        costs: list[float] | None = []
        calls, modelled = 0.0, 0
        for case in self.cases(panel):
            outcome, by_model = self._outcome(panel, case)
            quality[case.question] += outcome.score / self._turns
            secs.append(outcome.secs)
            calls += outcome.calls
            modelled += by_model
            if outcome.cost is None:
                costs = None
            elif costs is not None:
                costs.append(outcome.cost)
        whole = count * self._turns
        cost = sum(costs) / whole if costs is not None else None
        return Scored(panel, panel.label, quality, secs, cost, calls / whole, modelled / whole)

    def cases(self, panel: Panel) -> Sequence[Case]:
        """Return every replay of the workers of `panel`."""
        key = (panel.seats, panel.threshold, panel.quorum)
        if self._last[0] != key:
            self._last = (key, list(self._replayed(panel.seats, panel.threshold, panel.quorum)))
        return self._last[1]

    def goes_direct(self, panel: Panel, question: int) -> Variant | None:
        """Return the variant that answers alone by the analysis of `question`."""
        if panel.analyzer is None:
            return None
        analysis = self.evidence.analyses[panel.analyzer][question]
        return dict(panel.direct).get(analysis.difficulty) if analysis is not None else None

    def _outcome(self, panel: Panel, case: Case) -> tuple[Outcome, bool]:
        """Return what one replay gives, and whether the fitted judge had to decide."""
        before_secs, before_cost, before_calls = 0.0, 0.0, 0.0
        if panel.analyzer is not None:
            analysis = self.evidence.analyses[panel.analyzer][case.question]
            if analysis is not None:
                before_secs, before_cost, before_calls = analysis.secs, _known(analysis.cost), 1.0
            direct = self.goes_direct(panel, case.question)
            if direct is not None:
                answer = self._answers(direct, 1, case.question, case.turn)[0]
                if answer.key is not None:
                    cost = _sum(before_cost, answer.cost)
                    return Outcome(answer.score, before_secs + answer.secs, cost, before_calls + 1), False
        replayed = case.replayed
        score, more_secs, more_cost, more_calls, by_model = self._judged(panel, case)
        cost = _sum(before_cost + more_cost, *(case.answers[place].cost for place in replayed.started))
        calls = before_calls + len(replayed.started) + more_calls
        return Outcome(score, before_secs + replayed.secs + more_secs, cost, calls), by_model

    def _judged(self, panel: Panel, case: Case) -> tuple[float, float, float, float, bool]:
        """Quality, seconds, cost and calls of what follows the workers."""
        replayed, answers = case.replayed, case.answers
        if not replayed.candidates:
            return 0.0, 0.0, 0.0, 0.0, False
        if replayed.agreed is not None:
            return answers[replayed.agreed].score, 0.0, 0.0, 0.0, False
        secs, cost, calls, by_model = 0.0, 0.0, 0.0, False
        decisive = 0.0
        if len(replayed.candidates) == 1 or panel.judge is None:
            keys = [answers[place].key or "" for place in replayed.candidates]
            leader, _, _ = most_frequent(keys)
            score = answers[replayed.candidates[keys.index(leader)]].score
        else:
            judge, passes = panel.judge, panel.passes
            score, by_model = self.judges.quality(case.question, judge, case.shown, passes)
            secs = self.judges.secs(judge, passes, case.question * self._turns + case.turn)
            cost, calls = passes * _known(self.judges.cost(judge)), float(passes)
            decisive = self.judges.decisive(judge, passes) if panel.decisive else 0.0
        if panel.writer is not None:
            right, wrong = self._effects[panel.writer]
            wait, price = self._merge_times[panel.writer]
            written = score * right + (1 - score) * wrong
            score = decisive * score + (1 - decisive) * written
            share = 1 - decisive
            secs, cost, calls, by_model = secs + share * wait, cost + share * price, calls + share, True
        return score, secs, cost, calls, by_model

    def _replayed(self, seats: Seats, threshold: int | None, quorum: int | None) -> Iterator[Case]:
        refs = [variant.ref for variant, samples in seats.variants for _ in range(samples)]
        groups = [
            number if samples > 1 else -1 for number, (_, samples) in enumerate(seats.variants) for _ in range(samples)
        ]
        for question in range(len(self.evidence.ids)):
            for turn in range(self._turns):
                answers = [
                    answer
                    for variant, samples in seats.variants
                    for answer in self._answers(variant, samples, question, turn)
                ]
                yield Case(question, turn, refs, answers, replay(answers, groups, threshold, quorum))

    def _answers(self, variant: Variant, samples: int, question: int, turn: int) -> Sequence[StoredAnswer]:
        """Return the next `samples` stored answers of a variant; further ones are drawn from those
        again."""
        stored = self.evidence.answers[variant][question]
        if samples == 1:
            return (stored[turn % len(stored)],)
        place = (variant, samples, question, turn)
        if place not in self._drawn:
            start = turn % len(stored)
            taken = [*stored[start:], *stored[:start]][:samples]
            rng = Random(f"{self._seed} {variant.label} {question} {turn}")
            self._drawn[place] = taken + rng.choices(stored, k=samples - len(taken))
        return self._drawn[place]


def today(name: str, outcomes: Sequence[Outcome]) -> Scored:
    """Return a contestant of the evaluation as it ran."""
    costs = [outcome.cost for outcome in outcomes if outcome.cost is not None]
    count = len(outcomes)
    return Scored(
        None,
        name,
        [outcome.score for outcome in outcomes],
        [outcome.secs for outcome in outcomes],
        sum(costs) / count if len(costs) == count else None,
        sum(outcome.calls for outcome in outcomes) / count,
    )


def _effect(merges: Sequence[Merge], writer: str) -> tuple[float, float]:
    """Return how often what `writer` writes is right behind a right choice, and behind a wrong one.

    Each starts with one merge that changes nothing.
    """
    mine = [merge for merge in merges if merge.writer == writer]
    right = [merge.written for merge in mine if merge.chosen >= 0.5]
    wrong = [merge.written for merge in mine if merge.chosen < 0.5]
    return (sum(right) + 1) / (len(right) + 1), sum(wrong) / (len(wrong) + 1)


def _times(merges: Sequence[Merge], writer: str) -> tuple[float, float]:
    mine = [merge for merge in merges if merge.writer == writer]
    return sum(merge.secs for merge in mine) / len(mine), sum(_known(merge.cost) for merge in mine) / len(mine)


def _known(cost: float | None) -> float:
    """Return a cost; 0 where the price is unknown, since then the answers' are, too."""
    return cost or 0.0


def _sum(known: float, *costs: float | None) -> float | None:
    total = known
    for cost in costs:
        if cost is None:
            return None
        total += cost
    return total
