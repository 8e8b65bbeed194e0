"""What a learned route loses until it knows the workers, and after one of them changes
(`route = "learned"`).

    python -m benchmarks.learned_routes --seeds 20 --svg docs/images/learned-route.svg

Six workers of known skill at two kinds of tasks, of which pairs answer inside a budget, and a judge
who is sometimes wrong and likes one worker better. A person says of three answers in ten whether
they are right, and of twenty of those once the opposite. Half of the errors are shared: what is
hard for one is hard for all. In the middle the best worker at code becomes a bad one and another
becomes the best. Deciding and counting is what the server runs. Exit code 1 when a claim does not
hold:
- until the change the route loses at most 30 % of the answers that random pairs lose, both beside
  the best pair for each kind of task;
- over the whole time, changes included, it gives more right answers than the best fixed pair;
- after the change it finds the new best worker: in the last quarter it loses at most 30 % of what
  random pairs lose, and less than a route that forgets nothing;
- no pair is outside the budget.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Final

from chorus.workflow.learned_route import NO_COUNTS, Counts, Known, Learned, Option, discounted, pick, posterior

from .learned_routes_plot import plot
from .simulated import verdict

WORKERS: Final = ("a", "b", "c", "d", "e", "f")
TASKS: Final = ("code", "prose")
COSTS: Final = (4.0, 3.0, 2.0, 2.0, 1.0, 1.0)
BUDGET: Final = 6.0
BEFORE: Final = {"code": (0.90, 0.75, 0.60, 0.55, 0.50, 0.40), "prose": (0.60, 0.55, 0.90, 0.70, 0.50, 0.65)}
AFTER: Final = {"code": (0.45, 0.75, 0.60, 0.92, 0.50, 0.40), "prose": BEFORE["prose"]}
SHARED: Final = 0.5
"""How likely the errors of a question are shared."""
JUDGE: Final = 0.8
"""How often the judge finds the right one of two answers."""
LIKED: Final = ("f", 0.7)
"""The worker that the judge prefers where both answers are as good."""
FEEDBACK, SLIPS = 0.3, 0.05
REQUESTS: Final = 12_000
A_DAY: Final = 300
_REFRESH: Final = 20
"""Requests for which a process knows what it has read."""

Pair = tuple[int, int]
Skills = Mapping[str, Sequence[float]]


def right(pair: Pair, skills: Sequence[float]) -> float:
    """Return how likely the chosen answer of `pair` is right."""
    one, other = (skills[place] for place in pair)
    both = SHARED * min(one, other) + (1 - SHARED) * one * other
    either = SHARED * abs(one - other) + (1 - SHARED) * (one * (1 - other) + other * (1 - one))
    return both + JUDGE * either


PAIRS: Final[Sequence[Pair]] = [pair for pair in combinations(range(6), 2) if sum(COSTS[at] for at in pair) <= BUDGET]


def skills_at(number: int, requests: int) -> Skills:
    """Return the skills at request `number`."""
    return BEFORE if number < requests // 2 else AFTER


@dataclass
class Route:
    """A learned route with its counts, as the server keeps them."""

    settings: Learned
    feedback: float = FEEDBACK
    """How often a person says something."""
    sums: dict[tuple[str, str, int], Counts] = field(default_factory=lambda: defaultdict(Counts))
    known: Known = field(default_factory=dict)
    outside: int = 0

    def choose(self, task: str, number: int, rng: Random) -> Pair:
        now = number / A_DAY * 86_400
        if number % _REFRESH == 0:
            rows = ((kind, worker, bucket, counts) for (kind, worker, bucket), counts in self.sums.items())
            self.known = discounted(rows, self.settings, now)
        options = [Option(name, (name,), posterior(self.known.get((task, name), NO_COUNTS))) for name in WORKERS]
        picks = pick(options, self.settings, rng, lambda places: sum(COSTS[at] for at in places) <= BUDGET)
        chosen = [place for place, one in enumerate(picks) if one.is_picked]
        self.outside += sum(COSTS[place] for place in chosen) > BUDGET or not chosen
        return chosen[0], chosen[-1]

    def learn(self, task: str, number: int, pair: Pair, skills: Sequence[float], rng: Random) -> None:
        """Draw what came of the request, and count it."""
        bucket = self.settings.bucket(number / A_DAY * 86_400)
        shared = rng.random() if rng.random() < SHARED else None
        is_right = {at: (shared if shared is not None else rng.random()) < skills[at] for at in set(pair)}
        winner = pair[0]
        if pair[0] != pair[1]:
            winner = _judged(pair, is_right, rng)
            for at in pair:
                self._add(task, at, bucket, Counts(verdicts=1.0, won=float(at == winner)))
        if rng.random() < self.feedback:
            liked = is_right[winner] != (rng.random() < SLIPS)
            self._add(task, winner, bucket, Counts(feedback=1.0, liked=float(liked)))

    def _add(self, task: str, place: int, bucket: int, counts: Counts) -> None:
        key = (task, WORKERS[place], bucket)
        self.sums[key] = self.sums[key].plus(counts)


def _judged(pair: Pair, is_right: Mapping[int, bool], rng: Random) -> int:
    one, other = pair
    if is_right[one] != is_right[other]:
        better, worse = (one, other) if is_right[one] else (other, one)
        return better if rng.random() < JUDGE else worse
    favourite = WORKERS.index(LIKED[0])
    if favourite in pair and rng.random() < LIKED[1]:
        return favourite
    return rng.choice([at for at in pair if at != favourite] or [one])


@dataclass
class Curves:
    """Right answers to be expected after each request, beside the best pair for each task and
    time.
    """

    lost: list[float]
    outside: int


def lived(choose: Callable[[str, int, Random], Pair], seed: int, requests: int, route: Route | None = None) -> Curves:
    """Return what is lost by `choose`, and teach `route` meanwhile."""
    tasks, rng, lost, total = Random(f"tasks {seed}"), Random(f"route {seed}"), [], 0.0
    for number in range(requests):
        task = tasks.choice(TASKS)
        skills = skills_at(number, requests)[task]
        pair = choose(task, number, rng)
        chance = right(pair, skills) if pair[0] != pair[1] else skills[pair[0]]
        total += max(right(one, skills) for one in PAIRS) - chance
        lost.append(total)
        if route is not None:
            route.learn(task, number, pair, skills, rng)
    return Curves(lost, route.outside if route is not None else 0)


def best_fixed(requests: int) -> Pair:
    """Return the pair that is best for all requests, as one knows afterwards."""
    return max(PAIRS, key=lambda pair: sum(right(pair, skills[task]) for skills in (BEFORE, AFTER) for task in TASKS))


def curves(seeds: int, requests: int = REQUESTS) -> dict[str, Curves]:
    """Return the mean of what each way of choosing loses."""
    fixed = best_fixed(requests)
    ways: dict[str, Callable[[int], Curves]] = {
        "random pairs": lambda seed: lived(lambda task, number, rng: rng.choice(PAIRS), seed, requests),
        "best fixed pair": lambda seed: lived(lambda task, number, rng: fixed, seed, requests),
        "forgets nothing": lambda seed: _learned(Learned(half_life_days=365.0), seed, requests),
        "verdicts alone": lambda seed: _learned(_settings(requests), seed, requests, feedback=0.0),
        "learned route": lambda seed: _learned(_settings(requests), seed, requests),
    }
    return {name: _mean([way(seed) for seed in range(seeds)]) for name, way in ways.items()}


def _settings(requests: int) -> Learned:
    """A half-life of a fourteenth of the time."""
    return Learned(half_life_days=requests / A_DAY / 14)


def _learned(settings: Learned, seed: int, requests: int, feedback: float = FEEDBACK) -> Curves:
    route = Route(settings, feedback)
    return lived(route.choose, seed, requests, route)


def _mean(each: Sequence[Curves]) -> Curves:
    lost = [sum(values) / len(each) for values in zip(*(one.lost for one in each), strict=True)]
    return Curves(lost, sum(one.outside for one in each))


def claims(found: Mapping[str, Curves]) -> bool:
    """Print what was found, and return whether every claim holds."""
    learned, chance, fixed, never = (
        found[name] for name in ("learned route", "random pairs", "best fixed pair", "forgets nothing")
    )
    half, last = len(learned.lost) // 2, len(learned.lost) * 3 // 4

    def ended(curve: Curves) -> float:
        return curve.lost[-1] - curve.lost[last]

    for name, curve in found.items():
        print(f"{name:<16} lost {curve.lost[half - 1]:6.0f} until the change, {curve.lost[-1]:6.0f} in all")
    share = learned.lost[half - 1] / chance.lost[half - 1]
    after = ended(learned) / ended(chance)
    return all(
        [
            verdict(f"until the change {share:.2f} of what random pairs lose (at most 0.30)", share <= 0.30),
            verdict("more right answers than the best fixed pair", learned.lost[-1] < fixed.lost[-1]),
            verdict(f"in the last quarter {after:.2f} of what random pairs lose (at most 0.30)", after <= 0.30),
            verdict("in the last quarter less than one that forgets nothing", ended(learned) < ended(never)),
            verdict("no pair is outside the budget", learned.outside == never.outside == 0),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--svg", type=Path)
    args = parser.parse_args()
    found = curves(args.seeds, args.requests)
    if args.svg is not None:
        args.svg.write_text(plot({name: curve.lost for name, curve in found.items()}, "best fixed pair"), "utf-8")
    return 0 if claims(found) else 1


if __name__ == "__main__":
    sys.exit(main())
