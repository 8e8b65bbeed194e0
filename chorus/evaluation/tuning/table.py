"""The outcome on a terminal: the frontier as a table, and what can be said of it in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chorus.evaluation.table import interval, money, percent, seconds
from chorus.evaluation.tuning.choosing import FrontierRow
from chorus.evaluation.tuning.scoring import Scored

HEADINGS = ("panel", "quality (95 %)", "cost/1,000", "p50", "p95", "calls", "")


@dataclass(frozen=True, slots=True)
class Line:
    """A row as it is shown; `mark` says why it stands there."""

    row: FrontierRow
    mark: str = ""

    def cells(self) -> list[str]:
        """A text for each of `HEADINGS`."""
        scored = self.row.scored
        return [
            scored.name,
            f"{percent(self.row.quality.mean)}  {interval(self.row.quality)}",
            "?" if scored.cost is None else money(1000 * scored.cost),
            seconds(scored.p50),
            seconds(scored.p95),
            f"{scored.calls:.1f}",
            self.mark,
        ]


@dataclass(frozen=True, slots=True)
class Outline:
    """Everything that is shown: a title, the rows, the sentences; `points` are all panels, for the
    plots."""

    title: str
    lines: Sequence[Line]
    sentences: Sequence[str]
    points: Sequence[Scored]
    is_priced: bool


def print_outline(outline: Outline, console: Console) -> None:
    """Print it."""
    table = Table(*HEADINGS, title=outline.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:-1]:
        column.justify = "right"
        column.no_wrap = True
    for line in outline.lines:
        table.add_row(*map(escape, line.cells()), style="bold" if "recommended" in line.mark else "")
    console.print(table)
    for sentence in outline.sentences:
        console.print(escape(sentence))
