"""Workers of known accuracy and judges of known skill and bias, for the real engine, in no time.

A question is a number; its right answer is "right", and a worker of accuracy p gives it with
probability p, else one of a few wrong ones, so that wrong answers agree now and then as those of
language models do. Everything is drawn from the question, the worker and the seed alone: two
workflows are asked the same questions and hear the same answers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import anyio
import trio
import trio.testing

from chorus.events import RunFinished
from chorus.llm.base import Call, Chunk
from chorus.telemetry.trace import workflow_details
from chorus.types import ChatRequest, Message, Timeouts
from chorus.usage import Usage
from chorus.workflow.engine import Job, Plan, running
from chorus.workflow.model import Model
from chorus.workflow.parse import parse

RIGHT = "right"
WRONG = ("wrong one", "wrong two", "wrong three")
BLOCK = re.compile(r'<candidate label="(\w+)" key="(\w+)">\n(.*?)\n</candidate key="\2">', re.DOTALL)


@dataclass
class Simulated:
    """An upstream that answers by a rule: `answers` is given the question's number and a source of
    chance of its own for this call; `secs` how long it takes.
    """

    name: str
    answers: Callable[[Call, Random], str]
    secs: Callable[[Random], float] = lambda rng: 0.0
    calls: int = 0
    asked: dict[str, int] = field(default_factory=dict)

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Upstream.open`."""
        self.calls += 1
        question = call.request.messages[0].text
        turn = self.asked[question] = self.asked.get(question, 0) + 1
        rng = Random(f"{self.name} {question} {turn}")
        call.attempting(self.name)
        yield self._say(self.answers(call, rng), self.secs(rng))

    async def _say(self, text: str, secs: float) -> AsyncIterator[Chunk]:
        await anyio.sleep(secs)
        yield Chunk(text, finish_reason="stop", usage=Usage(10, 5))


def is_right(text: str) -> bool:
    """Whether a worker's answer is right, however long it goes on."""
    return text.startswith(RIGHT)


def worker(
    name: str, accuracy: float, secs: Callable[[Random], float] = lambda rng: 0.0, *, padding: float | None = None
) -> Simulated:
    """One that is right with probability `accuracy`.

    With `padding` each answer is followed by words that say nothing: 40 characters, and as many
    doublings more, give or take one.
    """

    def answer(call: Call, rng: Random) -> str:
        text = RIGHT if rng.random() < accuracy else rng.choice(WRONG)
        return text if padding is None else text + " and so on" * round(4 * 2 ** (padding + rng.gauss(0.0, 1.0)))

    return Simulated(name, answer, secs)


def judge(name: str, *, skill: float, bias: float = 0.0, length: float = 0.0, secs: float = 0.0) -> Simulated:
    """One that scores each candidate by `skill` when it is right, plus noise of standard deviation
    1, plus `bias` for what stands first, plus `length` for each doubling of the text. The noise is
    of the question and the candidate, and half of it of the pass: asked again, a judge mostly
    repeats itself.
    """

    def verdict(call: Call, rng: Random) -> str:
        question = call.request.messages[0].text
        scores = {}
        for place, (label, _, text) in enumerate(BLOCK.findall(call.request.messages[-1].text)):
            lasting = Random(f"{name} {question} {text}").gauss(0.0, 0.75**0.5)
            liked = bias * (place == 0) + length * math.log2(len(text))
            scores[label] = skill * is_right(text) + liked + lasting + rng.gauss(0.0, 0.5)
        ranking = sorted(scores, key=lambda label: -scores[label])
        return json.dumps({"choice": ranking[0], "ranking": ranking, "scores": scores})

    return Simulated(name, verdict, lambda rng: secs)


@dataclass(frozen=True)
class SimulatedRun:
    """One run: what came of it, and how long it took in virtual seconds."""

    answer: str
    secs: float
    trace: Mapping[str, Any]


async def simulate(plan: Plan, upstreams: Mapping[str, Simulated], question: int) -> SimulatedRun:
    """Ask `plan` one question."""
    models = {name: Model(name, upstream, timeouts=Timeouts()) for name, upstream in upstreams.items()}
    request = ChatRequest("chorus", (Message("user", str(question)),))
    async with running(plan, Job(f"wf_{question}", "req", (request,)), models, {}) as journal:
        await journal.ended()
        over = journal.events[-1]
        assert isinstance(over, RunFinished), over
        return SimulatedRun(over.answers[0].text, over.at, workflow_details(journal.events))


def simulate_all(
    tree: Mapping[str, Any], upstreams: Mapping[str, Simulated], questions: int, *, first: int = 0
) -> list[SimulatedRun]:
    """Ask the workflow `tree` the questions `first`, `first` + 1, ... on a clock that jumps over
    every wait.
    """
    flow, problems = parse(tree, label="chorus", place="tree", kinds={})
    assert flow is not None, problems

    async def ask() -> list[SimulatedRun]:
        return [
            await simulate(Plan("chorus", flow, seed=number), upstreams, number)
            for number in range(first, first + questions)
        ]

    return trio.run(ask, clock=trio.testing.MockClock(autojump_threshold=0))


def accuracy(runs: list[SimulatedRun]) -> float:
    """The share of right answers."""
    return sum(is_right(run.answer) for run in runs) / len(runs)


def verdict(claim: str, holds: bool) -> bool:
    """Print whether a claim holds."""
    print(f"{'PASS' if holds else 'FAIL'}  {claim}")
    return holds
