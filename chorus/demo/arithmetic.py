"""Exact arithmetic with its steps. Python's own parser reads the expression; what is not a number,
one of six operators or `sqrt` is refused, and so is what grows too large."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

MAX_LENGTH: Final = 120
"""Characters of an expression. They bound its depth as well: one level takes a character."""
MAX_BITS: Final = 1000
"""Largest numerator or denominator: about 300 digits, which a float can still hold."""
_READ: Final = 4000
_ALLOWED = re.compile(r"(?:[\d\s.+\-*/%()]|sqrt\()+", re.ASCII)
_NUMBER = re.compile(r"(?<![\w.])[-−]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d{1,3})?")


class NotComputable(ValueError):
    """The text is no expression, has no value, or one that is too large."""


@dataclass(frozen=True, slots=True)
class Calculation:
    """A value and how it came about: one `a + b = c` for each operation, in the order they were
    done."""

    value: Fraction
    steps: tuple[str, ...]


def calculate(expression: str) -> Calculation:
    """Work out an expression in Python's notation.

    Raises:
        NotComputable: it is no expression, longer than `MAX_LENGTH`, or without a value.
    """
    if len(expression) > MAX_LENGTH or not _ALLOWED.fullmatch(expression):
        raise NotComputable
    steps: list[str] = []
    try:
        value = _value(ast.parse(expression.strip(), mode="eval").body, steps)
    except (SyntaxError, ZeroDivisionError, RecursionError, MemoryError):
        raise NotComputable from None
    return Calculation(value, tuple(steps))


def _value(node: ast.expr, steps: list[str]) -> Fraction:
    """Return the value of a part of an expression, and append the steps that lead to it."""
    match node:
        case ast.Constant(value=int() | float() as number):
            return Fraction(repr(number))  # 0.1 is a tenth, not the nearest float
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, steps)
        case ast.BinOp(left, sign, right) if type(sign) in _OPERATORS:
            function, written = _OPERATORS[type(sign)]
            operands = [_value(left, steps), _value(right, steps)]
        case ast.Call(ast.Name("sqrt"), [argument], []):
            function, written = _root, "sqrt({})"
            operands = [_value(argument, steps)]
        case _:
            raise NotComputable
    value = function(*operands)
    if _bits(value) > MAX_BITS:
        raise NotComputable
    written = written.format(*(f"({shown(one)})" if one < 0 else shown(one) for one in operands))
    steps.append(f"{written} {'=' if is_exact(value) else '≈'} {shown(value)}")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1 or (_bits(base) > 1 and _bits(base) * abs(exponent) > MAX_BITS):
        raise NotComputable
    return Fraction(base**exponent.numerator)


def _root(value: Fraction) -> Fraction:
    if value < 0:
        raise NotComputable
    return Fraction(repr(math.sqrt(value)))


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


_OPERATORS: Final[dict[type[ast.operator], tuple[Callable[..., Fraction], str]]] = {
    ast.Add: (operator.add, "{} + {}"),
    ast.Sub: (operator.sub, "{} − {}"),
    ast.Mult: (operator.mul, "{} × {}"),
    ast.Div: (operator.truediv, "{} ÷ {}"),
    ast.Mod: (operator.mod, "{} mod {}"),
    ast.Pow: (_power, "{} ^ {}"),
}
"""Each operator with what it does and how a step with it is written."""


def shown(value: Fraction) -> str:
    """Write `value` for a reader: a whole number in full, others to ten digits."""
    is_short = value.denominator == 1 and abs(value) < 10**30
    return str(value) if is_short else f"{float(value):.10g}"


def is_exact(value: Fraction) -> bool:
    """Whether `shown` loses nothing."""
    return Fraction(shown(value)) == value


def numbers(text: str) -> list[float]:
    """Return the numbers in the beginning of an answer, in order."""
    return [float(number.replace(",", "").replace("−", "-")) for number in _NUMBER.findall(text[:_READ])]
