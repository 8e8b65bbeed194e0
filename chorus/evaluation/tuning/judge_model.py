"""A judge as a choice model, fitted to its stored verdicts. Pure.

The conditional logit (McFadden, 1974): the odds of a candidate are exp(skill × score + first ×
is-shown-first + last × is-shown-last + length × log length + own × is-of-its-own-model). Candidates
of the same text are one alternative: a judge that likes one of them likes the other. Small
penalties keep the effects finite where verdicts are few or all agree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chorus.evaluation.newton import Matrix, Vector, maximum, solved, unit
from chorus.evaluation.tuning.evidence import Shown, Verdict

_FEATURES: Final = ("skill", "first", "last", "length", "own")
_PENALTIES: Final = (0.1, 0.5, 0.5, 0.5, 0.5)
Row = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class JudgeModel:
    """The fitted effects of one judge, in the order skill, first, last, length, own model;
    `covariance` is of the same order. `verdicts` is how many it was fitted to."""

    effects: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    verdicts: int

    def with_effects(self, effects: Sequence[float]) -> JudgeModel:
        """Return the same judge with other effects."""
        return JudgeModel(tuple(effects), self.covariance, self.verdicts)


def fit(verdicts: Sequence[Verdict]) -> JudgeModel:
    """Return the model of the judge that gave these `verdicts`: penalised maximum likelihood, by
    Newton's method."""
    observed = [
        (_features(verdict.judge, verdict.shown), _texts(verdict.shown).index(verdict.shown[verdict.choice].text))
        for verdict in verdicts
        if len(_texts(verdict.shown)) > 1
    ]
    size = len(_FEATURES)

    def derivatives(effects: Vector) -> tuple[Vector, Matrix]:
        slope = [-penalty * effect for penalty, effect in zip(_PENALTIES, effects, strict=True)]
        information = [[_PENALTIES[i] if i == j else 0.0 for j in range(size)] for i in range(size)]
        for rows, choice in observed:
            shares = _softmax([sum(e * x for e, x in zip(effects, row, strict=True)) for row in rows])
            mean = [sum(s * row[i] for s, row in zip(shares, rows, strict=True)) for i in range(size)]
            for i in range(size):
                slope[i] += rows[choice][i] - mean[i]
                for j in range(size):
                    information[i][j] += sum(
                        s * (row[i] - mean[i]) * (row[j] - mean[j]) for s, row in zip(shares, rows, strict=True)
                    )
        return slope, information

    effects = maximum(derivatives, unit(size, 0))
    assert effects is not None  # the penalties make the information definite
    _, information = derivatives(effects)
    covariance = tuple(tuple(solved(information, unit(size, place)) or ()) for place in range(size))
    return JudgeModel(tuple(effects), covariance, len(observed))


def chances(model: JudgeModel, judge: str, candidates: Sequence[Shown], passes: int) -> dict[str, float]:
    """Return how likely each text wins, over all orders. Two passes or more show everybody early as
    often as late, so that the effects of the place cancel; the judge's noise is counted as that of
    one pass, since a judge mostly repeats itself."""
    texts = _texts(candidates)
    skill, first, last, length, own = model.effects
    base = [skill * row[0] + length * row[3] + own * row[4] for row in _features(judge, candidates)]
    if passes > 1 or len(texts) == 1:
        return dict(zip(texts, _softmax(base), strict=True))
    count = len(candidates)
    sizes = [sum(candidate.text == text for candidate in candidates) for text in texts]
    shares = [0.0] * len(texts)
    for one, size in enumerate(sizes):
        for other, other_size in enumerate(sizes):
            pairs = size * (other_size - (one == other)) / (count * (count - 1))
            if pairs:
                odds = list(base)
                odds[one] += first
                odds[other] += last
                for place, share in enumerate(_softmax(odds)):
                    shares[place] += pairs * share
    return dict(zip(texts, shares, strict=True))


def _texts(shown: Sequence[Shown]) -> list[str]:
    return list(dict.fromkeys(candidate.text for candidate in shown))


def _features(judge: str, shown: Sequence[Shown]) -> list[Row]:
    """Return a row for each text, in the order in which it first stands."""
    texts = _texts(shown)
    lengths = [math.log1p(len(text)) for text in texts]
    mean = sum(lengths) / len(lengths)
    return [
        (
            next(candidate.score for candidate in shown if candidate.text == text),
            float(shown[0].text == text),
            float(shown[-1].text == text),
            length - mean,
            float(any(candidate.text == text and candidate.ref == judge for candidate in shown)),
        )
        for text, length in zip(texts, lengths, strict=True)
    ]


def _softmax(values: Sequence[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    total = sum(powers)
    return [power / total for power in powers]
