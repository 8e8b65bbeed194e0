"""What the results say: a row for each contestant, how good each workflow's selector is, what its shortcuts saved. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chorus.evaluation.dataset import Question
from chorus.evaluation.results import Key, Result
from chorus.evaluation.statistics import Estimate, difference, mean_of, percentile
from chorus.types import Answer
from chorus.workflow.agreement import key


@dataclass(frozen=True, slots=True)
class Row:
    """One contestant. `quality` is the mean score; `over_best` compares with the best single model, None for that one.
    Times in seconds, `cost` and `tokens` per question, `cost` None where a price is unknown."""

    name: str
    is_workflow: bool
    quality: Estimate
    over_best: Estimate | None
    p50: float
    p95: float
    tokens: float
    calls: float
    cost: float | None
    errors: int


@dataclass(frozen=True, slots=True)
class Judged:
    """The selector of one workflow, on the questions whose candidates a rule could grade. Shares of these questions:
    `oracle` any candidate is right, `majority` the most frequent answer is, `selected` the chosen one is, `chance` one drawn
    at random is. `picks` is the share of right choices where right and wrong ones stood side by side, `decided` of them."""

    name: str
    questions: int
    oracle: float
    majority: float
    selected: float
    chance: float
    decided: int
    picks: Estimate


@dataclass(frozen=True, slots=True)
class Saved:
    """One shortcut of one workflow: how often it was taken, the calls it saved, and about how many tokens these were."""

    name: str
    shortcut: str
    times: int
    calls: int
    tokens: float


@dataclass(frozen=True, slots=True)
class Contrast:
    """A question on which a workflow and the best single model differ."""

    question: str
    workflow: str
    mine: Result
    theirs: Result


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that a report shows. `complete` tells whether every contestant has answered every question."""

    questions: int
    complete: bool
    rows: Sequence[Row]
    judged: Sequence[Judged]
    saved: Sequence[Saved]
    contrasts: Sequence[Contrast]


def summarise(
    questions: Sequence[Question], singles: Sequence[str], workflows: Sequence[str], found: Mapping[Key, Result]
) -> Summary:
    """The summary of what was found, on the questions that every contestant has answered."""
    names = [*singles, *workflows]
    told = {who: [found.get((each.id, who)) for each in questions] for who in names}
    whole = [
        place
        for place in range(len(questions))
        if all((result := told[who][place]) is not None and result.score is not None for who in names)
    ]
    results = {who: [result for place in whole if (result := told[who][place]) is not None] for who in names}
    scores = {who: [result.score or 0.0 for result in results[who]] for who in names}
    best = max(singles, key=lambda who: sum(scores[who]), default=None)
    rows = [
        _row(who, results[who], scores[who], scores[best] if best not in (None, who) else None, who in workflows)
        for who in names
    ]
    return Summary(
        len(whole),
        len(whole) == len(questions),
        rows,
        [judged for who in workflows if (judged := _judged(who, results[who])) is not None],
        [saved for who in workflows for saved in _saved(who, results[who])],
        _contrasts([questions[place] for place in whole], workflows, best, results) if best is not None else [],
    )


def _row(
    who: str, results: Sequence[Result], scores: Sequence[float], best: Sequence[float] | None, is_workflow: bool
) -> Row:
    count = len(results) or 1
    costs = [result.cost for result in results if result.cost is not None]
    secs = [result.secs for result in results]
    return Row(
        who,
        is_workflow,
        mean_of(scores),
        difference(scores, best) if best is not None else None,
        percentile(secs, 0.5),
        percentile(secs, 0.95),
        sum(result.tokens for result in results) / count,
        sum(result.calls for result in results) / count,
        sum(costs) / count if costs and len(costs) == len(results) else None,
        sum(bool(result.error) for result in results),
    )


def _judged(who: str, results: Sequence[Result]) -> Judged | None:
    graded = [
        result
        for result in results
        if result.selected is not None and all(each.score is not None for each in result.candidates)
    ]
    if not graded:
        return None
    scores = [[each.score or 0.0 for each in result.candidates] for result in graded]
    chosen = [mine[result.selected or 0] for mine, result in zip(scores, graded, strict=True)]
    open_ones = [right for mine, right in zip(scores, chosen, strict=True) if len(set(mine)) > 1]
    count = len(graded)
    return Judged(
        who,
        count,
        sum(max(mine) for mine in scores) / count,
        sum(_majority(result) for result in graded) / count,
        sum(chosen) / count,
        sum(sum(mine) / len(mine) for mine in scores) / count,
        len(open_ones),
        mean_of(open_ones),
    )


def _majority(result: Result) -> float:
    """The score of the most frequent answer; of several, that of the first."""
    keys = [key(Answer(each.text), "normalised") for each in result.candidates]
    leader = Counter(keys).most_common(1)[0][0]
    return result.candidates[keys.index(leader)].score or 0.0


def _saved(who: str, results: Sequence[Result]) -> list[Saved]:
    taken: dict[str, list[tuple[int, float]]] = {}
    for result in results:
        a_call = result.tokens / result.calls if result.calls else 0.0
        for shortcut, calls in result.shortcuts.items():
            taken.setdefault(shortcut, []).append((calls, calls * a_call))
    return [
        Saved(who, shortcut, len(each), sum(calls for calls, _ in each), sum(tokens for _, tokens in each))
        for shortcut, each in sorted(taken.items())
    ]


def _contrasts(
    questions: Sequence[Question], workflows: Sequence[str], best: str, results: Mapping[str, Sequence[Result]]
) -> list[Contrast]:
    return [
        Contrast(question.messages[-1].text, who, mine, theirs)
        for who in workflows
        for question, mine, theirs in zip(questions, results[who], results[best], strict=True)
        if mine.score != theirs.score
    ]
