"""The summary on a terminal."""

from __future__ import annotations

import math

from rich import box
from rich.console import Console
from rich.table import Table

from chorus.evaluation.statistics import Estimate
from chorus.evaluation.summary import Row, Summary

HEADINGS = ("contestant", "quality (95 %)", "over the best", "p50", "p95", "calls", "tokens", "cost/1,000", "errors")


def print_table(summary: Summary, console: Console) -> None:
    """Print it."""
    title = f"{summary.questions} questions" + ("" if summary.complete else ", not all yet")
    table = Table(*HEADINGS, title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for row in summary.rows:
        table.add_row(*cells(row), style="bold" if row.is_workflow else "")
    console.print(table)
    for judged in summary.judged:
        console.print(
            f"{judged.name}: its selector picked the right candidate in {percent(judged.picks.mean)} of the {judged.decided} "
            f"questions where right and wrong ones stood side by side. Right in all: selected {percent(judged.selected)}, "
            f"majority {percent(judged.majority)}, drawn at random {percent(judged.chance)}, oracle {percent(judged.oracle)}."
        )
    for saved in summary.saved:
        console.print(
            f"{saved.name}: {saved.shortcut} was taken {saved.times} times and saved {saved.calls} calls, about "
            f"{saved.tokens:,.0f} tokens."
        )


def cells(row: Row) -> list[str]:
    """One row, a text for each of `HEADINGS`."""
    quality = f"{percent(row.quality.mean)}  {interval(row.quality)}"
    over = "" if row.over_best is None else f"{100 * row.over_best.mean:+.1f}  {interval(row.over_best)}"
    cost = "?" if row.cost is None else f"{1000 * row.cost:.2f}"
    return [
        row.name,
        quality,
        over,
        seconds(row.p50),
        seconds(row.p95),
        f"{row.calls:.1f}",
        f"{row.tokens:,.0f}",
        cost,
        str(row.errors or ""),
    ]


def percent(share: float) -> str:
    """A share as a person reads it."""
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def interval(estimate: Estimate) -> str:
    """The interval of an estimate, in points."""
    return "" if math.isnan(estimate.low) else f"[{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def seconds(secs: float) -> str:
    """A time as a person reads it."""
    return "–" if math.isnan(secs) else f"{secs:.2f} s"
