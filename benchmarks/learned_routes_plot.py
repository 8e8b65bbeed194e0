"""Curves of lost answers as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 150, 36, 48
_POINTS: Final = 240
_COLORS: Final = ("#b45309", "#57606a", "#7c3aed", "#0f766e", "#1d4ed8")


def plot(lost: Mapping[str, Sequence[float]], zero: str) -> str:
    """Return the curves `lost` beside the one named `zero`: above it is worse, below is better."""
    base = lost[zero]
    length = len(base)
    places = [round(at * (length - 1) / _POINTS) for at in range(_POINTS + 1)]
    shown = {name: [curve[at] - base[at] for at in places] for name, curve in lost.items()}
    low = min(map(min, shown.values()))
    high = max(map(max, shown.values()))
    step = next(step for step in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if (high - low) / step <= 8)
    bottom, top = low // step * step, -(-high // step) * step

    def x(at: float) -> float:
        return _LEFT + at / (length - 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (top - value) / (top - bottom) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        'font-size="13" role="img" aria-label="Cumulative regret of a learned route">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="20" font-weight="bold">Right answers lost, beside the best fixed pair</text>',
    ]
    value = bottom
    while value <= top:
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#e5e7eb"/>'
            f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" fill="#57606a">{value:.0f}</text>'
        )
        value += step
    for quarter in range(5):
        at = quarter * (length - 1) / 4
        text = f"{round(at, -2):,.0f}"
        parts.append(
            f'<text x="{x(at):.1f}" y="{_HEIGHT - _BOTTOM + 20}" text-anchor="middle" fill="#57606a">{text}</text>'
        )
    middle = x((length - 1) / 2)
    parts.append(
        f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" stroke="#9ca3af" '
        'stroke-dasharray="4 4"/>'
        f'<text x="{middle + 6:.1f}" y="{_TOP + 14}" fill="#57606a">two workers change</text>'
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 8}" text-anchor="middle" fill="#57606a">requests</text>'
    )
    taken: list[float] = []
    ordered = sorted(zip(shown, _COLORS, strict=False), key=lambda pair: shown[pair[0]][-1])
    for name, color in ordered:
        points = " ".join(f"{x(at):.1f},{y(v):.1f}" for at, v in zip(places, shown[name], strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        label = y(shown[name][-1]) + 4
        while any(abs(label - other) < 16 for other in taken):
            label -= 4
        taken.append(label)
        parts.append(f'<text x="{_WIDTH - _RIGHT + 8}" y="{label:.1f}" fill="{color}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"
