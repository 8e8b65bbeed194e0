"""Asking judges to compare pairs, in both orders, as a workflow's selector would ask them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from chorus.evaluation.judge_calls import verdict_on
from chorus.evaluation.judges.pairs import Pair
from chorus.evaluation.kept import KeptRows
from chorus.evaluation.runner import Tick, some_at_a_time
from chorus.service import Chorus
from chorus.workflow.judging.verdict import Verdict

Scores = tuple[float, float]
"""The scores of the first and of the second answer of a pair."""


class Judgement(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a judge said of a pair, in two calls: `one` shown first, then `other` shown first.
    `preferred` is 0 for `one` and 1 for `other`, None where the reply cannot be read; `scores` are
    None where it did not score both. Time, tokens and cost are those of both calls."""

    judge: str
    pair: str
    id: str
    preferred: tuple[int | None, int | None]
    scores: tuple[Scores | None, Scores | None] = (None, None)
    secs: float = 0.0
    tokens: int = 0
    cost: float | None = None


class JudgementFile(KeptRows[Judgement, tuple[str, str]]):
    """The judgements of one evaluation, by judge and pair."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """See `KeptRows`."""
        super().__init__(path, identity, Judgement, lambda judgement: (judgement.judge, judgement.pair))


async def ask_judges(
    chorus: Chorus,
    judges: Sequence[str],
    pairs: Sequence[Pair],
    judgements: JudgementFile,
    *,
    concurrency: int,
    tick: Tick,
) -> None:
    """Have each of `judges` compare each of `pairs` that it has not compared yet: two calls.

    Raises:
        ChorusError: a judge does not answer; what has been said is kept.
    """

    async def ask(judge: str, pair: Pair) -> None:
        judgements.add(await _judgement(chorus, judge, pair))
        tick()

    left = [partial(ask, who, pair) for pair in pairs for who in judges if (who, pair.key) not in judgements.by_key]
    await some_at_a_time(left, concurrency)


async def _judgement(chorus: Chorus, judge: str, pair: Pair) -> Judgement:
    began = time.perf_counter()
    first, used = await verdict_on(chorus, judge, pair.question.messages, (pair.one.text, pair.other.text))
    second, used_again = await verdict_on(chorus, judge, pair.question.messages, (pair.other.text, pair.one.text))
    costs = [cost for cost in (used["cost"], used_again["cost"]) if cost is not None]
    return Judgement(
        judge,
        pair.key,
        pair.question.id,
        (None if first is None else first.choice, None if second is None else 1 - second.choice),
        (_scores(first, (0, 1)), _scores(second, (1, 0))),
        time.perf_counter() - began,
        used["usage"]["total_tokens"] + used_again["usage"]["total_tokens"],
        sum(costs) if len(costs) == 2 else None,
    )


def _scores(verdict: Verdict | None, order: tuple[int, int]) -> Scores | None:
    """Return the scores of a pair's answers; `order` has the place where each was shown."""
    if verdict is None or any(place not in verdict.scores for place in order):
        return None
    return verdict.scores[order[0]], verdict.scores[order[1]]
