"""What the results say: a row for each contestant, how good each workflow's selector is, what its
shortcuts saved. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chorus import wirejson
from chorus.evaluation.dataset import Question
from chorus.evaluation.grading import gist
from chorus.evaluation.results import Key, Result
from chorus.evaluation.statistics import MeanInterval, difference, mean_of, percentile
from chorus.workflow.judging.agreement import most_frequent

_FEW = 30


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant. `quality` is the mean score; `over_best` compares with the best single model,
    None for that one. Times in seconds, `cost` and `tokens` per question, `cost` None where a price
    is unknown."""

    name: str
    is_workflow: bool
    quality: MeanInterval
    over_best: MeanInterval | None
    p50: float
    p95: float
    tokens: float
    calls: float
    cost: float | None
    errors: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The candidates of one workflow, on the questions where a rule could grade them. Shares of
    these questions: `oracle` any candidate is right, `majority` the most frequent answer is,
    `selected` the chosen one is (NaN where nobody selects), `chance` one drawn at random is.
    `picks` is the share of right choices where right and wrong ones stood side by side and the
    selector was asked, `decided` of them."""

    name: str
    questions: int
    oracle: float
    majority: float
    selected: float
    chance: float
    decided: int
    picks: MeanInterval


@dataclass(frozen=True, slots=True)
class Saved:
    """One shortcut of one workflow: how often it was taken, the calls it saved, and what these
    would have taken, had each been like the mean call of its run; `cost` is None where a price is
    unknown."""

    name: str
    shortcut: str
    times: int
    calls: int
    tokens: float
    cost: float | None


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that did not come."""

    question: str
    contestant: str
    error: str


@dataclass(frozen=True, slots=True)
class Contrast:
    """A question on which a workflow and the best single model differ."""

    question: str
    expected: str
    workflow: str
    mine: Result
    theirs: Result


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that a report shows. `complete` is whether every contestant has answered every
    question; `best` is the best single model, None where there is none or no question."""

    questions: int
    complete: bool
    best: str | None
    rows: Sequence[Row]
    judged: Sequence[Judged]
    saved: Sequence[Saved]
    contrasts: Sequence[Contrast]
    failures: Sequence[Failure]

    @property
    def is_small(self) -> bool:
        """Whether these are too few questions for the bootstrap, whose intervals then cover less
        than they say (Hesterberg, "What Teachers Should Know About the Bootstrap", The American
        Statistician, 2015)."""
        return 0 < self.questions < _FEW


def summarise(
    questions: Sequence[Question],
    singles: Sequence[str],
    workflows: Sequence[str],
    by_key: Mapping[Key, Result],
    seed: int = 0,
) -> Summary:
    """Return the summary of what was found, on the questions that every contestant has answered.

    `seed` fixes the bootstrap's draws.
    """
    names = [*singles, *workflows]
    answers = {who: [by_key.get((question.id, who)) for question in questions] for who in names}
    whole = [
        place
        for place in range(len(questions))
        if all((result := answers[who][place]) is not None and result.score is not None for who in names)
    ]
    results = {who: [result for place in whole if (result := answers[who][place]) is not None] for who in names}
    scores = {who: [result.score or 0.0 for result in results[who]] for who in names}
    best = max(singles, key=lambda who: sum(scores[who]), default=None) if whole else None
    answered = [questions[place] for place in whole]
    rows = []
    for who in names:
        over = difference(scores[who], scores[best], seed) if best not in (None, who) else None
        rows.append(_row(who, results[who], mean_of(scores[who], seed), over, who in workflows))
    return Summary(
        len(whole),
        len(whole) == len(questions),
        best,
        rows,
        [judged for who in workflows if (judged := _judged(who, answered, results[who], seed)) is not None],
        [saved for who in workflows for saved in _saved(who, results[who])],
        _contrasts(answered, workflows, best, results) if best is not None else [],
        [
            Failure(question.messages[-1].text, who, result.error)
            for who in names
            for question, result in zip(answered, results[who], strict=True)
            if result.error
        ],
    )


def _row(
    who: str, results: Sequence[Result], quality: MeanInterval, over: MeanInterval | None, is_workflow: bool
) -> Row:
    count = len(results) or 1
    costs = [result.cost for result in results if result.cost is not None]
    unpriced = any(result.cost is None and not result.error for result in results)
    secs = [result.secs for result in results]
    return Row(
        who,
        is_workflow,
        quality,
        over,
        percentile(secs, 0.5),
        percentile(secs, 0.95),
        sum(result.tokens for result in results) / count,
        sum(result.calls for result in results) / count,
        sum(costs) / count if costs and not unpriced else None,
        sum(bool(result.error) for result in results),
    )


def _judged(who: str, questions: Sequence[Question], results: Sequence[Result], seed: int) -> Judged | None:
    graded = [
        (question, result)
        for question, result in zip(questions, results, strict=True)
        if result.candidates and all(candidate.score is not None for candidate in result.candidates)
    ]
    if not graded:
        return None
    scores = [[candidate.score or 0.0 for candidate in result.candidates] for _, result in graded]
    chosen = [
        mine[result.selected] if result.selected is not None else None
        for mine, (_, result) in zip(scores, graded, strict=True)
    ]
    given = [score for score in chosen if score is not None]
    picks = [
        score
        for mine, score, (_, result) in zip(scores, chosen, graded, strict=True)
        if score is not None and result.selector != "skipped" and len(set(mine)) > 1
    ]
    count = len(graded)
    return Judged(
        who,
        count,
        sum(max(mine) for mine in scores) / count,
        sum(_majority(question, result) for question, result in graded) / count,
        sum(given) / len(given) if given else math.nan,
        sum(sum(mine) / len(mine) for mine in scores) / count,
        len(picks),
        mean_of(picks, seed),
    )


def _majority(question: Question, result: Result) -> float:
    """Return the score of the most frequent answer; of several, that of the first."""
    gists = [gist(question, candidate.text) for candidate in result.candidates]
    leader, _, _ = most_frequent(gists)
    return result.candidates[gists.index(leader)].score or 0.0


def _saved(who: str, results: Sequence[Result]) -> list[Saved]:
    taken: dict[str, list[tuple[int, Result]]] = {}
    for result in results:
        for shortcut, calls in result.shortcuts.items():
            taken.setdefault(shortcut, []).append((calls, result))
    saved = []
    for shortcut, times in sorted(taken.items()):
        costs = [calls * result.cost / max(result.calls, 1) for calls, result in times if result.cost is not None]
        saved.append(
            Saved(
                who,
                shortcut,
                len(times),
                sum(calls for calls, _ in times),
                sum(calls * result.tokens / max(result.calls, 1) for calls, result in times),
                sum(costs) if len(costs) == len(times) else None,
            )
        )
    return saved


def _contrasts(
    questions: Sequence[Question], workflows: Sequence[str], best: str, results: Mapping[str, Sequence[Result]]
) -> list[Contrast]:
    return [
        Contrast(question.messages[-1].text, _expected(question), who, mine, theirs)
        for who in workflows
        for question, mine, theirs in zip(questions, results[who], results[best], strict=True)
        if mine.score != theirs.score
    ]


def _expected(question: Question) -> str:
    answer = question.answer
    return "" if answer is None else answer if isinstance(answer, str) else wirejson.encode(answer).decode()
