"""The summary on a terminal."""

from __future__ import annotations

import math
from typing import Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chorus.evaluation.statistics import MeanInterval
from chorus.evaluation.summary import Judged, Row, Saved, Summary
from chorus.texts import Text

HEADINGS: Final = (
    Text("contestant", "参评者"),
    Text("quality (95 %)", "质量（95 %）"),
    Text("over the best", "与最佳相比"),
    Text("p50", "p50"),
    Text("p95", "p95"),
    Text("calls", "调用"),
    Text("tokens", "token"),
    Text("cost/1,000", "每千题费用"),
    Text("errors", "错误"),
)
FEW: Final = Text(
    "So few questions make the bootstrap's intervals too narrow, down to no width at all: that is not certainty.",
    "问题太少，自助法（bootstrap）的区间过窄，甚至宽度为零：这并不代表确定。",
)
_TITLE: Final = Text("{count} questions", "{count} 个问题")
_NOT_ALL: Final = Text("{count} questions, not all yet", "{count} 个问题，尚未全部完成")
_FAILED: Final = Text("{who} failed on “{question:.60}”: {error}", "{who} 在“{question:.60}”上失败：{error}")
_MORE_FAILED: Final = Text("... and {count} failures more, which the report lists.", "……另有 {count} 个失败，见报告。")
_RIGHT_IN_ALL: Final = Text(
    "right in all {count}: {shares}, oracle {oracle}.", "全部 {count} 个问题的正确率：{shares}，理想选择器 {oracle}。"
)
_SELECTED: Final = Text("selected {share}", "选中 {share}")
_MAJORITY: Final = Text("majority {share}", "多数 {share}")
_CHANCE: Final = Text("drawn at random {share}", "随机 {share}")
_NOBODY: Final = Text("{name}: nobody selects; {whole}", "{name}：没有选择器；{whole}")
_NEVER: Final = Text(
    "{name}: its selector never had to choose between right and wrong candidates; {whole}",
    "{name}：其选择器从未需要在正确与错误的候选之间选择；{whole}",
)
_PICKED: Final = Text(
    "{name}: its selector picked a right candidate in {picks} of the {decided} questions where right and wrong ones "
    "stood side by side; {whole}",
    "{name}：在正确与错误候选并存的 {decided} 个问题中，其选择器选中正确候选的比例为 {picks}；{whole}",
)
_SHORTCUT: Final = Text(
    "{name}: {shortcut} was taken {times} times and saved {calls} calls, about {tokens:,.0f} tokens{cost}.",
    "{name}：{shortcut} 生效 {times} 次，节省 {calls} 次调用，约 {tokens:,.0f} token{cost}。",
)
_IN_COST: Final = Text(" and {cost} in cost", "、费用 {cost}")
BEST_SINGLE: Final = Text("best single", "最佳单模型")
_MOST_FAILURES = 5


def print_table(summary: Summary, console: Console) -> None:
    """Print the summary as a table, with the sentences below it."""
    title = (_TITLE if summary.complete else _NOT_ALL).filled(count=summary.questions)
    table = Table(*map(str, HEADINGS), title=str(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        column.no_wrap = True
    for column in table.columns[1:]:
        column.justify = "right"
    for row in summary.rows:
        shown = [escape(cell) for cell in cells(row, best=str(BEST_SINGLE) if row.name == summary.best else None)]
        table.add_row(*shown, style="bold" if row.is_workflow else "")
    console.print(table)
    notes = [*map(_of_selector, summary.judged), *map(_of_shortcut, summary.saved)]
    if summary.is_small:
        notes.append(FEW)
    for cell in summary.failures[:_MOST_FAILURES]:
        notes.append(_FAILED.filled(who=cell.contestant, question=cell.question, error=cell.error))
    if (more := len(summary.failures) - _MOST_FAILURES) > 0:
        notes.append(_MORE_FAILED.filled(count=more))
    for line in notes:
        console.print(escape(str(line)))


def _of_selector(judged: Judged) -> Text:
    shares = [(_SELECTED, judged.selected), (_MAJORITY, judged.majority), (_CHANCE, judged.chance)]
    listed = [text.filled(share=percent(share)) for text, share in shares if not math.isnan(share)]
    joined = Text(", ".join(text.en for text in listed), "，".join(text.zh for text in listed))
    whole = _RIGHT_IN_ALL.filled(count=judged.questions, shares=joined, oracle=percent(judged.oracle))
    if math.isnan(judged.selected):
        return _NOBODY.filled(name=judged.name, whole=whole)
    if not judged.decided:
        return _NEVER.filled(name=judged.name, whole=whole)
    picks = f"{percent(judged.picks.mean)} {interval(judged.picks)}"
    return _PICKED.filled(name=judged.name, picks=picks, decided=judged.decided, whole=whole)


def _of_shortcut(saved: Saved) -> Text:
    return _SHORTCUT.filled(
        name=saved.name,
        shortcut=saved.shortcut,
        times=saved.times,
        calls=saved.calls,
        tokens=saved.tokens,
        cost="" if saved.cost is None else _IN_COST.filled(cost=money(saved.cost)),
    )


def cells(row: Row, *, best: str | None) -> list[str]:
    """Return one row, a text for each of `HEADINGS`.

    `best` says that it is the best single model, where it is.
    """
    over = best or "–"
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
    """Return a share as a person reads it."""
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """Return a difference of two shares in points, with its sign; never -0.0."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}"


def _whole(share: float) -> int:
    return round(100 * share)


def interval(estimate: MeanInterval) -> str:
    """Return the interval of an estimate, in points."""
    return "" if math.isnan(estimate.low) else f"[{_whole(estimate.low)}, {_whole(estimate.high)}]"


def money(amount: float) -> str:
    """Return an amount in the currency of the configured prices.

    Below 0.1 it has two significant digits.
    """
    return f"{amount:.2f}" if amount >= 0.1 or amount == 0 else f"{amount:.2g}"


def seconds(secs: float) -> str:
    """Return a time as a person reads it."""
    if math.isnan(secs):
        return "–"
    return f"{secs:.2f} s" if secs >= 0.1 else f"{1000 * secs:.0f} ms"
