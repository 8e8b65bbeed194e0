"""Which workers of a workflow answer a request, by what came of earlier ones (`route = "learned"`).

Thompson sampling: a worker's success rate is believed to be Beta(alpha, beta); a rate is drawn for
each worker, and those with the highest draws answer (Thompson, Biometrika 1933; for several places
at once Komiyama et al., ICML 2015). Pure: counts, costs and chance are given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from random import Random
from typing import Final

from chorus.events import Pick, PickReason

HALF_LIVES: Final = 8
"""An outcome that is older than so many half-lives counts less than 0.4 % and is not read."""
BUCKETS: Final = 8
"""Outcomes of an eighth of a half-life are counted together."""
MOST_TASK_TYPES: Final = 32
"""Task types that one workflow distinguishes; more are `OTHER`, since analyzers write anything."""
ANY: Final = "any"
"""The task type where no analyzer is."""
OTHER: Final = "other"
_VERDICTS_MOST: Final = 50.0
"""Verdicts on a worker count as so many outcomes at most, so that people can overrule the judge."""
_FEEDBACK_HALVES: Final = 10.0
"""So much feedback on a worker halves what its verdicts count."""
_TASK_TYPE_CHARS: Final = 40
_VERDICT_WEIGHT: Final = 0.25
"""What a verdict of the selector counts, where the feedback of a person counts 1: judges are
biased, and a verdict comes with every request, a feedback with few.
"""


@dataclass(frozen=True, slots=True)
class Learned:
    """The settings of a learned route. `workers` are picked for a request; with the probability
    `explore` one of them is picked evenly among all; what an outcome counts halves in
    `half_life_days`."""

    workers: int = 2
    explore: float = 0.1
    half_life_days: float = 14.0

    @property
    def half_life_secs(self) -> float:
        """The half-life in seconds."""
        return self.half_life_days * 86_400

    def bucket(self, at: float) -> int:
        """Return the beginning of the interval that `at` is counted in, in seconds since 1970."""
        width = self.half_life_secs / BUCKETS
        return int(at // width * width)

    def oldest(self, now: float) -> int:
        """Return the beginning of the oldest bucket that still counts."""
        return self.bucket(now - HALF_LIVES * self.half_life_secs)

    def weight(self, bucket: int, now: float) -> float:
        """Return what an outcome of `bucket` counts now: all of it until the bucket is over.

        Sums stay valid when the half-life changes, since they are discounted when they are read.
        """
        over = bucket + self.half_life_secs / BUCKETS
        return float(min(1.0, 0.5 ** ((now - over) / self.half_life_secs)))


@dataclass(frozen=True, slots=True)
class Counts:
    """What is known of a worker for one task type.

    `feedback` with the sum of its scores from 0 to 1 (`liked`), `verdicts` with those it has `won`,
    and `answers` with their `tokens`.
    """

    feedback: float = 0.0
    liked: float = 0.0
    verdicts: float = 0.0
    won: float = 0.0
    answers: float = 0.0
    tokens: float = 0.0

    def plus(self, other: Counts, weight: float = 1.0) -> Counts:
        """Return the sum with `other`, which counts `weight`."""
        return Counts(*(getattr(self, f.name) + weight * getattr(other, f.name) for f in fields(self)))


Known = Mapping[tuple[str, str], Counts]
"""By task type and worker."""
NO_COUNTS: Final = Counts()


@dataclass(frozen=True, slots=True)
class Posterior:
    """What is believed of a success rate: Beta(`alpha`, `beta`)."""

    alpha: float
    beta: float

    @property
    def mean(self) -> float:
        """The mean of the distribution."""
        return self.alpha / (self.alpha + self.beta)


def posterior(counts: Counts) -> Posterior:
    """Return what `counts` say of a worker, from an even prior. Feedback comes first: verdicts are
    discounted, bounded, and fade as feedback comes in."""
    verdicts = min(counts.verdicts * _VERDICT_WEIGHT, _VERDICTS_MOST)
    verdicts *= _FEEDBACK_HALVES / (_FEEDBACK_HALVES + max(counts.feedback, 0.0))
    won = verdicts * _share(counts.won, counts.verdicts)
    feedback = max(counts.feedback, 0.0)
    liked = feedback * _share(counts.liked, counts.feedback)
    return Posterior(1.0 + liked + won, 1.0 + feedback - liked + verdicts - won)


def _share(part: float, whole: float) -> float:
    return min(max(part / whole, 0.0), 1.0) if whole > 0 else 0.0


def discounted(
    rows: Iterable[tuple[str, str, int, Counts]], settings: Learned, now: float
) -> dict[tuple[str, str], Counts]:
    """Return the sums of `rows` (task type, worker, bucket, counts) as they count now."""
    known: dict[tuple[str, str], Counts] = {}
    for task_type, worker, bucket, counts in rows:
        key = (task_type, worker)
        known[key] = known.get(key, NO_COUNTS).plus(counts, settings.weight(bucket, now))
    return known


def task_type_of(said: str | None, known: Known) -> str:
    """Return the task type of an analyzer's words `said`; None: there is no analyzer."""
    if said is None:
        return ANY
    name = "_".join(said.lower().split())[:_TASK_TYPE_CHARS] or OTHER
    types = {task_type for task_type, _ in known}
    return name if name in types or len(types) < MOST_TASK_TYPES else OTHER


@dataclass(frozen=True, slots=True)
class Option:
    """What may be picked: a worker, or all samples of one (`members`)."""

    worker: str
    members: tuple[str, ...]
    posterior: Posterior


def pick(
    options: Sequence[Option],
    settings: Learned,
    rng: Random,
    fits: Callable[[Sequence[int]], bool] = lambda positions: True,
    cost: Callable[[int], float] = lambda position: 0.0,
) -> list[Pick]:
    """Return what is decided of each of `options`, in their order.

    `fits` says whether those at some positions together stay inside the budget. Where none does
    alone, the one of least `cost` is picked: without a worker there is no answer. Each option that
    fits alone is picked with a probability of at least `settings.explore` / their number.
    """
    draws = [rng.betavariate(option.posterior.alpha, option.posterior.beta) for option in options]
    reasons: list[PickReason] = ["lower_draw"] * len(options)
    picked: list[int] = []
    affordable = [position for position in range(len(options)) if fits([position])]
    for position in set(range(len(options))) - {*affordable}:
        reasons[position] = "budget"
    if not affordable:
        cheapest = min(range(len(options)), key=lambda position: (cost(position), -draws[position]))
        picked, reasons[cheapest] = [cheapest], "cheapest"
    elif rng.random() < settings.explore:
        explored = rng.choice(affordable)
        picked, reasons[explored] = [explored], "exploration"
    for position in sorted(affordable, key=lambda position: -draws[position]):
        if len(picked) >= settings.workers or position in picked:
            continue
        if fits([*picked, position]):
            picked.append(position)
            reasons[position] = "draw"
        else:
            reasons[position] = "budget"
    return [
        Pick(
            option.worker,
            option.members,
            option.posterior.alpha,
            option.posterior.beta,
            draws[position],
            position in picked,
            reasons[position],
        )
        for position, option in enumerate(options)
    ]
