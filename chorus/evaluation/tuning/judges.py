"""What is known of each judge: its verdicts, a model fitted to them, its times and costs. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from chorus.evaluation.tuning.evidence import Shown, Verdict
from chorus.evaluation.tuning.judge_model import JudgeModel, chances, fit
from chorus.workflow.judging.borda import Ballot, count

Seen = tuple[int, str, tuple[str, ...]]
"""A question, a judge, and the texts of its candidates, sorted."""


class Judges:
    """The judges that gave at least one verdict."""

    def __init__(self, verdicts: Sequence[Verdict]) -> None:
        by_judge: dict[str, list[Verdict]] = {}
        self._stored: dict[Seen, list[Verdict]] = {}
        for verdict in verdicts:
            by_judge.setdefault(verdict.judge, []).append(verdict)
            self._stored.setdefault(seen(verdict.question, verdict.judge, verdict.shown), []).append(verdict)
        self.models: dict[str, JudgeModel] = {judge: fit(given) for judge, given in by_judge.items()}
        self._given = by_judge
        self._expected: dict[tuple[int, str, tuple[str, ...], bool], float] = {}
        self._decisive = {judge: sum(v.decisive for v in given) / len(given) for judge, given in by_judge.items()}
        self._cost = {judge: _mean_cost(given) for judge, given in by_judge.items()}

    def replace_model(self, judge: str, model: JudgeModel) -> None:
        """Let `judge` follow another model."""
        self.models[judge] = model
        self._expected.clear()

    def quality(self, question: int, judge: str, candidates: Sequence[Shown], passes: int) -> tuple[float, bool]:
        """Return the score that the choice of `judge` has on average, and whether the model had to
        say so: stored passes over the same candidates come first."""
        scores = [candidate.score for candidate in candidates]
        if min(scores) == max(scores):
            return scores[0], False
        stored = self.stored(question, judge, candidates)
        if len(stored) >= passes:
            if passes == 1:
                return sum(v.shown[v.choice].score for v in stored) / len(stored), False
            return _count(stored[:passes]), False
        key = (question, judge, tuple(candidate.text for candidate in candidates), passes > 1)
        if key not in self._expected:
            shares = chances(self.models[judge], judge, candidates, passes)
            known = {candidate.text: candidate.score for candidate in candidates}
            self._expected[key] = sum(share * known[text] for text, share in shares.items())
        return self._expected[key], True

    def stored(self, question: int, judge: str, candidates: Sequence[Shown]) -> Sequence[Verdict]:
        """Return the stored passes of `judge` over these candidates, in whatever order."""
        return self._stored.get(seen(question, judge, candidates), ())

    def secs(self, judge: str, passes: int, place: int) -> float:
        """Return how long the judge takes: the longest of so many stored passes, which run side by
        side; `place` distinguishes questions."""
        given = self._given[judge]
        return max(given[(place * passes + number) % len(given)].secs for number in range(passes))

    def cost(self, judge: str) -> float | None:
        """Return the mean cost of a pass; None where a price is unknown."""
        return self._cost[judge]

    def decisive(self, judge: str, passes: int) -> float:
        """Return how often all passes are decisive."""
        return self._decisive[judge] ** passes


def seen(question: int, judge: str, candidates: Sequence[Shown]) -> Seen:
    """Return what makes two verdicts be about the same thing."""
    return question, judge, tuple(sorted(candidate.text for candidate in candidates))


def _count(verdicts: Sequence[Verdict]) -> float:
    """Return the score of the winner by points, as the selector counts them."""
    candidates = sorted(verdicts[0].shown, key=_sorting)
    ballots = []
    for verdict in verdicts:
        order = sorted(range(len(verdict.shown)), key=lambda place: _sorting(verdict.shown[place]))
        own = {place: number for number, place in enumerate(order)}
        ranking = tuple(own[place] for place in verdict.ranking)
        scores = {own[place]: score for place, score in verdict.scores.items()}
        ballots.append(Ballot(own[verdict.choice], ranking, scores))
    return candidates[count(ballots, len(candidates)).winner].score


def _sorting(candidate: Shown) -> tuple[str, str]:
    return candidate.text, candidate.ref


def _mean_cost(verdicts: Sequence[Verdict]) -> float | None:
    costs = [verdict.cost for verdict in verdicts if verdict.cost is not None]
    return sum(costs) / len(costs) if len(costs) == len(verdicts) else None
