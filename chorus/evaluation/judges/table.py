"""The figures of judges on a terminal."""

from __future__ import annotations

import math

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chorus.evaluation.judges.advice import advice
from chorus.evaluation.judges.summary import Bias, Judges
from chorus.evaluation.statistics import MeanInterval
from chorus.evaluation.table import interval, money, percent

FIGURES = (
    "order kept",
    "first place preferred",
    "points for the first place",
    "twice as long preferred",
    "points for a doubling",
    "own family preferred",
    "points for its family",
    "right with 1 pass",
    "right with 2 passes",
    "2 passes, length control",
    "pairs (right and wrong, own and other family)",
    "no verdict",
    "tokens/call",
    "cost/1,000 calls",
)
"""What each judge has a figure of. Shares have their intervals in points of a hundred, points those
of a judge's scores."""
_ABREAST = 4
"""Judges beside each other in one table."""


def print_judges(judges: Judges, console: Console) -> None:
    """Print the figures, a column for each judge, and what they mean."""
    count = "1 judge" if len(judges.rows) == 1 else f"{len(judges.rows)} judges"
    title = f"{count} on {judges.pairs} pairs" + ("" if judges.complete else ", not all yet")
    compared = [row for row in judges.rows if row.pairs]
    for first in range(0, len(compared), _ABREAST):
        rows = compared[first : first + _ABREAST]
        table = Table("", title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            is_best = judges.best is not None and row.name == judges.best.name
            table.add_column(escape(row.name), justify="right", style="bold" if is_best else "")
        for label, *shown in zip(FIGURES, *map(cells, rows), strict=True):
            table.add_row(label, *map(escape, shown))
        console.print(table)
    for line in advice(judges):
        console.print(escape(line))


def cells(row: Bias) -> list[str]:
    """One judge, a text for each of `FIGURES`."""
    return [
        _share(row.order_kept),
        _share(row.first_place),
        _points(row.position),
        _share(row.twice_as_long),
        _points(row.length),
        _share(row.own_family),
        _points(row.own),
        _share(row.one_pass),
        _share(row.two_passes),
        _share(row.controlled),
        f"{row.pairs} ({row.contrasts}, {row.own_pairs})",
        percent(row.unreadable),
        f"{row.tokens:,.0f}",
        "?" if row.cost is None else money(1000 * row.cost),
    ]


def _share(share: MeanInterval) -> str:
    if math.isnan(share.mean):
        return "–"
    return f"{100 * share.mean:.0f} % {interval(share)}"


def _points(effect: MeanInterval) -> str:
    """An effect in points of a judge's scores, with its interval where there is one."""
    if math.isnan(effect.mean):
        return "–"
    if math.isinf(effect.low):
        return f"{effect.mean:+.2f}"
    return f"{effect.mean:+.2f} [{effect.low:.2f}, {effect.high:.2f}]"
