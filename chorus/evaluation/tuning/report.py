"""The outcome as one HTML file that needs nothing else; everything in it is escaped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from chorus.evaluation.table import money, percent, seconds
from chorus.evaluation.tuning.scoring import Scored
from chorus.evaluation.tuning.table import HEADINGS, RECOMMENDED, TODAY, Line, Outline
from chorus.tunings import MAX_POINTS

_WIDTH: Final = 620
_HEIGHT: Final = 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 14, 44

_STYLE = """
.tune { --line: #8884; --bar: light-dark(#4a7bd0, #7aa5f0); --good: light-dark(#1d7a3c, #5fc482); --bad: light-dark(#b43030, #f08a8a);
  --quiet: light-dark(#5a5a5a, #a8a8a8) }
.tune li, .tune p { max-width: 60rem }
.tune .wide { overflow-x: auto }
.tune .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem }
.tune table { border-collapse: collapse; font-variant-numeric: tabular-nums }
.tune th, .tune td { padding: .35rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
.tune th:first-child, .tune td:first-child, .tune td:last-child { text-align: left; white-space: normal }
.tune tr.chosen { font-weight: 600 }
.tune svg { width: 100%; height: auto; font: 12px system-ui, sans-serif }
.tune text { fill: var(--quiet) }
"""
_BEGIN: Final = "<!-- chorus tune -->"
_END: Final = "<!-- end of chorus tune -->"
_PAGE: Final = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>Chorus: panels</title><style>:root { color-scheme: light dark } body { font: 15px/1.5 system-ui, sans-serif; "
    "max-width: 84rem; margin: 2rem auto; padding: 0 1rem }</style></head><body></body></html>\n"
)


def with_panels(page: str, outline: Outline) -> str:
    """Return `page`, the report of an evaluation, with a section on panels at its end, in the place
    of an earlier one; a page of its own where `page` is empty."""
    page = page or _PAGE
    if _BEGIN in page and _END in page:
        page = page[: page.index(_BEGIN)] + page[page.rindex(_END) + len(_END) :]
    before, body, after = page.rpartition("</body>")
    return before + _BEGIN + _section(outline) + _END + body + after


def _section(outline: Outline) -> str:
    head = "".join(f"<th>{escape(heading.en)}</th>" for heading in HEADINGS) + "<th></th>"
    rows = "".join(map(_row, outline.lines))
    said = "".join(f"<li>{escape(sentence.en)}</li>" for sentence in outline.sentences)
    by_cost: tuple[str, Callable[[Scored], float], Callable[[float], str]] = (
        ("cost of 1,000 questions", lambda one: 1000 * (one.cost or 0.0), money)
        if outline.is_priced
        else ("calls a question (prices are unknown)", lambda one: one.calls, lambda calls: f"{calls:.1f}")
    )
    plots = _plot(outline, *by_cost) + _plot(outline, "p50: time until half of the answers are there", _p50, seconds)
    return (
        f'<section class="tune"><style>{_STYLE}</style><h2>Panels</h2><p>{escape(outline.title.en)}. Intervals are of 95 %.</p>'
        f'<div class="wide"><table><tr>{head}</tr>{rows}</table></div><ul>{said}</ul>'
        "<h3>The frontier</h3><p>Each grey point is a panel, on the questions that it was chosen on; rows of the table are blue, with "
        "the intervals of their held-out quality; the recommended one is green, what runs today red.</p>"
        f'<div class="plots">{plots}</div></section>'
    )


def _p50(one: Scored) -> float:
    return one.p50


def _row(line: Line) -> str:
    cells = "".join(f"<td>{escape(cell)}</td>" for cell in (*line.cells(), line.mark.en))
    kind = ' class="chosen"' if RECOMMENDED in line.marks else ""
    return f"<tr{kind}>{cells}</tr>"


def _plot(outline: Outline, heading: str, at: Callable[[Scored], float], shown: Callable[[float], str]) -> str:
    """Quality over what `at` gives, as SVG; a logarithmic scale where the largest is over 20 times
    the smallest."""
    rows = [line.row for line in outline.lines]
    points = outline.drawn(MAX_POINTS)
    values = [at(one) for one in (*points, *(row.scored for row in rows))]
    quality = [one.mean for one in points] + [end for row in rows for end in (row.quality.low, row.quality.high)]
    x = _Scale(min(values), max(values), _LEFT, _WIDTH - _RIGHT)
    y = _Scale(min(quality), max(quality), _HEIGHT - _BOTTOM, _TOP, is_linear=True)
    drawn = [
        f'<circle cx="{x(at(one)):.1f}" cy="{y(one.mean):.1f}" r="2" fill="var(--quiet)" opacity=".35"/>'
        for one in points
    ]
    drawn += [_mark(line, x(at(line.row.scored)), y) for line in outline.lines]
    axes = [
        f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{escape(percent(value))}</text>'
        f'<path d="M{_LEFT} {y(value):.1f}H{_WIDTH - _RIGHT}" stroke="var(--line)"/>'
        for value in y.ticks
    ]
    axes += [
        f'<text x="{x(value):.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="{anchor}">{escape(shown(value))}</text>'
        for value, anchor in zip(x.ticks, ("start", "middle", "middle", "middle", "end"), strict=True)
    ]
    axes.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(heading)}</text>')
    label = escape(f"Quality over {heading}")
    return f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(axes + drawn)}</svg>'


class _Scale:
    """From values to places on the paper."""

    def __init__(self, low: float, high: float, start: float, end: float, *, is_linear: bool = False) -> None:
        self._is_log = not is_linear and low > 0 and high > 20 * low
        room = 0.04 * (high - low) or 0.05
        self._low = math.log(low) if self._is_log else low - room
        self._high = math.log(high) if self._is_log else high + room
        self._start, self._end = start, end
        steps = [self._low + (self._high - self._low) * number / 4 for number in range(5)]
        self.ticks: Sequence[float] = [math.exp(step) if self._is_log else max(step, 0.0) for step in steps]

    def __call__(self, value: float) -> float:
        at = math.log(max(value, 1e-12)) if self._is_log else value
        return self._start + (self._end - self._start) * (at - self._low) / (self._high - self._low)


def _mark(line: Line, x: float, y: _Scale) -> str:
    row = line.row
    colour = "--good" if RECOMMENDED in line.marks else "--bad" if TODAY in line.marks else "--bar"
    low, high, mean = (y(value) for value in (row.quality.low, row.quality.high, row.quality.mean))
    title = escape(f"{row.scored.name}: {percent(row.quality.mean)}" + (f" ({line.mark.en})" if line.marks else ""))
    return (
        f'<g><title>{title}</title><path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="var({colour})" stroke-width="1.5"/>'
        f'<circle cx="{x:.1f}" cy="{mean:.1f}" r="5" fill="var({colour})"/></g>'
    )
