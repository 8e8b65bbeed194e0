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

HEADINGS: Final = (
    Text("panel", "组合"),
    Text("quality (95 %)", "质量（95 %）"),
    Text("cost/1,000", "每千题费用"),
    Text("p50", "p50"),
    Text("p95", "p95"),
    Text("calls", "调用"),
)
RECOMMENDED: Final = "recommended"
BEST_SINGLE: Final = "best_single"
TODAY: Final = "today"
_MARKS: Final = {
    RECOMMENDED: Text("recommended", "推荐"),
    BEST_SINGLE: Text("best single", "最佳单模型"),
    TODAY: Text("today", "现用"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """A row as it is shown; `marks` say why it stands there."""

    row: FrontierRow
    marks: tuple[str, ...] = ()

    @property
    def mark(self) -> Text:
        """The marks as a person reads them."""
        shown = [_MARKS[mark] for mark in self.marks]
        return Text(", ".join(text.en for text in shown), "，".join(text.zh for text in shown))

    def cells(self) -> list[str]:
        """Return a text for each of `HEADINGS`; the mark stands behind them."""
        scored = self.row.scored
        return [
            scored.name,
            f"{percent(self.row.quality.mean)}  {interval(self.row.quality)}",
            "?" if scored.cost is None else money(1000 * scored.cost),
            seconds(scored.p50),
            seconds(scored.p95),
            f"{scored.calls:.1f}",
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
    table = Table(
        *map(str, HEADINGS), "", title=str(outline.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for column in table.columns[1:-1]:
        column.justify = "right"
        column.no_wrap = True
    for line in outline.lines:
        table.add_row(*map(escape, (*line.cells(), str(line.mark))), style="bold" if RECOMMENDED in line.marks else "")
    console.print(table)
    for sentence in outline.sentences:
        console.print(escape(str(sentence)))
