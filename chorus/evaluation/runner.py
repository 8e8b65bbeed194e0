"""Asking every contestant every question, some at a time, and grading what they say."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial

import anyio
import msgspec

from chorus.errors import ChorusError
from chorus.evaluation import candidates
from chorus.evaluation.dataset import Question
from chorus.evaluation.grading import is_right
from chorus.evaluation.judging import compare
from chorus.evaluation.results import Result, ResultFile
from chorus.events import RunFailed, RunFinished
from chorus.service import Chorus
from chorus.telemetry.trace import workflow_details
from chorus.types import ChatRequest
from chorus.workflow.plan import Flow

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
    """Ask each of `contestants` each of `questions` that it has not answered yet; a failure is a
    wrong answer.

    Raises:
        ChorusError: an answer could not be kept.
    """

    async def ask(question: Question, who: str) -> None:
        results.add(await _answer_of(chorus, question, who))
        tick()

    left = [partial(ask, q, who) for q in questions for who in contestants if (q.id, who) not in results.by_key]
    await some_at_a_time(left, concurrency)


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
    """Let `judge` compare, where no rule can grade, each contestant's answer with that of the first
    contestant.

    Raises:
        ChorusError: the judge does not answer; what it has said is kept.
    """
    reference = contestants[0]

    async def compare_one(question: Question, who: str) -> None:
        mine, theirs = results.by_key[question.id, who], results.by_key[question.id, reference]
        score = 0.5 if who == reference else await compare(chorus, judge, question, mine.text, theirs.text)
        results.add(msgspec.structs.replace(mine, score=score))
        tick()

    left = [
        partial(compare_one, q, who)
        for q in questions
        for who in contestants
        if results.by_key[q.id, who].score is None
    ]
    await some_at_a_time(left, concurrency)


async def some_at_a_time(jobs: Iterable[Callable[[], Awaitable[None]]], concurrency: int) -> None:
    """Run all `jobs`, `concurrency` at a time. The first ChorusError cancels the others and is
    raised."""
    waiting = iter(jobs)
    problems: list[ChorusError] = []

    async def work() -> None:
        try:
            for job in waiting:
                await job()
        except ChorusError as problem:  # carried past the group, which would wrap it
            problems.append(problem)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for _ in range(concurrency):
            group.start_soon(work)
    if problems:
        raise problems[0]


async def _answer_of(chorus: Chorus, question: Question, who: str) -> Result:
    request = ChatRequest(who, question.messages)
    unique = secrets.token_hex(12)
    began = time.perf_counter()
    try:
        async with chorus.run((request,), request_id=f"eval_{unique}", unique=unique, streaming=False) as journal:
            await journal.ended()
            over, trace = journal.events[-1], workflow_details(journal.events)
    except ChorusError as problem:  # it never began: the server's own queue was full, say
        return Result(question.id, who, score=0.0, secs=time.perf_counter() - began, error=_error_text(problem))
    is_workflow = isinstance(chorus.snapshot.resolve(who).root, Flow)
    measured = Result(
        question.id,
        who,
        secs=time.perf_counter() - began,
        tokens=trace["usage"]["total_tokens"],
        cost=trace["cost"],
        calls=candidates.calls(trace),
        trace=trace if is_workflow else None,
    )
    if isinstance(over, RunFailed):
        return msgspec.structs.replace(measured, score=0.0, error=_error_text(over.error))
    assert isinstance(over, RunFinished)
    text = over.answers[0].text
    right = is_right(question, text)
    answered = msgspec.structs.replace(measured, text=text, score=None if right is None else float(right))
    if not is_workflow:
        return answered
    graded, selected = candidates.read(question, trace)
    saved: dict[str, int] = {}
    for shortcut in over.shortcuts:
        saved[shortcut.name] = saved.get(shortcut.name, 0) + shortcut.saved_calls
    selector = candidates.selector_status(trace)
    return msgspec.structs.replace(answered, candidates=graded, selected=selected, selector=selector, shortcuts=saved)


def _error_text(problem: ChorusError) -> str:
    return f"{problem.code}: {problem.message}"
