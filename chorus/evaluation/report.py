"""The summary as one HTML file that needs nothing else; everything in it is escaped."""

from __future__ import annotations

import math
from html import escape

from chorus.evaluation.statistics import Estimate
from chorus.evaluation.summary import Contrast, Row, Summary
from chorus.evaluation.table import HEADINGS, cells, percent

_LONGEST = 600
_MOST_CONTRASTS = 100

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #4a7bd0; --good: #2a8a4a; --bad: #c04040 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
tr.workflow { font-weight: 600 }
svg { vertical-align: middle }
details { border-bottom: 1px solid var(--line); padding: .4rem 0 }
pre { white-space: pre-wrap; margin: .3rem 0; font: inherit }
.right { color: var(--good) } .wrong { color: var(--bad) }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem }
"""


def html(summary: Summary, title: str) -> str:
    """The whole page; the same for the same summary."""
    head = "".join(f"<th>{escape(each)}</th>" for each in (*HEADINGS[:2], "", *HEADINGS[2:]))
    rows = "".join(map(_row, summary.rows))
    missing = "" if summary.complete else " Not every contestant has answered every question yet."
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<h1>{escape(title)}</h1><p>{summary.questions} questions.{missing} Intervals hold 95 % (Wilson's; the bootstrap's for "
        f"differences, which are paired). Times are of whole answers; tokens and calls are means per question.</p>"
        f"<table><tr>{head}</tr>{rows}</table>{_selectors(summary)}{_shortcuts(summary)}{_contrasts(summary)}</html>\n"
    )


def _row(row: Row) -> str:
    first, quality, *rest = (f"<td>{escape(each)}</td>" for each in cells(row))
    kind = ' class="workflow"' if row.is_workflow else ""
    return f"<tr{kind}>{first}{quality}<td>{_bar(row.quality)}</td>{''.join(rest)}</tr>"


def _bar(estimate: Estimate) -> str:
    """The mean as a bar, its interval as a line."""
    if math.isnan(estimate.mean):
        return ""
    mean, low, high = (120 * each for each in (estimate.mean, estimate.low, estimate.high))
    return (
        f'<svg width="120" height="14" role="img" aria-label="{escape(percent(estimate.mean))}">'
        f'<rect width="{mean:.1f}" height="14" fill="var(--bar)" opacity=".6"/>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="7" y2="7" stroke="currentColor" stroke-width="2"/></svg>'
    )


def _selectors(summary: Summary) -> str:
    if not summary.judged:
        return ""
    head = "".join(
        f"<th>{each}</th>" for each in ("workflow", "oracle", "selected", "majority", "at random", "picks", "of")
    )
    rows = "".join(
        f"<tr><td>{escape(each.name)}</td><td>{percent(each.oracle)}</td><td>{percent(each.selected)}</td>"
        f"<td>{percent(each.majority)}</td><td>{percent(each.chance)}</td><td>{percent(each.picks.mean)} {_bar(each.picks)}</td>"
        f"<td>{each.decided}</td></tr>"
        for each in summary.judged
    )
    return (
        f"<h2>Selectors</h2><p>Oracle: any candidate is right. Picks: how often the chosen one is right where right and wrong ones "
        f"stood side by side.</p><table><tr>{head}</tr>{rows}</table>"
    )


def _shortcuts(summary: Summary) -> str:
    if not summary.saved:
        return ""
    head = "".join(
        f"<th>{each}</th>" for each in ("workflow", "shortcut", "taken", "calls saved", "tokens saved, about")
    )
    rows = "".join(
        f"<tr><td>{escape(each.name)}</td><td>{escape(each.shortcut)}</td><td>{each.times}</td><td>{each.calls}</td>"
        f"<td>{each.tokens:,.0f}</td></tr>"
        for each in summary.saved
    )
    return f"<h2>Shortcuts</h2><table><tr>{head}</tr>{rows}</table>"


def _contrasts(summary: Summary) -> str:
    if not summary.contrasts:
        return ""
    told = "".join(map(_contrast, summary.contrasts[:_MOST_CONTRASTS]))
    return f"<h2>Where a workflow and the best single model differ</h2>{told}"


def _contrast(contrast: Contrast) -> str:
    sides = "".join(
        f'<div><b class="{"right" if (side.score or 0) > 0.5 else "wrong"}">{escape(side.contestant)}: {side.score:g}</b>'
        f"<pre>{_cut(side.error or side.text)}</pre></div>"
        for side in (contrast.mine, contrast.theirs)
    )
    return f'<details><summary>{escape(contrast.workflow)}: {_cut(contrast.question, 160)}</summary><div class="pair">{sides}</div></details>'


def _cut(text: str, longest: int = _LONGEST) -> str:
    return escape(text if len(text) <= longest else text[: longest - 1] + "…")
