"""The summary on a terminal."""

from __future__ import annotations

import math

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chorus.evaluation.statistics import MeanInterval
from chorus.evaluation.summary import Judged, Row, Saved, Summary

HEADINGS = ("contestant", "quality (95 %)", "over the best", "p50", "p95", "calls", "tokens", "cost/1,000", "errors")
FEW = "So few questions make the bootstrap's intervals too narrow, down to no width at all: that is not certainty."
_MOST_FAILURES = 5


def print_table(summary: Summary, console: Console) -> None:
    """Print it."""
    title = f"{summary.questions} questions" + ("" if summary.complete else ", not all yet")
    table = Table(*HEADINGS, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for row in summary.rows:
        shown = [escape(cell) for cell in cells(row, is_best=row.name == summary.best)]
        table.add_row(*shown, style="bold" if row.is_workflow else "")
    console.print(table)
    notes = [*map(_of_selector, summary.judged), *map(_of_shortcut, summary.saved)]
    if summary.is_small:
        notes.append(FEW)
    notes += [
        f"{cell.contestant} failed on “{cell.question:.60}”: {cell.error}" for cell in summary.failures[:_MOST_FAILURES]
    ]
    if len(summary.failures) > _MOST_FAILURES:
        notes.append(f"... and {len(summary.failures) - _MOST_FAILURES} failures more, which the report lists.")
    for line in notes:
        console.print(escape(line))


def _of_selector(judged: Judged) -> str:
    right = {"selected": judged.selected, "majority": judged.majority, "drawn at random": judged.chance}
    shares = ", ".join(f"{name} {percent(share)}" for name, share in right.items() if not math.isnan(share))
    whole = f"right in all {judged.questions}: {shares}, oracle {percent(judged.oracle)}."
    if math.isnan(judged.selected):
        return f"{judged.name}: nobody selects; {whole}"
    if not judged.decided:
        return f"{judged.name}: its selector never had to choose between right and wrong candidates; {whole}"
    return (
        f"{judged.name}: its selector picked a right candidate in {percent(judged.picks.mean)} {interval(judged.picks)} of the "
        f"{judged.decided} questions where right and wrong ones stood side by side; {whole}"
    )


def _of_shortcut(saved: Saved) -> str:
    cost = "" if saved.cost is None else f" and {money(saved.cost)} in cost"
    return (
        f"{saved.name}: {saved.shortcut} was taken {saved.times} times and saved {saved.calls} calls, about "
        f"{saved.tokens:,.0f} tokens{cost}."
    )


def cells(row: Row, *, is_best: bool) -> list[str]:
    """One row, a text for each of `HEADINGS`; `is_best` where it is the best single model."""
    over = "best single" if is_best else "–"
    if row.over_best is not None:
        over = f"{points(row.over_best.mean)}  {interval(row.over_best)}"
    return [
        row.name,
        f"{percent(row.quality.mean)}  {interval(row.quality)}".rstrip(),
        over,
        seconds(row.p50),
        seconds(row.p95),
        f"{row.calls:.1f}",
        f"{row.tokens:,.0f}",
        "?" if row.cost is None else money(1000 * row.cost),
        str(row.errors or ""),
    ]


def percent(share: float) -> str:
    """A share as a person reads it."""
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """A difference of two shares in points, with its sign; never -0.0."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"


def _whole(share: float) -> int:
    return round(100 * share)


def interval(estimate: MeanInterval) -> str:
    """The interval of an estimate, in points."""
    return "" if math.isnan(estimate.low) else f"[{_whole(estimate.low)}, {_whole(estimate.high)}]"


def money(amount: float) -> str:
    """An amount in the currency of the configured prices; of a small one, the digits that tell."""
    return f"{amount:.2f}" if amount >= 0.1 or amount == 0 else f"{amount:.2g}"


def seconds(secs: float) -> str:
    """A time as a person reads it."""
    if math.isnan(secs):
        return "–"
    return f"{secs:.2f} s" if secs >= 0.1 else f"{1000 * secs:.0f} ms"
