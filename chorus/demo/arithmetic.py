"""Exact and bounded arithmetic: fractions where the result is one, floats where it is not, and
nothing so large that it takes noticeable time or memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Context, Decimal
from fractions import Fraction
from typing import Final

Number = Fraction | float

MAX_BITS: Final = 4096
"""Largest numerator or denominator: 1233 digits, which Python prints at once."""
_MOST_DIGITS: Final = 30
_MOST_DECIMALS: Final = 12
_LARGEST_FACTORIAL: Final = 300
_TOO_LARGE: Final = "the number is too large"


class NotComputable(ValueError):
    """There is no result; the message says why, in a few words that fit behind a colon."""


def computed(function: Callable[..., Number | int], *values: Number) -> Number:
    """Return what `function` makes of `values`.

    Raises:
        NotComputable: that is nothing, or too large to go on with.
    """
    try:
        value = function(*values)
    except NotComputable:
        raise
    except ZeroDivisionError:
        raise NotComputable("division by zero") from None
    except OverflowError:
        raise NotComputable(_TOO_LARGE) from None
    except ValueError:
        raise NotComputable("the function has no value there") from None
    if not math.isfinite(value) if isinstance(value, float) else _bits(Fraction(value)) > MAX_BITS:
        raise NotComputable(_TOO_LARGE)
    return Fraction(value) if isinstance(value, int) else value


def power(a: Number, b: Number) -> Number:
    """`a` to the power of `b`, exact where `b` is whole or the root comes out even."""
    if isinstance(a, Fraction) and isinstance(b, Fraction) and b.denominator == 1:
        if _bits(a) > 1 and _bits(a) * abs(b.numerator) > MAX_BITS:
            raise NotComputable(_TOO_LARGE)
        return Fraction(a**b.numerator)
    if a < 0:
        raise NotComputable("a negative number has no such root among the real numbers")
    rough = math.pow(a, b)
    if isinstance(a, Fraction) and isinstance(b, Fraction) and 0 < b < 64 and b.denominator < 12 and rough < 1e12:
        exact = Fraction(rough).limit_denominator(1000)
        if exact**b.denominator == a**b.numerator:
            return exact
    return rough


def factorial(a: Number) -> int:
    """The factorial of a whole number."""
    if a != int(a) or a < 0:
        raise NotComputable("only whole numbers have a factorial")
    if a > _LARGEST_FACTORIAL:
        raise NotComputable(_TOO_LARGE)
    return math.factorial(int(a))


FUNCTIONS: Final[dict[str, tuple[Callable[..., Number | int], int]]] = {
    "sqrt": (lambda a: power(a, Fraction(1, 2)), 1),
    "cbrt": (lambda a: power(a, Fraction(1, 3)), 1),
    "abs": (abs, 1),
    "round": (round, 1),
    "floor": (math.floor, 1),
    "ceil": (math.ceil, 1),
    "factorial": (factorial, 1),
    "sin": (math.sin, 1),
    "cos": (math.cos, 1),
    "tan": (math.tan, 1),
    "exp": (math.exp, 1),
    "ln": (math.log, 1),
    "log": (math.log10, 1),
    "min": (lambda *values: min(values), 0),
    "max": (lambda *values: max(values), 0),
    "sum": (lambda *values: sum(values), 0),
    "product": (lambda *values: math.prod(values), 0),
    "mean": (lambda *values: sum(values) / len(values), 0),
}
"""Name to function and its number of arguments; 0 is any number of them, at least one."""


def shown(value: Number) -> str:
    """`value` for a reader: exact where that is short, else about ten digits (see `is_exact`)."""
    if isinstance(value, float):
        return f"{value:.10g}"
    digits = Context(_MOST_DIGITS + _MOST_DECIMALS).divide(Decimal(value.numerator), Decimal(value.denominator))
    if is_exact(value):
        return f"{digits:f}"
    try:
        return f"{float(value):.10g}"
    except OverflowError:
        return f"{digits:.9e}"


def is_exact(value: Number) -> bool:
    """Whether `shown` is exact."""
    if isinstance(value, float):
        return False
    return 10**_MOST_DECIMALS % value.denominator == 0 and abs(value) < 10**_MOST_DIGITS


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())
