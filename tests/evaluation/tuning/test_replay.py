"""The replay of shortcuts against the engine itself, on a clock that jumps over every wait."""

from __future__ import annotations

import json
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from benchmarks.simulated import BLOCK, Simulated, simulate_all
from chorus.evaluation.tuning.evidence import StoredAnswer
from chorus.evaluation.tuning.replay import replay

QUESTIONS = 40
TEXTS = ("one", "two", "three")


def drawn(seed: int, question: int, seats: int) -> list[StoredAnswer]:
    """Answers that agree now and then, with times that are all different."""
    rng = Random(f"{seed} {question}")
    answers = []
    for _ in range(seats):
        text = rng.choice(TEXTS)
        answers.append(StoredAnswer(text, text, 0.0, round(rng.uniform(0.5, 9.0), 3)))
    return answers


class Replaying(Simulated):
    """A model that gives the stored answers of its seats, one after the other."""

    def __init__(self, name: str, answers: Mapping[int, list[StoredAnswer]]) -> None:
        self._at: dict[str, int] = {}
        self._rows = answers
        self._secs = 0.0
        super().__init__(name, self._text, lambda rng: self._secs)

    def _text(self, call: Any, rng: Random) -> str:
        question = call.request.messages[0].text
        place = self._at[question] = self._at.get(question, -1) + 1
        answer = self._rows[int(question)][place]
        self._secs = answer.secs
        return answer.text


def first(call: Any, rng: Random) -> str:
    """A judge that takes the first candidate that it is shown."""
    return json.dumps({"choice": BLOCK.findall(call.request.messages[-1].text)[0][0]})


@pytest.mark.parametrize(
    ("threshold", "quorum", "samples"),
    [(None, None, 0), (2, None, 0), (3, None, 0), (None, 2, 0), (None, 3, 0), (2, 3, 0), (None, None, 9), (3, None, 9)],
)
def test_it_goes_on_when_the_engine_does(threshold: int | None, quorum: int | None, samples: int) -> None:
    seats = samples or 4
    rows = {number: drawn(seats, number, seats) for number in range(QUESTIONS)}
    tree: dict[str, Any] = {"selector": "judge"}
    if samples:
        tree["workers"] = [{"ref": "m", "samples": samples}]
        models: dict[str, Simulated] = {"m": Replaying("m", rows)}
    else:
        tree["workers"] = [f"w{place}" for place in range(seats)]
        models = {
            f"w{place}": Replaying(f"w{place}", {number: [row[place]] for number, row in rows.items()})
            for place in range(seats)
        }
    tree |= {"agreement": {"threshold": threshold}} if threshold else {}
    tree |= {"quorum": {"min": quorum}} if quorum else {}
    ran = simulate_all(tree, {**models, "judge": Simulated("judge", first)}, QUESTIONS)
    groups = [0 if samples else -1] * seats
    for number, one in enumerate(ran):
        replayed = replay(rows[number], groups, threshold, quorum)
        assert one.secs == pytest.approx(replayed.secs)
        ok = [worker for worker in one.trace["workers"] if worker["status"] == "ok"]
        # samples of one wave start at the same moment, in whatever order
        came = sorted(rows[number][place].text for place in replayed.candidates)
        assert sorted(worker["response"] for worker in ok) == came
        skipped = one.trace["selector"]["status"] == "skipped"
        assert skipped == (replayed.agreed is not None or len(replayed.candidates) == 1)
        if replayed.agreed is not None:
            assert one.answer == rows[number][replayed.agreed].text
