"""Maximum likelihood by Newton's method, and small systems of linear equations. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

Vector = list[float]
Matrix = list[list[float]]

_STEPS: Final = 25
_LONGEST_STEP: Final = 2.0
"""In log odds. A full step from far away may overshoot for ever."""
_NEAR: Final = 1e-8
_SMALLEST_PIVOT: Final = 1e-9


def maximum(derivatives: Callable[[Vector], tuple[Vector, Matrix]], start: Vector) -> Vector | None:
    """Return where a concave log likelihood is largest, from `start`. `derivatives` gives its slope
    and its negative curvature. None where the data do not separate the effects."""
    effects = start
    for _ in range(_STEPS):
        slope, curve = derivatives(effects)
        step = solved(curve, slope)
        if step is None:
            return None
        longest = max(map(abs, step), default=0.0)
        scale = min(1.0, _LONGEST_STEP / longest) if longest else 1.0
        effects = [effect + scale * change for effect, change in zip(effects, step, strict=True)]
        if longest < _NEAR:
            break
    return effects


def solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> Vector | None:
    """Return the solution of a small system of linear equations; None where it has no single
    one."""
    size = len(right)
    lines = [[*line, value] for line, value in zip(matrix, right, strict=True)]
    largest = max((abs(value) for line in matrix for value in line), default=0.0)
    for column in range(size):
        pivot = max(range(column, size), key=lambda line: abs(lines[line][column]))
        if abs(lines[pivot][column]) <= _SMALLEST_PIVOT * largest:
            return None
        lines[column], lines[pivot] = lines[pivot], lines[column]
        for line in range(size):
            if line != column:
                factor = lines[line][column] / lines[column][column]
                lines[line] = [a - factor * b for a, b in zip(lines[line], lines[column], strict=True)]
    return [lines[place][size] / lines[place][place] for place in range(size)]


def unit(size: int, place: int) -> Vector:
    """Return the vector that is 1 at `place` and 0 elsewhere."""
    return [float(number == place) for number in range(size)]
