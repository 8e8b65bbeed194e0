"""The figures of judges on a terminal."""

from __future__ import annotations

import math
from typing import Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chorus.evaluation.judges.advice import advice
from chorus.evaluation.judges.summary import Bias, Judges
from chorus.evaluation.statistics import MeanInterval
from chorus.evaluation.table import interval, money, percent
from chorus.texts import Text

FIGURES: Final = (
    Text("order kept", "换序后结论不变"),
    Text("first place preferred", "偏好排在最前"),
    Text("points for the first place", "排在最前的加分"),
    Text("twice as long preferred", "偏好两倍长度"),
    Text("points for a doubling", "长度加倍的加分"),
    Text("own family preferred", "偏好同族模型"),
    Text("points for its family", "同族模型的加分"),
    Text("right with 1 pass", "评审 1 次的正确率"),
    Text("right with 2 passes", "评审 2 次的正确率"),
    Text("2 passes, length control", "评审 2 次并校正长度"),
    Text("pairs (right and wrong, own and other family)", "答案对（一对一错，同族与异族）"),
    Text("no verdict", "无评审结果"),
    Text("tokens/call", "每次调用 token"),
    Text("cost/1,000 calls", "每千次调用费用"),
)
"""What each judge has a figure of. Shares have their intervals in points of a hundred, points those
of a judge's scores."""
_ONE: Final = Text("1 judge", "1 个评审")
_SEVERAL: Final = Text("{count} judges", "{count} 个评审")
_TITLE: Final = Text("{judges} on {pairs} pairs", "{judges}，{pairs} 个答案对")
_NOT_ALL: Final = Text("{judges} on {pairs} pairs, not all yet", "{judges}，{pairs} 个答案对，尚未全部完成")
_ABREAST = 4
"""Judges beside each other in one table."""


def print_judges(judges: Judges, console: Console) -> None:
    """Print the figures, a column for each judge, and what they mean."""
    count = _ONE if len(judges.rows) == 1 else _SEVERAL.filled(count=len(judges.rows))
    title = (_TITLE if judges.complete else _NOT_ALL).filled(judges=count, pairs=judges.pairs)
    compared = [row for row in judges.rows if row.pairs]
    for first in range(0, len(compared), _ABREAST):
        rows = compared[first : first + _ABREAST]
        table = Table("", title=str(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        for row in rows:
            is_best = judges.best is not None and row.name == judges.best.name
            table.add_column(escape(row.name), justify="right", style="bold" if is_best else "")
        for label, *shown in zip(FIGURES, *map(cells, rows), strict=True):
            table.add_row(str(label), *map(escape, shown))
        console.print(table)
    for line in advice(judges):
        console.print(escape(str(line)))


def cells(row: Bias) -> list[str]:
    """Return one judge, a text for each of `FIGURES`."""
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
    """Return an effect in points of a judge's scores, with its interval where there is one."""
    if math.isnan(effect.mean):
        return "–"
    if math.isinf(effect.low):
        return f"{effect.mean:+.2f}"
    return f"{effect.mean:+.2f} [{effect.low:.2f}, {effect.high:.2f}]"
