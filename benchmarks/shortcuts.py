"""What the shortcuts of a workflow save, in time and in calls, and what they cost in accuracy (W7).

    python -m benchmarks.shortcuts --questions 1000

The engine is the real one, on a clock that jumps over every wait. Exit code 1 when a claim does not
hold:
- with a quorum, a worker that is ten times slower costs at most 5 % of the time that the others and
  the judges take;
- agreement saves at least 40 % of the calls on easy questions, at the same accuracy;
- samples in waves (Aggarwal et al., arXiv 2305.11860) are at most half as many, for less than half
  a point.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from random import Random
from typing import Any

from .simulated import BLOCK, RIGHT, WRONG, Simulated, SimulatedRun, accuracy, judge, simulate_all, verdict, worker

WORKER_SECS, JUDGE_SECS = 1.0, 0.5


def straggler(questions: int) -> bool:
    """One worker ten times slower than the others."""
    tree: dict[str, Any] = {"workers": ["w1", "w2", "w3", "slow"], "selector": "judge"}
    quick = {"quorum": {"min": 3}}

    def upstreams() -> dict[str, Simulated]:
        secs = {"w1": 1.0, "w2": 1.0, "w3": 1.0, "slow": 10.0}
        named = {name: worker(name, 0.7, lambda rng, secs=time: secs) for name, time in secs.items()}  # type: ignore[misc]
        return {**named, "judge": judge("judge", skill=2.0, secs=JUDGE_SECS)}

    waiting = _mean_secs(simulate_all(tree, upstreams(), questions))
    going_on = _mean_secs(simulate_all({**tree, **quick}, upstreams(), questions))
    path = WORKER_SECS + JUDGE_SECS
    print(
        f"straggler: {waiting:.2f} s without, {going_on:.2f} s with a quorum; the quorum's own path takes {path:.2f} s"
    )
    return verdict(f"quorum: {going_on / path:.3f} of its path (at most 1.05)", going_on <= 1.05 * path)


def hedging(questions: int) -> None:
    """Workers that are stuck now and then: one call in twenty takes 30 s."""
    tree: dict[str, Any] = {"workers": ["w1", "w2", "w3"], "selector": "judge"}

    def stuck(rng: Random) -> float:
        return 30.0 if rng.random() < 0.05 else rng.uniform(0.5, 1.5)

    for name, options in (("without", {}), ("with", {"hedge": {"after_secs": 2.0, "max": 2}})):
        upstreams = {each: worker(each, 0.7, stuck) for each in ("w1", "w2", "w3")}
        upstreams["judge"] = judge("judge", skill=2.0, secs=JUDGE_SECS)
        secs = sorted(each.secs for each in simulate_all({**tree, **options}, upstreams, questions))
        p50, p99 = secs[len(secs) // 2], secs[int(len(secs) * 0.99)]
        calls = _calls(upstreams) / questions
        print(f"hedge: {name:<8} p50 {p50:5.2f} s, p99 {p99:5.2f} s, {calls:.2f} calls a question")


def agreeing(questions: int) -> bool:
    """Easy questions: workers that are right nine times out of ten."""
    tree: dict[str, Any] = {"workers": ["w1", "w2", "w3", "w4"], "selector": "judge", "synthesizer": "writer"}

    def run(options: Mapping[str, Any]) -> tuple[list[SimulatedRun], int]:
        times = {f"w{number}": 0.6 + 0.2 * number for number in range(1, 5)}
        upstreams = {name: worker(name, 0.9, lambda rng, secs=secs: secs) for name, secs in times.items()}  # type: ignore[misc]
        upstreams["judge"] = judge("judge", skill=2.0, secs=JUDGE_SECS)
        upstreams["writer"] = Simulated("writer", lambda call, rng: _chosen(call.request.messages[-1].text))
        return simulate_all({**tree, **options}, upstreams, questions), _calls(upstreams)

    plain, calls = run({})
    quick, made = run({"agreement": {"threshold": 2}})
    cancelled = sum(worker["status"] == "cancelled" for run in quick for worker in run.trace["workers"])
    share = 1 - (made - cancelled) / calls
    right, quick_right = accuracy(plain), accuracy(quick)
    print(
        f"agreement: right {100 * right:.1f} % with all calls, {100 * quick_right:.1f} % with {100 * share:.0f} % fewer"
    )
    print(
        f"           ({100 * (1 - made / calls):.0f} % were never made, the others were cut short when two had agreed)"
    )
    saves = verdict(f"agreement saves {100 * share:.0f} % of the calls (at least 40)", share >= 0.4)
    loss = 100 * (right - quick_right)
    return verdict(f"agreement costs {loss:+.1f} points (at most 0.5)", loss <= 0.5) and saves


def sampling(questions: int) -> bool:
    """One model up to 20 times: sure of one half of the questions (95 %), in doubt about the other
    (60 %).
    """
    most = 20

    def answer(call: Any, rng: Random) -> str:
        sure = int(call.request.messages[0].text) % 2 == 0
        return RIGHT if rng.random() < (0.95 if sure else 0.6) else rng.choice(WRONG)

    def run(samples: object) -> tuple[float, float]:
        model = Simulated("m", answer)
        runs = simulate_all(
            {"workers": [{"ref": "m", "samples": samples}], "selector": "vote"},
            {"m": model, "vote": _vote()},
            questions,
        )
        return accuracy(runs), model.calls / questions

    # a confidence that 20 samples cannot reach asks for all of them
    right, calls = run({"max": most, "confidence": 0.999999})
    wave_right, wave_calls = run(most)
    print(
        f"samples: right {100 * right:.1f} % with {calls:.1f}, {100 * wave_right:.1f} % with {wave_calls:.1f} in waves"
    )
    fewer = verdict(f"waves need {calls / wave_calls:.1f} times fewer samples (at least 2)", calls >= 2 * wave_calls)
    loss = 100 * (right - wave_right)
    return verdict(f"waves cost {loss:+.2f} points (less than 0.5)", loss < 0.5) and fewer


def routing(questions: int) -> None:
    """Half of the questions are easy, and one model is always right on them."""
    tree: dict[str, Any] = {
        "analyzer": "analyzer",
        "workers": ["w1", "w2", "w3"],
        "selector": "judge",
        "difficulty": {"easy": "w1"},
    }

    def is_easy(text: str) -> bool:
        return int(text) % 2 == 0

    def analysis(call: Any, rng: Random) -> str:
        return '{"difficulty": "easy"}' if is_easy(call.request.messages[0].text) else '{"difficulty": "hard"}'

    def answer(call: Any, rng: Random) -> str:
        return RIGHT if is_easy(call.request.messages[0].text) or rng.random() < 0.6 else rng.choice(WRONG)

    for name, options in (("without", {"difficulty": None}), ("with", {})):
        upstreams = {each: Simulated(each, answer) for each in ("w1", "w2", "w3")}
        upstreams |= {"analyzer": Simulated("analyzer", analysis), "judge": judge("judge", skill=2.0)}
        runs = simulate_all({**tree, **options}, upstreams, questions)
        calls = _calls(upstreams) / questions
        print(f"difficulty: {name:<8} right {100 * accuracy(runs):.1f} %, {calls:.2f} calls a question")


def _vote() -> Simulated:
    """A selector that takes the most frequent answer: what a vote would do."""

    def most_frequent(call: Any, rng: Random) -> str:
        blocks = BLOCK.findall(call.request.messages[-1].text)
        texts = [text for _, _, text in blocks]
        best = max(range(len(texts)), key=lambda place: (texts.count(texts[place]), -place))
        return f'{{"choice": "{blocks[best][0]}"}}'

    return Simulated("vote", most_frequent)


def _chosen(prompt: str) -> str:
    """A writer that repeats the chosen candidate."""
    label = prompt.partition("Chosen: ")[2].split("\n")[0]
    return next(str(text) for each, _, text in BLOCK.findall(prompt) if each == label)


def _calls(upstreams: Mapping[str, Simulated]) -> int:
    return sum(each.calls for each in upstreams.values())


def _mean_secs(runs: list[SimulatedRun]) -> float:
    return sum(run.secs for run in runs) / len(runs)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=1000)
    questions = parser.parse_args().questions
    hedging(questions)
    routing(questions)
    return 0 if all([straggler(questions), agreeing(questions), sampling(questions)]) else 1


if __name__ == "__main__":
    sys.exit(main())
