"""A judge's liking for length, taken out of its scores. Pure.

What is taken out is the judge's fitted effect, as the length-controlled win rate of AlpacaEval does
(Dubois et al., "Length-Controlled AlpacaEval: A Simple Way to Debias Automatic Evaluators", arXiv
2404.04475): a judgement is modelled as a sum of terms, and the term of length is left out. Here a
score is the sum, and its term of length is the effect times the doublings of the length.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_MOST_DOUBLINGS: Final = 3.0
"""A candidate counts as at most eight times as long, or as short, as the middle one.

Judges have been measured on such lengths, and a word beside a page must not win by its shortness
alone.
"""


@dataclass(frozen=True, slots=True)
class LengthControl:
    """What was done to the scores of one verdict. `effect` is in points of score for each doubling
    of the length. `corrections` were added to the scores, by position; there are none where the
    judge did not score every candidate. `judged` is the position that the judge itself chose."""

    effect: float
    corrections: Mapping[int, float]
    judged: int


def doublings(lengths: Sequence[int]) -> list[float]:
    """Return how many times each of `lengths` doubles their geometric mean, from -3 to 3.

    It is negative where the length is shorter. An empty text counts as one character.
    """
    logs = [math.log2(max(length, 1)) for length in lengths]
    middle = sum(logs) / len(logs)
    return [min(max(log - middle, -_MOST_DOUBLINGS), _MOST_DOUBLINGS) for log in logs]


def corrections(lengths: Sequence[int], effect: float) -> dict[int, float]:
    """Return what is added to the score of each candidate, in points to three digits. `lengths` are
    in characters, `effect` in points for each doubling."""
    return {position: round(-effect * times, 3) + 0.0 for position, times in enumerate(doublings(lengths))}


def control(
    choice: int, ranking: Sequence[int], scores: Mapping[int, float], lengths: Sequence[int], effect: float
) -> tuple[tuple[int, ...], dict[int, float], LengthControl]:
    """Return the ranking, the scores and the changes of a verdict that is corrected by `effect`.

    The ranking has the best first; candidates of equal scores stand as the judge ranked them.

    A verdict that leaves out the score of a candidate is returned as it is: a corrected score and
    an order without scores cannot be compared.
    """
    positions = range(len(lengths))
    if any(position not in scores for position in positions):
        return tuple(ranking), dict(scores), LengthControl(effect, {}, choice)
    added = corrections(lengths, effect)
    corrected = {position: round(scores[position] + added[position], 3) for position in positions}
    places = {candidate: place for place, candidate in enumerate(ranking)}

    def standing(position: int) -> tuple[float, bool, int]:
        return -corrected[position], position != choice, places.get(position, len(places))

    return tuple(sorted(positions, key=standing)), corrected, LengthControl(effect, added, choice)
