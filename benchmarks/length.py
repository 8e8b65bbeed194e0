"""How near a judge that likes long answers comes to one that does not, with length control (W6).

    python -m benchmarks.length --questions 2000

Four workers of known accuracy, of which the worse write more; one judge of known skill, with and
without a liking for length and for the first place. The engine is the real one, and the judge is
asked twice. What is taken out is not what was planted but what the report of `chorus eval --judges`
estimates on other questions. Exit code 1 when the corrected judge is more than two points below the
fair one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from chorus.evaluation.dataset import Question
from chorus.evaluation.judges.asking import Judgement
from chorus.evaluation.judges.pairs import Pair, draw
from chorus.evaluation.judges.summary import Bias, summarise_judges
from chorus.evaluation.results import Result
from chorus.llm.base import Call
from chorus.types import Message

from .simulated import RIGHT, Simulated, SimulatedRun, accuracy, is_right, judge, simulate_all, verdict, worker

ACCURACIES = {"w1": 0.75, "w2": 0.65, "w3": 0.55, "w4": 0.5}
PADDING = {"w1": 0.0, "w2": 1.0, "w3": 2.0, "w4": 3.0}
SKILL, BIAS, LENGTH = 2.0, 1.0, 0.8
_STUDY, _FIRST = 150, 1_000_000
"""Questions of the study that estimates the effect, and the number of the first: none of them is
asked again.
"""


@dataclass(frozen=True)
class Figures:
    """Shares of questions that were answered right.

    `found` is what the report said of the judge.
    """

    workers: dict[str, float]
    fair: float
    biased: float
    controlled: float
    found: Bias


def figures(questions: int, *, pairs: int = 100) -> Figures:
    """Everything, on the same questions and the same answers."""
    found = study(_liking, pairs)
    fair = _judged(questions, judge("judge", skill=SKILL, bias=BIAS))
    answers = [[each["response"] for each in run.trace["workers"]] for run in fair]
    return Figures(
        {name: sum(is_right(each[place]) for each in answers) / questions for place, name in enumerate(ACCURACIES)},
        accuracy(fair),
        accuracy(_judged(questions, _liking())),
        accuracy(_judged(questions, _liking(), length_control=True, length_effect=found.length_effect or 0.0)),
        found,
    )


def study(by: Callable[[], Simulated], pairs: int) -> Bias:
    """What the report says of a judge, on `pairs` pairs of the workers' answers to questions of the
    study.
    """
    asked = [Question(str(_FIRST + number), (Message("user", "?"),), "regex", f"^{RIGHT}") for number in range(_STUDY)]
    panel = {"workers": list(ACCURACIES), "selector": "judge"}
    results = {}
    answers = simulate_all(panel, {**_workers(), "judge": by()}, _STUDY, first=_FIRST)
    for question, run in zip(asked, answers, strict=True):
        for each in run.trace["workers"]:
            results[question.id, each["name"]] = Result(question.id, each["name"], each["response"])
    drawn = draw(asked, list(ACCURACIES), results, pairs, seed=0)
    said = {("judge", pair.key): _compared(by(), pair) for pair in drawn}
    return summarise_judges(["judge"], drawn, said, {}).rows[0]


def _saying(text: str) -> Callable[[Call, Random], str]:
    """What an upstream answers that always says `text`."""
    return lambda call, chance: text


def _compared(by: Simulated, pair: Pair) -> Judgement:
    """What a judge says of a pair: a selector's two passes over two workers that say these
    texts.
    """
    texts = {"one": pair.one.text, "other": pair.other.text}
    saying = {name: Simulated(name, _saying(text)) for name, text in texts.items()}
    tree = {"workers": ["one", "other"], "selector": {"ref": "judge", "passes": 2}}
    [run] = simulate_all(tree, {**saying, "judge": by}, 1, first=int(pair.question.id))
    first, second = sorted(run.trace["selector"]["passes"], key=lambda each: each["order_shown"][0] == "other")
    scores = [(each["scores"]["one"], each["scores"]["other"]) for each in (first, second)]
    preferred = [int(each["selected_worker"] == "other") for each in (first, second)]
    return Judgement(
        "judge", pair.key, pair.question.id, (preferred[0], preferred[1]), (scores[0], scores[1]), tokens=30
    )


def _liking() -> Simulated:
    return judge("judge", skill=SKILL, bias=BIAS, length=LENGTH)


def _workers() -> dict[str, Simulated]:
    return {name: worker(name, share, padding=PADDING[name]) for name, share in ACCURACIES.items()}


def _judged(questions: int, by: Simulated, **selector: Any) -> list[SimulatedRun]:
    tree = {"workers": list(ACCURACIES), "selector": {"ref": "judge", "passes": 2, **selector}}
    return simulate_all(tree, {**_workers(), "judge": by}, questions)


def report(found: Figures) -> bool:
    """Print the table; whether the claim holds."""
    rows = [(f"worker {name} alone", share) for name, share in found.workers.items()]
    rows += [("judge that likes length", found.biased), ("with length control", found.controlled)]
    rows += [("fair judge", found.fair)]
    for name, share in rows:
        print(f"{name:<24} {100 * share:5.1f} %")
    length = found.found.length
    print(
        f"estimated on {found.found.pairs} pairs: {length.mean:.2f} [{length.low:.2f}, {length.high:.2f}] points a doubling"
    )
    recovered = verdict(f"the interval holds the planted {LENGTH}", length.low <= LENGTH <= length.high)
    behind = 100 * (found.fair - found.controlled)
    return (
        verdict(f"length control is {behind:+.1f} points behind the fair judge (at most 2)", behind <= 2) and recovered
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=2000)
    return 0 if report(figures(parser.parse_args().questions)) else 1


if __name__ == "__main__":
    sys.exit(main())
