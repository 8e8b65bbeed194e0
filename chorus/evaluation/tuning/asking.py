"""Asking a judge for new verdicts, and keeping them in a file that a later run goes on from."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import anyio
import msgspec

from chorus.errors import ChorusError
from chorus.evaluation.dataset import Question
from chorus.evaluation.tuning.evidence import Verdict
from chorus.evaluation.tuning.race import Comparison
from chorus.events import RunFailed, RunFinished
from chorus.service import Chorus
from chorus.telemetry.trace import workflow_details
from chorus.types import Answer, ChatRequest, Sampling
from chorus.workflow.judging import prompts, temperature
from chorus.workflow.judging.prompts import Labelled
from chorus.workflow.judging.replies import Unreadable, new_word
from chorus.workflow.judging.verdict import read_verdict


class KeptVerdict(msgspec.Struct, frozen=True):
    """One call, as the file has it; `choice` is -1 where the judge gave no verdict that could be
    read. Places are those of `shown`."""

    id: str
    judge: str
    shown: tuple[str, ...]
    choice: int
    ranking: tuple[int, ...] = ()
    scores: dict[str, float] = {}
    decisive: bool = False
    secs: float = 0.0
    cost: float | None = None


class VerdictFile:
    """The verdicts that were asked for, in memory and at `path`, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        """Reads what is there. A last line that was cut off is left out.

        Raises:
            ChorusError: the file cannot be read or written.
        """
        self._path = path
        self._kept: dict[tuple[str, str, tuple[str, ...]], KeptVerdict] = {}
        try:
            kept = path.read_bytes() if path.exists() else b""
            end = kept.rfind(b"\n") + 1
            for line in kept[:end].split(b"\n")[:-1]:
                self._take(msgspec.json.decode(line, type=KeptVerdict))
            self._file = path.open("ab")
            self._file.truncate(end)
        except (OSError, ValueError) as problem:
            raise ChorusError(f"{path} cannot be used: {problem}") from problem

    def get(self, question: str, wanted: Comparison) -> KeptVerdict | None:
        """Return what the judge said before about the same candidates in the same order."""
        return self._kept.get((question, wanted.judge, tuple(one.text for one in wanted.shown)))

    def add(self, verdict: KeptVerdict) -> None:
        """Keep `verdict`, on the disk too.

        Raises:
            ChorusError: the disk is full, say.
        """
        self._take(verdict)
        try:
            self._file.write(msgspec.json.encode(verdict) + b"\n")
            self._file.flush()
        except OSError as problem:
            raise ChorusError(f"{self._path} cannot be written: {problem}") from problem

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take(self, verdict: KeptVerdict) -> None:
        self._kept[verdict.id, verdict.judge, verdict.shown] = verdict


async def verdicts_of(
    chorus: Chorus,
    wanted: Sequence[Comparison],
    ids: Sequence[str],
    questions: Mapping[str, Question],
    kept: VerdictFile,
    *,
    concurrency: int,
    tick: Callable[[], None],
) -> list[Verdict]:
    """Return the verdicts that can be read, in the order of `wanted`; only those that are not kept
    yet are asked for.

    Raises:
        ChorusError: a judge does not answer; what it has said is kept.
    """
    waiting = iter([one for one in wanted if kept.get(ids[one.question], one) is None])
    for _ in range(len(wanted) - sum(kept.get(ids[one.question], one) is None for one in wanted)):
        tick()
    problems: list[ChorusError] = []

    async def work() -> None:
        try:
            for one in waiting:
                kept.add(await _ask(chorus, one, questions[ids[one.question]]))
                tick()
        except ChorusError as problem:  # carried past the group, which would wrap it
            problems.append(problem)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        for _ in range(concurrency):
            group.start_soon(work)
    if problems:
        raise problems[0]
    said = [(one, kept.get(ids[one.question], one)) for one in wanted]
    return [_verdict(one, mine) for one, mine in said if mine is not None and mine.choice >= 0]


async def _ask(chorus: Chorus, wanted: Comparison, question: Question) -> KeptVerdict:
    """Ask as a workflow's selector asks (W6)."""
    labels = [prompts.label(place) for place in range(len(wanted.shown))]
    blocks = [Labelled(label, Answer(one.text)) for label, one in zip(labels, wanted.shown, strict=True)]
    mark = new_word()
    ours = prompts.selector(blocks, new_word(), mark, notes=False)
    request = ChatRequest(wanted.judge, (*question.messages, ours), sampling=Sampling(temperature=temperature.JUDGE))
    unique = secrets.token_hex(12)
    began = time.perf_counter()
    async with chorus.run((request,), request_id=f"tune_{unique}", unique=unique, streaming=False) as journal:
        await journal.ended()
        over, trace = journal.events[-1], workflow_details(journal.events)
    if isinstance(over, RunFailed):
        raise ChorusError(f"the judge '{wanted.judge}' does not answer: {over.error.message}")
    assert isinstance(over, RunFinished)
    texts = tuple(one.text for one in wanted.shown)
    secs, cost = time.perf_counter() - began, trace["cost"]
    try:
        verdict = read_verdict(over.answers[0].text, labels, mark)
    except Unreadable:
        return KeptVerdict(question.id, wanted.judge, texts, -1, secs=secs, cost=cost)
    scores = {str(place): score for place, score in verdict.scores.items()}
    return KeptVerdict(
        question.id,
        wanted.judge,
        texts,
        verdict.choice,
        tuple(verdict.ranking),
        scores,
        verdict.decisive,
        secs,
        cost,
    )


def _verdict(wanted: Comparison, kept: KeptVerdict) -> Verdict:
    scores = {int(place): score for place, score in kept.scores.items()}
    return Verdict(
        wanted.question,
        wanted.judge,
        wanted.shown,
        kept.choice,
        kept.ranking,
        scores,
        kept.decisive,
        kept.secs,
        kept.cost,
    )
