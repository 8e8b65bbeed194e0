"""How near a judge with a bias for the first place comes to one without, when it is asked twice
(W6).

    python -m benchmarks.judging --questions 2000

Four workers of known accuracy; one judge of known skill, with and without a bias for what stands
first (Zheng et al., arXiv 2306.05685). The engine is the real one. Exit code 1 when two passes are
more than a point below the unbiased judge.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from random import Random

from .simulated import RIGHT, Simulated, SimulatedRun, accuracy, judge, simulate_all, verdict, worker

ACCURACIES = {"w1": 0.75, "w2": 0.65, "w3": 0.55, "w4": 0.5}
SKILL, BIAS = 2.0, 2.0


@dataclass(frozen=True)
class Figures:
    """Shares of questions that were answered right."""

    workers: dict[str, float]
    drawn: float
    majority: float
    oracle: float
    unbiased: float
    biased: dict[int, float]


def figures(questions: int) -> Figures:
    """Everything, on the same questions and the same answers."""
    unbiased = _judged(questions, judge("judge", skill=SKILL), 1)
    answers = [[each["response"] for each in run.trace["workers"]] for run in unbiased]
    return Figures(
        {name: sum(each[place] == RIGHT for each in answers) / questions for place, name in enumerate(ACCURACIES)},
        sum(Random(number).choice(each) == RIGHT for number, each in enumerate(answers)) / questions,
        sum(Counter(each).most_common(1)[0][0] == RIGHT for each in answers) / questions,
        sum(RIGHT in each for each in answers) / questions,
        accuracy(unbiased),
        {passes: accuracy(_judged(questions, judge("judge", skill=SKILL, bias=BIAS), passes)) for passes in (1, 2, 4)},
    )


def _judged(questions: int, by: Simulated, passes: int) -> list[SimulatedRun]:
    tree = {"workers": list(ACCURACIES), "selector": {"ref": "judge", "passes": passes}}
    workers = {name: worker(name, share) for name, share in ACCURACIES.items()}
    return simulate_all(tree, {**workers, "judge": by}, questions)


def report(found: Figures) -> bool:
    """Print the table; whether the claim holds."""
    rows = [(f"worker {name} alone", share) for name, share in found.workers.items()]
    rows += [("drawn at random", found.drawn), ("majority", found.majority)]
    rows += [(f"biased judge, {passes} pass{'es' * (passes > 1)}", share) for passes, share in found.biased.items()]
    rows += [("unbiased judge, 1 pass", found.unbiased), ("best of all (oracle)", found.oracle)]
    for name, share in rows:
        print(f"{name:<24} {100 * share:5.1f} %")
    behind = 100 * (found.unbiased - found.biased[2])
    return verdict(f"two passes are {behind:+.1f} points behind the unbiased judge (at most 1)", behind <= 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=2000)
    return 0 if report(figures(parser.parse_args().questions)) else 1


if __name__ == "__main__":
    sys.exit(main())
