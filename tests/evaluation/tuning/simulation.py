"""A world whose truth is known: workers of known skill for each task type whose errors go together,
and a judge with planted biases. An evaluation of it stores what `chorus eval` would store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from chorus.evaluation.tuning.evidence import Evidence, Outcome, Shown, StoredAnswer, Variant, Verdict
from chorus.evaluation.tuning.judges import Judges
from chorus.evaluation.tuning.race import Comparison
from chorus.workflow.judging import borda
from chorus.workflow.judging.borda import Ballot

RIGHT = "the right answer"
WRONG = ("a trap", "a slip of the pen", "something else that is quite wrong")


@dataclass(frozen=True)
class Worker:
    """`skills` has for each task type how far above the mean difficulty it stands."""

    name: str
    skills: tuple[float, ...]
    secs: float
    cost: float


@dataclass(frozen=True)
class Judge:
    """Its score of a candidate: `skill` where it is right, `first` where it is shown first,
    `length` for each character more, `own` for its own model, and noise, most of which lasts.
    """

    name: str = "judge"
    skill: float = 2.5
    first: float = 0.0
    length: float = 0.0
    own: float = 0.0

    def ranking(self, key: str, shown: Sequence[Shown], rng: Random) -> tuple[int, ...]:
        def liking(place: int) -> float:
            one = shown[place]
            lasting = Random(f"{self.name} {key} {one.text}").gauss(0.0, 0.75**0.5)
            return (
                self.skill * one.score
                + self.first * (place == 0)
                + self.length * len(one.text)
                + self.own * (one.ref == self.name)
                + lasting
                + rng.gauss(0.0, 0.5)
            )

        likings = [liking(place) for place in range(len(shown))]
        return tuple(sorted(range(len(shown)), key=lambda place: -likings[place]))


@dataclass(frozen=True)
class World:
    """`shared` is how much of a question's difficulty all workers feel."""

    workers: tuple[Worker, ...]
    judge: Judge = field(default_factory=Judge)
    shared: float = 0.6
    types: int = 3

    def evidence(self, questions: int, seed: int, *, verdicts: bool = True) -> Evidence:
        """What an evaluation of all workers and of one workflow of them all stores."""
        rng = Random(f"world {seed}")
        answers: dict[Variant, list[list[StoredAnswer]]] = {Variant(worker.name): [] for worker in self.workers}
        given: list[Verdict] = []
        today: list[Outcome] = []
        for number in range(questions):
            kind, hard = rng.randrange(self.types), rng.gauss(0.0, 1.0)
            shown = []
            for worker in self.workers:
                answer = self._answer(worker, kind, hard, rng)
                answers[Variant(worker.name)].append([answer])
                shown.append(Shown(worker.name, answer.text, answer.score))
            rng.shuffle(shown)
            ranking = self.judge.ranking(f"{seed} {number}", shown, rng)
            given.append(_verdict(number, self.judge.name, tuple(shown), ranking))
            secs = max(rows[-1][0].secs for rows in answers.values()) + 1.0
            cost = sum(worker.cost for worker in self.workers) + 0.002
            today.append(Outcome(shown[ranking[0]].score, secs, cost, len(self.workers) + 1))
        ids = [f"{seed} {number}" for number in range(questions)]
        return Evidence(ids, answers, given if verdicts else given[:30], {"chorus": today})

    def verdict(self, evidence: Evidence, wanted: Comparison, rng: Random) -> Verdict:
        """One new call of the judge."""
        ranking = self.judge.ranking(evidence.ids[wanted.question], wanted.shown, rng)
        return _verdict(wanted.question, wanted.judge, wanted.shown, ranking)

    def _answer(self, worker: Worker, kind: int, hard: float, rng: Random) -> StoredAnswer:
        felt = self.shared**0.5 * hard + (1 - self.shared) ** 0.5 * rng.gauss(0.0, 1.0)
        right = worker.skills[kind] > felt
        text = RIGHT if right else WRONG[0] if rng.random() < 0.4 else rng.choice(WRONG)
        secs = worker.secs * rng.lognormvariate(0.0, 0.3)
        return StoredAnswer(text, text, float(right), secs, worker.cost)


class TrueJudges(Judges):
    """The judge itself in the place of its model: what a panel would really give."""

    def __init__(self, world: World, evidence: Evidence) -> None:
        super().__init__(evidence.verdicts)
        self._world = world
        self._ids = evidence.ids

    def quality(self, question: int, judge: str, candidates: Sequence[Shown], passes: int) -> tuple[float, bool]:
        key = self._ids[question]
        rng = Random(f"{key} {passes} {len(candidates)}")
        drawn = borda.orders(len(candidates), passes, rng)
        ballots = []
        for order in drawn:
            ranking = self._world.judge.ranking(key, [candidates[place] for place in order], rng)
            ballots.append(Ballot(order[ranking[0]], tuple(order[place] for place in ranking)))
        return candidates[borda.count(ballots, len(candidates)).winner].score, False


def _verdict(question: int, judge: str, shown: tuple[Shown, ...], ranking: tuple[int, ...]) -> Verdict:
    return Verdict(question, judge, shown, ranking[0], ranking, secs=1.0, cost=0.002)
