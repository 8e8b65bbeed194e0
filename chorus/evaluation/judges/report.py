"""The figures of judges as a section of the report; everything in it is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from chorus.evaluation.judges.advice import advice
from chorus.evaluation.judges.summary import Bias, Judges
from chorus.evaluation.judges.table import FIGURES, cells
from chorus.evaluation.statistics import MeanInterval

_SCALE, _ROW, _LEFT, _TOP = 150, 26, 190, 22
"""Pixels: the width of each scale from 0 to 100 %, the height of a row, the room for names, and
for headings."""


def judges_section(judges: Judges) -> str:
    """Return the section; the same for the same figures."""
    missing = "" if judges.complete else '<p class="unfinished">Not every judge has compared every pair yet.</p>'
    said = "".join(f"<li>{escape(line.en)}</li>" for line in advice(judges))
    rows = [row for row in judges.rows if row.pairs]
    return (
        f"<h2>How biased the judges are</h2>{missing}<p>{judges.pairs} pairs of stored answers to the same question, half of them "
        "a right and a wrong one as far as there are such, in both orders: two calls of each judge for each pair, as a selector "
        "would ask it. Fair would be 100 % of order kept, and 50 % for the first place, for an answer that is twice as long, all "
        "else equal, and for one of its own family. Points are those of its scores (0 to 10). "
        "Intervals are of 95 % and treat a question, not a pair, as one observation (docs/EVALUATION.md).</p>"
        f"<ul>{said}</ul>" + ((_plot(rows) + _table(rows)) if rows else "")
    )


def _table(rows: Sequence[Bias]) -> str:
    """Return a row for each figure and a column for each judge."""
    head = "".join(f"<th>{escape(row.name)}</th>" for row in rows)
    lines = []
    for label, *shown in zip(FIGURES, *map(cells, rows), strict=True):
        lines.append(
            f"<tr><td>{escape(label.en)}</td>" + "".join(f"<td>{escape(cell)}</td>" for cell in shown) + "</tr>"
        )
    return f'<div class="wide"><table class="judges"><tr><th></th>{head}</tr>{"".join(lines)}</table></div>'


def _plot(rows: Sequence[Bias]) -> str:
    """Return each share with its interval on a scale from 0 to 100 %, with a line at a half."""
    scales = (
        ("first place", [row.first_place for row in rows]),
        ("twice as long", [row.twice_as_long for row in rows]),
        ("own family", [row.own_family for row in rows]),
        ("right, 2 passes", [row.two_passes for row in rows]),
    )
    width, height = _LEFT + len(scales) * (_SCALE + 20), _TOP + _ROW * len(rows) + 6
    parts = [f'<text x="0" y="{_TOP + _ROW * place + 17}">{_cut(row.name)}</text>' for place, row in enumerate(rows)]
    for number, (name, shares) in enumerate(scales):
        left = _LEFT + number * (_SCALE + 20)
        middle = left + _SCALE / 2
        parts.append(f'<text x="{middle:.0f}" y="13" text-anchor="middle">{escape(name)}</text>')
        parts.append(f'<path d="M{middle:.1f} {_TOP}V{height - 6}" stroke="var(--quiet)" stroke-dasharray="3 3"/>')
        parts += [_mark(share, left, _TOP + _ROW * place + 13) for place, share in enumerate(shares)]
    return (
        f'<div class="wide"><svg class="judges" width="{width}" height="{height}" role="img" font-size="13" fill="currentColor" '
        f'aria-label="Shares of each judge with their intervals; the table below has the numbers">{"".join(parts)}</svg></div>'
    )


def _mark(share: MeanInterval, left: float, y: float) -> str:
    if math.isnan(share.mean):
        return ""
    mean, low, high = (left + _SCALE * value for value in (share.mean, max(share.low, 0.0), min(share.high, 1.0)))
    return (
        f'<rect x="{left}" y="{y - 5}" width="{_SCALE}" height="10" fill="var(--line)" opacity=".5"/>'
        f'<path d="M{low:.1f} {y}H{high:.1f}M{low:.1f} {y - 4}V{y + 4}M{high:.1f} {y - 4}V{y + 4}" stroke="var(--bar)" '
        f'stroke-width="1.5"/><circle cx="{mean:.1f}" cy="{y}" r="4" fill="var(--bar)"/>'
    )


def _cut(name: str) -> str:
    return escape(name if len(name) <= 26 else name[:25] + "…")
