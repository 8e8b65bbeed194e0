"""The outcome on a terminal: the frontier as a table, and what can be said of it in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chorus.evaluation.table import interval, money, percent, seconds
from chorus.evaluation.tuning.choosing import FrontierRow
from chorus.evaluation.tuning.scoring import Scored
from chorus.texts import Text

HEADINGS = ("panel", "quality (95 %)", "cost/1,000", "p50", "p95", "calls", "")
RECOMMENDED: Final = "recommended"
BEST_SINGLE: Final = "best_single"
TODAY: Final = "today"
_SHOWN: Final = {RECOMMENDED: "recommended", BEST_SINGLE: "best single", TODAY: "today"}


@dataclass(frozen=True, slots=True)
class Line:
    """A row as it is shown; `marks` say why it stands there."""

    row: FrontierRow
    marks: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """The marks as a person reads them."""
        return ", ".join(_SHOWN[mark] for mark in self.marks)

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
    """Everything that is shown: a title, the rows, the sentences; `points` are all panels, of
    `possible` ones, for the plots."""

    title: Text
    lines: Sequence[Line]
    sentences: Sequence[Text]
    points: Sequence[Scored]
    possible: int
    is_priced: bool

    def drawn(self, most: int) -> Sequence[Scored]:
        """Return at most so many of the points, evenly from all of them."""
        return self.points[:: -(-len(self.points) // most)]


def print_outline(outline: Outline, console: Console) -> None:
    """Print it."""
    table = Table(*HEADINGS, title=outline.title.en, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns[1:-1]:
        column.justify = "right"
        column.no_wrap = True
    for line in outline.lines:
        table.add_row(*map(escape, line.cells()), style="bold" if RECOMMENDED in line.marks else "")
    console.print(table)
    for sentence in outline.sentences:
        console.print(escape(sentence.en))
