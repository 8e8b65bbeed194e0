"""The summary as one HTML file that needs nothing else; everything in it is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from chorus.evaluation.results import Result
from chorus.evaluation.statistics import MeanInterval
from chorus.evaluation.summary import Contrast, Failure, Judged, Row, Saved, Summary
from chorus.evaluation.table import BEST_SINGLE, FEW, HEADINGS, cells, interval, money, percent

_LONGEST = 600
_MOST = 100
"""How many characters of an answer are shown, and how many contrasts and failures: a report of
thousands opens slowly."""

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: light-dark(#4a7bd0, #7aa5f0); --good: light-dark(#1d7a3c, #5fc482);
  --bad: light-dark(#b43030, #f08a8a); --quiet: light-dark(#5a5a5a, #a8a8a8) }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem }
h2 { margin: 2.2rem 0 .3rem; font-size: 1.25rem }
p { color: var(--quiet); max-width: 50rem; margin: .3rem 0 .8rem }
p.unfinished { color: var(--bad); font-weight: 600 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: 0 }
td.text { text-align: left; white-space: normal }
.failures th { text-align: left }
th { font-weight: 500; color: var(--quiet) }
tr.workflow { font-weight: 600 }
svg { vertical-align: middle }
details { border-bottom: 1px solid var(--line); padding: .4rem 0 }
summary { cursor: pointer }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .3rem 0; font: inherit }
.right { color: var(--good) } .wrong { color: var(--bad) }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem }
"""


def html(summary: Summary, title: str, judges: str = "") -> str:
    """Return the whole page.

    The same for the same summary. `judges` is its section on judges, as HTML.
    """
    missing = (
        "" if summary.complete else '<p class="unfinished">Not every contestant has answered every question yet.</p>'
    )
    few = f" {escape(FEW.en)}" if summary.is_small else ""
    columns = [heading.en for heading in HEADINGS]
    columns.insert(2, "")
    sections = (
        _table(columns, [_row(row, is_best=row.name == summary.best) for row in summary.rows]),
        _judged(summary.judged),
        judges,
        _saved(summary.saved),
        _contrasts(summary.contrasts),
        _failures(summary.failures),
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{missing}"
        f"<p>{summary.questions} questions. Intervals are of 95 %: Wilson's for shares, the bootstrap's for means that have halves "
        f"and for differences, which are paired. One that holds 0 has not shown a difference. Times are of whole answers; calls "
        f"and tokens are means per question.{few}</p>{''.join(sections)}</body></html>\n"
    )


def _table(columns: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _row(row: Row, *, is_best: bool) -> str:
    first, quality, *rest = (
        f"<td>{escape(cell)}</td>" for cell in cells(row, best=BEST_SINGLE.en if is_best else None)
    )
    kind = ' class="workflow"' if row.is_workflow else ""
    return f"<tr{kind}>{first}{quality}<td>{_bar(row.quality)}</td>{''.join(rest)}</tr>"


def _bar(estimate: MeanInterval) -> str:
    """Return the mean as a bar on its whole scale, its interval as a whisker."""
    if math.isnan(estimate.mean):
        return ""
    mean, low, high = (1 + 118 * share for share in (estimate.mean, estimate.low, estimate.high))
    label = f"{percent(estimate.mean)} {interval(estimate)}"
    return (
        f'<svg width="120" height="14" role="img" aria-label="{escape(label)}"><rect x="1" width="118" height="14" fill="var(--line)" '
        f'opacity=".5"/><rect x="1" width="{mean - 1:.1f}" height="14" fill="var(--bar)" opacity=".65"/>'
        f'<path d="M{low:.1f} 7H{high:.1f}M{low:.1f} 3V11M{high:.1f} 3V11" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def _judged(judged: Sequence[Judged]) -> str:
    if not judged:
        return ""
    columns = ("workflow", "picks", "", "of", "selected", "majority", "at random", "oracle", "questions")
    rows = [
        f"<tr><td>{escape(selector.name)}</td><td>{percent(selector.picks.mean)} {interval(selector.picks)}</td><td>{_bar(selector.picks)}</td>"
        f"<td>{selector.decided}</td><td>{percent(selector.selected)}</td><td>{percent(selector.majority)}</td><td>{percent(selector.chance)}</td>"
        f"<td>{percent(selector.oracle)}</td><td>{selector.questions}</td></tr>"
        for selector in judged
    ]
    return (
        "<h2>Selectors</h2><p>Picks: how often the chosen candidate is right, of the questions where right and wrong ones stood side "
        "by side and the selector was asked. Then, of all questions whose candidates a rule could grade: how often the chosen "
        "candidate is right, the most frequent one, one drawn at random, and any (the oracle).</p>"
        + _table(columns, rows)
    )


def _saved(saved: Sequence[Saved]) -> str:
    if not saved:
        return ""
    columns = ("workflow", "shortcut", "taken", "calls saved", "tokens, about", "cost, about")
    rows = [
        f"<tr><td>{escape(shortcut.name)}</td><td>{escape(shortcut.shortcut)}</td><td>{shortcut.times}</td><td>{shortcut.calls}</td>"
        f"<td>{shortcut.tokens:,.0f}</td><td>{'?' if shortcut.cost is None else money(shortcut.cost)}</td></tr>"
        for shortcut in saved
    ]
    return (
        "<h2>What shortcuts saved</h2><p>Tokens and cost are what the calls would have taken, had each been like the mean call of its "
        "run.</p>" + _table(columns, rows)
    )


def _contrasts(contrasts: Sequence[Contrast]) -> str:
    if not contrasts:
        return ""
    shown = "".join(map(_contrast, contrasts[:_MOST]))
    return f"<h2>Where a workflow and the best single model differ</h2>{_of_so_many(len(contrasts))}{shown}"


def _contrast(contrast: Contrast) -> str:
    better = (contrast.mine.score or 0.0) > (contrast.theirs.score or 0.0)
    mark = '<span class="right">better</span>' if better else '<span class="wrong">worse</span>'
    expected = f"<p>Expected: {_cut(contrast.expected)}</p>" if contrast.expected else ""
    return (
        f"<details><summary>{escape(contrast.workflow)} is {mark}: {_cut(contrast.question, 160)}</summary>{expected}"
        f'<div class="pair">{_side(contrast.mine)}{_side(contrast.theirs)}</div></details>'
    )


def _side(result: Result) -> str:
    score = result.score or 0.0
    kind = "right" if score > 0.5 else "wrong"
    return f'<div><b class="{kind}">{escape(result.contestant)}: {score:g}</b><pre>{_cut(result.error or result.text)}</pre></div>'


def _failures(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    rows = [
        f'<tr><td>{escape(failure.contestant)}</td><td class="text">{_cut(failure.question, 160)}</td><td class="text">{_cut(failure.error)}</td></tr>'
        for failure in failures[:_MOST]
    ]
    table = _table(("contestant", "question", "why"), rows)
    return f'<h2>Answers that did not come</h2><p>They count as wrong.</p>{_of_so_many(len(failures))}<div class="failures">{table}</div>'


def _of_so_many(count: int) -> str:
    return f"<p>The first {_MOST} of {count}; results.jsonl has all.</p>" if count > _MOST else ""


def _cut(text: str, longest: int = _LONGEST) -> str:
    return escape(text if len(text) <= longest else text[: longest - 1] + "…")
