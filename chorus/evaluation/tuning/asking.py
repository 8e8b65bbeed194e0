"""Asking a judge for new verdicts, and keeping them in a file that a later run goes on from."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from chorus.evaluation.dataset import Question
from chorus.evaluation.judge_calls import verdict_on
from chorus.evaluation.kept import KeptRows
from chorus.evaluation.runner import Tick, some_at_a_time
from chorus.evaluation.tuning.evidence import Verdict
from chorus.evaluation.tuning.race import Comparison
from chorus.service import Chorus


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


VerdictKey = tuple[str, str, tuple[str, ...]]
"""A question's id, a judge, and the texts that it saw in their order."""


class VerdictFile(KeptRows[KeptVerdict, VerdictKey]):
    """The verdicts that were asked for beside one evaluation."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """See `KeptRows`."""
        super().__init__(path, identity, KeptVerdict, lambda verdict: (verdict.id, verdict.judge, verdict.shown))


async def verdicts_of(
    chorus: Chorus,
    wanted: Sequence[Comparison],
    ids: Sequence[str],
    questions: Mapping[str, Question],
    kept: VerdictFile,
    *,
    concurrency: int,
    tick: Tick,
) -> list[Verdict]:
    """Return the verdicts that can be read, in the order of `wanted`; only those that are not kept
    yet are asked for.

    Raises:
        ChorusError: a judge does not answer; what it has said is kept.
    """
    keys = [(ids[one.question], one.judge, tuple(shown.text for shown in one.shown)) for one in wanted]
    left = [one for one, key in zip(wanted, keys, strict=True) if key not in kept.by_key]
    for _ in range(len(wanted) - len(left)):
        tick()

    async def ask(one: Comparison) -> None:
        kept.add(await _ask(chorus, one, questions[ids[one.question]]))
        tick()

    await some_at_a_time([partial(ask, one) for one in left], concurrency)
    said = [(one, kept.by_key[key]) for one, key in zip(wanted, keys, strict=True)]
    return [_verdict(one, mine) for one, mine in said if mine.choice >= 0]


async def _ask(chorus: Chorus, wanted: Comparison, question: Question) -> KeptVerdict:
    texts = tuple(one.text for one in wanted.shown)
    began = time.perf_counter()
    verdict, trace = await verdict_on(chorus, wanted.judge, question.messages, texts)
    secs, cost = time.perf_counter() - began, trace["cost"]
    if verdict is None:
        return KeptVerdict(question.id, wanted.judge, texts, -1, secs=secs, cost=cost)
    return KeptVerdict(
        question.id,
        wanted.judge,
        texts,
        verdict.choice,
        tuple(verdict.ranking),
        {str(place): score for place, score in verdict.scores.items()},
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
