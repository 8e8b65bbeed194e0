"""Several verdicts on the same candidates made one (W6). Pure.

Each pass ranks the candidates; a candidate gets a point for each one it stands above and half a
point for each it stands beside (Borda's count). Averaged over orders that put every candidate early
as often as late, a judge's preference for a position cancels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random


@dataclass(frozen=True, slots=True)
class Ballot:
    """One verdict, by the candidates' own positions. `ranking` may leave candidates out: they stand
    below, side by side."""

    choice: int
    ranking: tuple[int, ...] = ()
    scores: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Count:
    """The outcome. `confidence` is the share of the ballots that chose the winner: what is missing
    to 1 is disagreement."""

    winner: int
    confidence: float
    points: tuple[float, ...]
    scores: dict[int, float]


def orders(candidates: int, passes: int, rng: Random) -> list[list[int]]:
    """Return the order in which each pass shows the candidates.

    One order is drawn, the next is its reverse, the one after is the first turned on by a share of
    its length, and so on; over all passes every candidate stands at every place about as often.
    """
    first = list(range(candidates))
    rng.shuffle(first)
    drawn: list[list[int]] = []
    turns = (passes + 1) // 2
    for number in range(passes):
        step = (number // 2) * candidates // turns
        turned = first[step:] + first[:step]
        drawn.append(turned[::-1] if number % 2 else turned)
    return drawn


def count(ballots: Sequence[Ballot], candidates: int) -> Count:
    """Return the winner by points; ties go by mean score, number of choices, then place."""
    points = [0.0] * candidates
    for ballot in ballots:
        for candidate, gained in enumerate(_points(ballot, candidates)):
            points[candidate] += gained
    scores = _means(ballots)
    chosen = [sum(ballot.choice == candidate for ballot in ballots) for candidate in range(candidates)]
    winner = max(
        range(candidates),
        key=lambda candidate: (points[candidate], scores.get(candidate, 0.0), chosen[candidate], -candidate),
    )
    return Count(winner, chosen[winner] / len(ballots), tuple(points), scores)


def _points(ballot: Ballot, candidates: int) -> list[float]:
    """Return one ballot's points: the choice first, its ranking, then by score, the rest equal."""
    order = [ballot.choice]
    order += [candidate for candidate in ballot.ranking if candidate not in order]
    if len(order) == 1:
        scored = (candidate for candidate in ballot.scores if candidate != ballot.choice)
        order += sorted(scored, key=lambda candidate: -ballot.scores[candidate])
    unranked = candidates - len(order)
    points = [(unranked - 1) / 2] * candidates
    for place, candidate in enumerate(order):
        points[candidate] = candidates - 1 - place
    return points


def _means(ballots: Sequence[Ballot]) -> dict[int, float]:
    totals: dict[int, list[float]] = {}
    for ballot in ballots:
        for candidate, score in ballot.scores.items():
            totals.setdefault(candidate, []).append(score)
    return {candidate: sum(given) / len(given) for candidate, given in sorted(totals.items())}
