"""Exact and bounded arithmetic: fractions where the result is one, floats where it is not, and
nothing so large that it takes noticeable time or memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Final

Number = Fraction | float

MAX_BITS: Final = 4096
"""Largest numerator or denominator: 1233 digits, which Python prints at once."""
_MOST_DIGITS: Final = 30
_LARGEST_FACTORIAL: Final = 300


class NotComputable(ValueError):
    """There is no result; the message says why, in a few words that fit behind a colon."""


def bounded(value: Number) -> Number:
    """`value`, if it is one we can go on with."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotComputable("the number is too large")
    elif max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise NotComputable("the number is too large")
    return value


def as_float(value: Number) -> float:
    try:
        return float(value)
    except OverflowError:
        raise NotComputable("the number is too large") from None


def add(a: Number, b: Number) -> Number:
    return a + b if _exact(a, b) else as_float(a) + as_float(b)


def subtract(a: Number, b: Number) -> Number:
    return a - b if _exact(a, b) else as_float(a) - as_float(b)


def multiply(a: Number, b: Number) -> Number:
    return a * b if _exact(a, b) else as_float(a) * as_float(b)


def divide(a: Number, b: Number) -> Number:
    _refuse_zero(b)
    return a / b if _exact(a, b) else as_float(a) / as_float(b)


def floor_divide(a: Number, b: Number) -> Number:
    return Fraction(math.floor(bounded(divide(a, b))))


def modulo(a: Number, b: Number) -> Number:
    _refuse_zero(b)
    return a % b if _exact(a, b) else as_float(a) % as_float(b)


def power(a: Number, b: Number) -> Number:
    """`a` to the power of `b`, exact where `b` is whole or the root comes out even."""
    if a == 0 and b < 0:
        raise NotComputable("division by zero")
    if isinstance(a, Fraction) and isinstance(b, Fraction) and b.denominator == 1:
        size = max(a.numerator.bit_length(), a.denominator.bit_length())
        if size > 1 and size * abs(b.numerator) > MAX_BITS:
            raise NotComputable("the number is too large")
        return Fraction(a**b.numerator)
    if a < 0:
        raise NotComputable("a negative number has no such root among the real numbers")
    try:
        rough = math.pow(as_float(a), as_float(b))
    except (OverflowError, ValueError):
        raise NotComputable("the number is too large") from None
    return _even_root(a, b, rough)


def square_root(a: Number) -> Number:
    return power(a, Fraction(1, 2))


def factorial(a: Number) -> Number:
    if a != int(a) or a < 0:
        raise NotComputable("only whole numbers have a factorial")
    if a > _LARGEST_FACTORIAL:
        raise NotComputable("the number is too large")
    return Fraction(math.factorial(int(a)))


def product(values: Sequence[Number]) -> Number:
    result: Number = Fraction(1)
    for value in values:
        result = bounded(multiply(result, value))
    return result


def total(values: Sequence[Number]) -> Number:
    result: Number = Fraction(0)
    for value in values:
        result = bounded(add(result, value))
    return result


def _real(function: Callable[[float], float]) -> Callable[[Sequence[Number]], Number]:
    def apply(values: Sequence[Number]) -> Number:
        try:
            return function(as_float(values[0]))
        except OverflowError:
            raise NotComputable("the number is too large") from None
        except ValueError:
            raise NotComputable("the function has no value there") from None

    return apply


FUNCTIONS: Final[dict[str, tuple[Callable[[Sequence[Number]], Number], int]]] = {
    "sqrt": (lambda v: square_root(v[0]), 1),
    "cbrt": (lambda v: power(v[0], Fraction(1, 3)), 1),
    "abs": (lambda v: v[0] if v[0] >= 0 else -v[0], 1),
    "round": (lambda v: Fraction(round(v[0])), 1),
    "floor": (lambda v: Fraction(math.floor(v[0])), 1),
    "ceil": (lambda v: Fraction(math.ceil(v[0])), 1),
    "factorial": (lambda v: factorial(v[0]), 1),
    "sin": (_real(math.sin), 1),
    "cos": (_real(math.cos), 1),
    "tan": (_real(math.tan), 1),
    "exp": (_real(math.exp), 1),
    "ln": (_real(math.log), 1),
    "log": (_real(math.log10), 1),
    "min": (min, 0),
    "max": (max, 0),
    "sum": (total, 0),
    "product": (product, 0),
    "mean": (lambda v: divide(total(v), Fraction(len(v))), 0),
}
"""Name to function and its number of arguments; 0 is any number of them, at least one."""


def shown(value: Number) -> str:
    """`value` for a reader: exact where that is short, else about ten digits (see `is_exact`)."""
    if isinstance(value, float):
        return f"{value:.10g}"
    if value.denominator == 1:
        return _whole(value.numerator)
    if _decimals(value) is not None:
        return _finite(value)
    try:
        return f"{float(value):.10g}"
    except OverflowError:
        return _whole(round(value))


def is_exact(value: Number) -> bool:
    """Whether `shown` is exact."""
    if isinstance(value, float):
        return False
    if value.denominator == 1:
        return len(str(abs(value.numerator))) <= _MOST_DIGITS
    return _decimals(value) is not None


def _exact(a: Number, b: Number) -> bool:
    return isinstance(a, Fraction) and isinstance(b, Fraction)


def _refuse_zero(b: Number) -> None:
    if b == 0:
        raise NotComputable("division by zero")


def _even_root(a: Number, b: Number, rough: float) -> Number:
    """`rough`, or the exact root when there is one: sqrt(144) is 12 and sqrt(1/4) is 1/2."""
    if not (isinstance(a, Fraction) and isinstance(b, Fraction) and 0 < b < 64 and b.denominator < 12):
        return rough
    if rough > 1e12:
        return rough
    exact = Fraction(rough).limit_denominator(1000)
    return exact if exact**b.denominator == a**b.numerator else rough


def _whole(number: int) -> str:
    digits = str(abs(number))
    if len(digits) > _MOST_DIGITS:
        digits = f"{digits[0]}.{digits[1:10]}e+{len(digits) - 1}"
    return f"-{digits}" if number < 0 else digits


def _decimals(value: Fraction) -> int | None:
    """How many decimals the exact value has; None when they never end or are too many to show."""
    return next((n for n in range(1, 13) if 10**n % value.denominator == 0), None)


def _finite(value: Fraction) -> str:
    places = _decimals(value) or 0
    whole, rest = divmod(abs(value.numerator) * 10**places // value.denominator, 10**places)
    return f"{'-' if value < 0 else ''}{_whole(whole)}.{rest:0{places}d}"
