"""What a search found, in rows and sentences. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from chorus.evaluation.statistics import MeanInterval
from chorus.evaluation.table import interval, percent
from chorus.evaluation.tuning.choosing import Choice, FrontierRow
from chorus.evaluation.tuning.evidence import Evidence
from chorus.evaluation.tuning.resampling import Resamples
from chorus.evaluation.tuning.scoring import Scored, today
from chorus.evaluation.tuning.search import Found, Search
from chorus.evaluation.tuning.table import Line, Outline

_FEW = 30


def outline(search: Search, found: Found, *, new_calls: int) -> Outline:
    """Return what is shown of `found`; `new_calls` is how many calls of judges were spent."""
    evidence = search.evidence
    count = len(evidence.ids)
    resamples = Resamples(count, search.seed)
    ran = [today(name, outcomes) for name, outcomes in evidence.today.items()]
    rows = [FrontierRow(one, resamples.mean(one.quality), one.mean) for one in ran]
    choice = found.choice
    sentences = [_compared(found, count), _oracle(evidence)]
    lines = [Line(row, "today") for row in rows]
    if choice is None:
        best = max(found.scored, key=lambda one: one.mean)
        sentences.append(
            f"No panel is within the bounds. The best without them: {best.name}, {percent(best.mean)}, p95 {best.p95:.2f} s."
        )
    else:
        lines = _lines(choice, lines)
        sentences += _said(choice, rows, resamples)
        sentences += _modelled(choice, found, new_calls)
    sentences += _left_out(search)
    title = f"{count} questions, {len(found.scored):,} panels compared"
    return Outline(title, lines, sentences, found.scored, evidence.is_priced)


def _lines(choice: Choice, today_lines: Sequence[Line]) -> list[Line]:
    lines = []
    rows = {row.scored.name: row for row in choice.frontier}
    rows[choice.chosen.scored.name] = choice.chosen
    rows.setdefault(choice.best_single.scored.name, choice.best_single)
    for name, row in rows.items():
        marks = []
        if name == choice.chosen.scored.name:
            marks.append("recommended")
        if name == choice.best_single.scored.name:
            marks.append("best single")
        lines.append(Line(row, ", ".join(marks)))
    lines += today_lines
    return sorted(lines, key=lambda line: (line.row.scored.cost or 0.0, line.row.scored.calls, line.row.scored.p95))


def _compared(found: Found, count: int) -> str:
    of = f" of {found.possible:,} possible ones, drawn at random," if found.possible > len(found.scored) else ""
    return (
        f"{len(found.scored):,} panels{of} were compared on the same {count} questions, and the best of many looks better than it "
        "is. So the quality of each row is what its choice gives on folds of the questions that it was not made on."
    )


def _oracle(evidence: Evidence) -> str:
    best = [
        max(answer.score for rows in evidence.answers.values() for answer in rows[place])
        for place in range(len(evidence.ids))
    ]
    return (
        f"The oracle, which always takes the best stored answer, has {percent(sum(best) / len(best))}: no panel that only selects "
        "can be better."
    )


def _said(choice: Choice, rows: Sequence[FrontierRow], resamples: Resamples) -> list[str]:
    chosen = choice.chosen.scored
    said = []
    gain = f"{100 * choice.gain.mean:+.1f} points {interval(choice.gain)}"
    if choice.is_gain_shown and chosen.name != choice.cheapest.name:
        said.append(f"Recommended: {chosen.name}. Over the cheapest single model, {choice.cheapest.name}: {gain}.")
    elif chosen.name == choice.cheapest.name:
        said.append(
            f"Recommended: {chosen.name}, the cheapest single model. No panel is shown to be better: choosing among them gains "
            f"{gain} on questions that the choice was not made on."
        )
    else:
        said.append(f"Recommended: {chosen.name}.")
    seen = choice.chosen.seen - choice.chosen.quality.mean
    if seen >= 0.0005:
        said.append(f"On the questions that it was chosen on it looks {100 * seen:.1f} points better than that.")
    for row in rows:
        apart = resamples.difference(chosen.quality, row.scored.quality)
        said.append(f"Against today's {row.scored.name}: {100 * apart.mean:+.1f} points {interval(apart)}.")
    if choice.second is not None and choice.apart is not None:
        said.append(_second(choice.second, choice.apart, choice.more))
    if len(chosen.quality) < _FEW:
        said.append(
            f"{len(chosen.quality)} questions are few: the bootstrap's intervals are too narrow, down to no width at all. That is "
            "not certainty."
        )
    return said


def _second(second: Scored, apart: MeanInterval, more: int | None) -> str:
    so_much = f"{100 * apart.mean:+.1f} points {interval(apart)}"
    if more is not None and apart.mean < 0:
        turned = MeanInterval(0.0 - apart.mean, 0.0 - apart.high, 0.0 - apart.low)
        return (
            f"{second.name} looks {100 * turned.mean:.1f} points better {interval(turned)}, which is not shown. About {more:,} more "
            "questions would tell the two apart, if they differ as much as here."
        )
    if more is not None:
        return (
            f"The second is {second.name}; the first two differ by {so_much}, which is not shown. About {more:,} more questions would "
            "tell them apart, if they differ as much as here."
        )
    if apart.mean == 0:
        return f"The second is {second.name}: as good on these questions; a higher price is what is against it."
    return f"The second is {second.name}; the first two differ by {so_much}."


def _modelled(choice: Choice, found: Found, new_calls: int) -> list[str]:
    said = [f"{new_calls:,} new calls of judges were spent."] if new_calls else []
    share = max((row.scored.modelled for row in (choice.chosen, *choice.frontier)), default=0.0)
    if share:
        said.append(
            f"Verdicts are stored or, in up to {percent(share)} of the questions of a row, those of a model fitted to the judge; the "
            "intervals include what is not known of it. --judge-calls asks the judge itself."
        )
    for judge, model in found.judges.models.items():
        skill, first, last, length, own = model.effects
        said.append(
            f"{judge}, fitted to {model.verdicts} verdicts, in log odds: right {skill:+.1f}, shown first {first:+.1f}, shown last "
            f"{last:+.1f}, e times as long {length:+.1f}, its own model {own:+.1f}."
        )
    return said


def _left_out(search: Search) -> list[str]:
    evidence = search.evidence
    said = []
    if evidence.left_out:
        said.append(f"{evidence.left_out} questions are left out: an answer or its score is missing.")
    judges = {verdict.judge for verdict in evidence.verdicts}
    for judge, times in evidence.unread.items():
        where = "" if judge in judges else "; so no panel with it is compared"
        said.append(f"{judge} gave no verdict that could be read in {times} of its calls{where}.")
    if not judges:
        said.append("No verdict of a selector is stored, so only panels without a judge are compared.")
    if not evidence.is_priced:
        said.append("Prices are unknown: the number of calls stands for the cost.")
    return said
