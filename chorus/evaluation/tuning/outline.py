"""What a search found, in rows and sentences, and as the file that the page reads. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from chorus.config.added_workflow import workflow_table
from chorus.evaluation.table import interval, percent
from chorus.evaluation.tuning import sentences
from chorus.evaluation.tuning.choosing import Choice, FrontierRow
from chorus.evaluation.tuning.resampling import Resamples
from chorus.evaluation.tuning.scoring import Scored, today
from chorus.evaluation.tuning.search import Search, SearchResult
from chorus.evaluation.tuning.table import BEST_SINGLE, RECOMMENDED, TODAY, Line, Outline
from chorus.tunings import MAX_POINTS, Point, Quality, Row, Sentences, Tuning
from chorus.wirejson import JSON


def outline(search: Search, result: SearchResult, *, new_calls: int) -> Outline:
    """Return what is shown of `found`; `new_calls` is how many calls of judges were spent."""
    evidence = search.evidence
    count = len(evidence.ids)
    resamples = Resamples(count, search.seed)
    ran = [today(name, outcomes) for name, outcomes in evidence.today.items()]
    rows = [FrontierRow(one, resamples.mean(one.quality), one.mean) for one in ran]
    choice = result.choice
    said = [sentences.compared(result, count), sentences.oracle(evidence)]
    lines = [Line(row, (TODAY,)) for row in rows]
    if choice is None:
        said.append(sentences.nothing_chosen(result))
    else:
        lines = _lines(choice, lines)
        said += sentences.of_choice(choice, rows, resamples)
        said += sentences.of_judges(choice, result, new_calls)
    said += sentences.of_evidence(evidence)
    return Outline(sentences.title(result, count), lines, said, result.scored, result.possible, evidence.is_priced)


def as_tuning(shown: Outline, evaluation: str) -> Tuning:
    """Return `shown` as it is kept; `evaluation` is the name of its folder."""
    return Tuning(
        questions=len(shown.points[0].quality),
        compared=len(shown.points),
        possible=shown.possible,
        is_priced=shown.is_priced,
        rows=tuple(_row(line, shown, evaluation) for line in shown.lines),
        points=tuple(Point(one.mean, _per_1000(one), one.p50, one.calls) for one in shown.drawn(MAX_POINTS)),
        sentences=Sentences(tuple(said.en for said in shown.sentences), tuple(said.zh for said in shown.sentences)),
    )


def workflow(row: FrontierRow, compared: int, evaluation: str) -> tuple[str, dict[str, JSON], str]:
    """Return the description, the tree and the comment of the workflow that serves the panel of a
    row, which is one of `compared`.
    """
    scored = row.scored
    assert scored.panel is not None
    cost = "cost unknown" if scored.cost is None else f"{1000 * scored.cost:.3g} for 1,000 questions"
    comment = (
        f"From the evaluation in {evaluation}, by chorus tune: {scored.name}.\n"
        f"Quality {percent(row.quality.mean)} {interval(row.quality)} on {len(scored.quality)} questions, one of "
        f"{compared:,} panels compared;\n{cost}, p95 {scored.p95:.2f} s, {scored.calls:.1f} calls."
    )
    return f"chosen by chorus tune: {scored.name}", scored.panel.tree(), comment


def _lines(choice: Choice, today_lines: Sequence[Line]) -> list[Line]:
    lines = []
    rows = {row.scored.name: row for row in choice.frontier}
    rows[choice.chosen.scored.name] = choice.chosen
    rows.setdefault(choice.best_single.scored.name, choice.best_single)
    for name, row in rows.items():
        marks = []
        if name == choice.chosen.scored.name:
            marks.append(RECOMMENDED)
        if name == choice.best_single.scored.name:
            marks.append(BEST_SINGLE)
        lines.append(Line(row, tuple(marks)))
    lines += today_lines
    return sorted(lines, key=lambda line: (line.row.scored.cost or 0.0, line.row.scored.calls, line.row.scored.p95))


def _row(line: Line, shown: Outline, evaluation: str) -> Row:
    scored, quality = line.row.scored, line.row.quality
    toml = ""
    if scored.panel is not None:
        description, tree, comment = workflow(line.row, len(shown.points), evaluation)
        toml = workflow_table("tuned", description, tree, comment)
    return Row(
        name=scored.name,
        marks=line.marks,
        quality=Quality(quality.mean, quality.low, quality.high),
        cost_per_1000=_per_1000(scored),
        p50=scored.p50,
        p95=scored.p95,
        calls=scored.calls,
        toml=toml,
    )


def _per_1000(scored: Scored) -> float | None:
    return None if scored.cost is None else 1000 * scored.cost
