"""Asking every contestant every question, some at a time, and grading what they say."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import msgspec

from chorus.evaluation.dataset import Question
from chorus.evaluation.grading import is_right
from chorus.evaluation.judging import compare
from chorus.evaluation.results import Candidate, Result, ResultFile
from chorus.events import RunFailed, RunFinished
from chorus.service import Chorus
from chorus.telemetry.trace import workflow_details
from chorus.types import ChatRequest

Tick = Callable[[], None]
"""Called when one answer, or one comparison, is in."""


async def ask_all(
    chorus: Chorus,
    questions: Sequence[Question],
    contestants: Sequence[str],
    results: ResultFile,
    *,
    concurrency: int,
    tick: Tick,
) -> None:
    """Ask each of `contestants` each of `questions` that it has not answered yet; a failure is a wrong answer."""
    waiting = iter(
        [(q, who) for q in questions for who in contestants if (q.id, who) not in results.found],
    )

    async def worker() -> None:
        for question, who in waiting:
            results.add(await _asked(chorus, question, who))
            tick()

    async with anyio.create_task_group() as group:
        for _ in range(concurrency):
            group.start_soon(worker)


async def judge_all(
    chorus: Chorus,
    questions: Sequence[Question],
    contestants: Sequence[str],
    results: ResultFile,
    *,
    judge: str,
    concurrency: int,
    tick: Tick,
) -> None:
    """Let `judge` compare, where no rule can grade, each contestant's answer with that of the first contestant."""
    first = contestants[0]
    waiting = iter([(q, who) for q in questions for who in contestants if results.found[q.id, who].score is None])

    async def worker() -> None:
        for question, who in waiting:
            mine, theirs = results.found[question.id, who], results.found[question.id, first]
            score = 0.5 if who == first else await compare(chorus, judge, question, mine.text, theirs.text)
            results.add(msgspec.structs.replace(mine, score=score))
            tick()

    async with anyio.create_task_group() as group:
        for _ in range(concurrency):
            group.start_soon(worker)


async def _asked(chorus: Chorus, question: Question, who: str) -> Result:
    request = ChatRequest(who, question.messages)
    unique = secrets.token_hex(12)
    began = time.perf_counter()
    async with chorus.run((request,), request_id=f"eval_{unique}", unique=unique, streaming=False) as journal:
        await journal.ended()
        over, trace = journal.events[-1], workflow_details(journal.events)
    secs = time.perf_counter() - began
    usage: Mapping[str, Any] = trace["usage"]
    measured = {"secs": secs, "tokens": usage["total_tokens"], "cost": trace["cost"], "calls": _calls(trace)}
    if isinstance(over, RunFailed):
        return Result(question.id, who, score=0.0, error=f"{over.error.code}: {over.error.message}", **measured)
    assert isinstance(over, RunFinished)
    text = over.answers[0].text
    candidates, selected = _candidates(question, trace)
    saved: dict[str, int] = {}
    for shortcut in over.shortcuts:
        saved[shortcut.name] = saved.get(shortcut.name, 0) + shortcut.saved_calls
    right = is_right(question, text)
    return Result(
        question.id,
        who,
        text,
        None if right is None else float(right),
        candidates=candidates,
        selected=selected,
        shortcuts=saved,
        **measured,
    )


def _candidates(question: Question, trace: Mapping[str, Any]) -> tuple[tuple[Candidate, ...], int | None]:
    """The candidates of a workflow, graded like its answer, and the place of the one that was selected."""
    selector = trace["selector"]
    told: list[Candidate] = []
    selected = None
    for worker in trace["workers"] if selector is not None else ():
        if worker["status"] == "ok" and worker["response"]:
            if worker["name"] == selector.get("selected_worker"):
                selected = len(told)
            right = is_right(question, worker["response"])
            told.append(Candidate(worker["name"], worker["response"], None if right is None else float(right)))
    return tuple(told), selected


def _calls(trace: Mapping[str, Any]) -> int:
    """Upstream calls of a run, with those of its nested workflows."""
    own = [trace[name] for name in ("analyzer", "selector", "synthesizer") if trace[name] is not None]
    own += [each for stage in own for each in stage.get("passes", ())] + trace["workers"]
    nested = [_calls(worker["nested"]) for worker in trace["workers"] if "nested" in worker]
    attempts: list[int] = [stage["attempts"] for stage in own]
    return sum(attempts) + sum(nested)
