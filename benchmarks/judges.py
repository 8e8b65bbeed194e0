"""Judges of planted biases, on pairs of answers of known grade: whether the report finds what was
planted.

    python -m benchmarks.judges --repetitions 100 --pairs 100

Each question has three answers, right or wrong, of some length, by models of two families. A
judge's score of an answer is the sum of what being right, a doubling of the length, its own family
and the first place are worth to it, and of noise: half of it of the answer, so that asked again a
judge mostly repeats itself. Nothing is called; the judgements are what `chorus eval --judges`
stores. Exit code 1 when an interval holds the planted effect in fewer than 93 of 100 repetitions.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass
from random import Random

from chorus.evaluation.dataset import Question
from chorus.evaluation.judges.asking import Judgement
from chorus.evaluation.judges.pairs import Pair, draw
from chorus.evaluation.judges.summary import Bias, Judges, summarise_judges
from chorus.evaluation.results import Result
from chorus.evaluation.statistics import MeanInterval
from chorus.types import Message

from .simulated import verdict

MODELS = {"judge": "own", "mine": "own", "theirs": "other", "third": "other"}
"""The models and their families; `judge` answers nothing."""


@dataclass(frozen=True)
class Planted:
    """What moves a judge, in points of its scores.

    `noise` is the standard deviation of one score.
    """

    quality: float = 2.0
    position: float = 0.0
    length: float = 0.0
    own: float = 0.0
    noise: float = 1.0

    @property
    def twice_as_long(self) -> float:
        """How often it prefers an answer that is twice as long, all else equal and no place worth
        anything.
        """
        return 0.5 * (1 + math.erf(self.length / (self.noise * math.sqrt(2)) / math.sqrt(2)))


def stored(questions: int, seed: int) -> tuple[list[Question], dict[tuple[str, str], Result]]:
    """Questions and answers: a right one says 4, a wrong one 5. Right ones are a little longer."""
    rng = Random(f"answers {seed}")
    asked, results = [], {}
    for number in range(questions):
        question = Question(str(number), (Message("user", "2 + 2"),), "numeric", 4)
        asked.append(question)
        for who in list(MODELS)[1:]:
            right = rng.random() < 0.6
            length = round(60 * 2 ** (rng.gauss(0.0, 1.0) + 0.3 * right))
            text = f"{who} {'x' * length} {4 if right else 5}"
            results[question.id, who] = Result(question.id, who, text, float(right))
    return asked, results


def judgement(pair: Pair, by: Planted, seed: int) -> Judgement:
    """Two verdicts of a judge on `pair`, scored to a tenth."""

    def merit(place: int) -> float:
        answer = (pair.one, pair.other)[place]
        lasting = Random(f"{seed} {pair.question.id} {answer.text}").gauss(0.0, by.noise * 0.75**0.5)
        own = sum(MODELS[author] == "own" for author in answer.authors) / len(answer.authors)
        return (
            5
            + by.quality * (answer.grade or 0.0)
            + by.length * math.log2(len(answer.text) / 60)
            + by.own * own
            + lasting
        )

    preferred, scores = [], []
    for turn in (0, 1):
        rng = Random(f"{seed} {pair.key} {turn}")
        given = [merit(place) + by.position * (place == turn) + rng.gauss(0.0, by.noise * 0.5) for place in (0, 1)]
        preferred.append(0 if given[0] > given[1] else 1)
        scores.append((round(given[0], 1), round(given[1], 1)))
    return Judgement(
        "judge", pair.key, pair.question.id, (preferred[0], preferred[1]), (scores[0], scores[1]), tokens=40
    )


def judged(by: Planted, *, questions: int, pairs: int, seed: int) -> Judges:
    """The report on one judge."""
    asked, results = stored(questions, seed)
    drawn = draw(asked, list(MODELS)[1:], results, pairs, seed)
    said = {("judge", pair.key): judgement(pair, by, seed) for pair in drawn}
    return summarise_judges(["judge"], drawn, said, MODELS, seed)


PLANTED = {
    "fair": Planted(),
    "position": Planted(position=1.5),
    "length": Planted(length=0.6),
    "own family": Planted(own=0.8),
    "all": Planted(position=1.0, length=0.4, own=0.6),
}


def covered(by: Planted, repetitions: int, *, questions: int, pairs: int) -> dict[str, int]:
    """How often each interval holds what was planted."""
    counts = dict.fromkeys(("position", "length", "own", "twice as long"), 0)
    for seed in range(repetitions):
        [row] = judged(by, questions=questions, pairs=pairs, seed=seed).rows
        for name, (estimate, truth) in _truths(row, by).items():
            counts[name] += estimate.low <= truth <= estimate.high
    return counts


def _truths(row: Bias, by: Planted) -> dict[str, tuple[MeanInterval, float]]:
    return {
        "position": (row.position, by.position),
        "length": (row.length, by.length),
        "own": (row.own, by.own),
        "twice as long": (row.twice_as_long, by.twice_as_long),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=100)
    options = parser.parse_args()
    holds = True
    for name, by in PLANTED.items():
        counts = covered(by, options.repetitions, questions=options.questions, pairs=options.pairs)
        said = ", ".join(f"{effect} {count}" for effect, count in counts.items())
        enough = min(counts.values()) >= 0.93 * options.repetitions
        holds &= verdict(f"{name}: of {options.repetitions} intervals so many hold the planted effect: {said}", enough)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
