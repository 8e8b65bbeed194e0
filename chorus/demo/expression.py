"""Evaluate one arithmetic expression, keeping the steps. A small operator-precedence parser of its
own: `^`, `%`, `!` and `2(3+4)` mean what they mean on paper, and there is no Python behind it to
escape into."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from chorus.demo import arithmetic
from chorus.demo.arithmetic import FUNCTIONS, NotComputable, Number, bounded, is_exact, shown

MAX_LENGTH: Final = 240
_MAX_DEPTH: Final = 30

TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d{1,3}(?![a-z\d]))?|\.\d+)|(?P<name>[a-z]+|π)|(?P<sign>\*\*|//|[-+*/^%!(),°√])",
    re.IGNORECASE | re.ASCII,
)
CONSTANTS: Final[dict[str, Number]] = {"pi": math.pi, "π": math.pi, "e": math.e}

# sign → (how strongly it binds, what it does, how it is written out)
_BINARY: Final[dict[str, tuple[int, Callable[[Number, Number], Number], str]]] = {
    "+": (10, arithmetic.add, "+"),
    "-": (10, arithmetic.subtract, "−"),
    "*": (20, arithmetic.multiply, "×"),
    "/": (20, arithmetic.divide, "÷"),
    "//": (20, arithmetic.floor_divide, "//"),
    "%": (20, arithmetic.modulo, "mod"),
    "mod": (20, arithmetic.modulo, "mod"),
    "^": (40, arithmetic.power, "^"),
    "**": (40, arithmetic.power, "^"),
}
_PREFIX_BINDS: Final = 30


class NotAnExpression(NotComputable):
    """The text is not arithmetic at all."""


@dataclass(frozen=True, slots=True)
class Result:
    """A value and how it came about: one `a + b = c` per operation, in the order they were done."""

    value: Number
    steps: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()

    def __str__(self) -> str:
        return shown(self.value)


@dataclass(frozen=True, slots=True)
class _Operand:
    value: Number
    is_percentage: bool = False

    def shown(self) -> str:
        text = shown(self.value)
        return f"({text})" if self.value < 0 else text


def tokens(text: str) -> list[str]:
    """The tokens of an expression.

    Raises:
        NotAnExpression: something in it is none.
    """
    if len(text) > MAX_LENGTH:
        raise NotAnExpression("the expression is too long")
    parts, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = TOKEN.match(text, at)
        if match is None:
            raise NotAnExpression("this is not an expression")
        parts.append(match.group().lower())
        at = match.end()
    return parts


def evaluate(text: str) -> Result:
    """The value of `text`.

    Raises:
        NotComputable: it is not an expression (`NotAnExpression`), or has no value, or one too
            large.
    """
    reader = _Reader(tokens(text))
    value = reader.expression(0).value
    if reader.peek():
        raise NotAnExpression("this is not an expression")
    return Result(value, tuple(reader.steps), tuple(reader.operations))


@dataclass(slots=True)
class _Reader:
    """Reads tokens from left to right and computes as it goes."""

    left: list[str]
    at: int = 0
    depth: int = 0
    steps: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)

    def peek(self, ahead: int = 0) -> str:
        position = self.at + ahead
        return self.left[position] if position < len(self.left) else ""

    def take(self) -> str:
        token = self.peek()
        self.at += 1
        return token

    def expression(self, binds: int) -> _Operand:
        """Everything that holds together more strongly than `binds`."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise NotComputable("the expression is nested too deeply")
        left = self._prefix()
        while token := self.peek():
            if token in ("!", "°") or self._is_percent_sign(token):
                left = self._postfix(left, self.take())
                continue
            implied = token in ("(", "√") or token in FUNCTIONS or token in CONSTANTS
            sign = "*" if implied else token
            if sign not in _BINARY or _BINARY[sign][0] <= binds:
                break
            if not implied:
                self.take()
            strength = _BINARY[sign][0]
            # powers group to the right
            right = self.expression(strength - 1 if strength == 40 else strength)
            left = self._combine(sign, left, right)
        self.depth -= 1
        return left

    def _prefix(self) -> _Operand:
        token = self.take()
        match token:
            case "+":
                return self.expression(_PREFIX_BINDS)
            case "-":
                operand = self.expression(_PREFIX_BINDS)
                return _Operand(-operand.value, operand.is_percentage)
            case "√":
                return self._call("sqrt", [self.expression(_PREFIX_BINDS).value])
            case "(":
                operand = self.expression(0)
                self._expect(")")
                return _Operand(operand.value)
        if token in CONSTANTS:
            return _Operand(CONSTANTS[token])
        if token in FUNCTIONS:
            self._expect("(")
            arguments = [self.expression(0).value]
            while self.peek() == ",":
                self.take()
                arguments.append(self.expression(0).value)
            self._expect(")")
            return self._call(token, arguments)
        if token[:1].isdigit() or token[:1] == ".":
            return _Operand(bounded(Fraction(token)))
        raise NotAnExpression("this is not an expression")

    def _expect(self, token: str) -> None:
        if self.take() != token:
            raise NotAnExpression("the parentheses do not match")

    def _is_percent_sign(self, sign: str) -> bool:
        """Whether "%" means hundredths here; before a number it is the remainder."""
        following = self.peek(1)
        return sign == "%" and not (following[:1].isdigit() or following[:1] == "." or following == "(")

    def _postfix(self, operand: _Operand, sign: str) -> _Operand:
        if sign == "%":
            return _Operand(arithmetic.divide(operand.value, Fraction(100)), is_percentage=True)
        if sign == "°":
            return _Operand(bounded(arithmetic.multiply(operand.value, math.pi / 180)))
        value = arithmetic.factorial(operand.value)
        self._record("!", f"{operand.shown()}!", value)
        return _Operand(value)

    def _combine(self, sign: str, left: _Operand, right: _Operand) -> _Operand:
        # 80 + 10% is 88, as on a calculator
        if right.is_percentage and not left.is_percentage and sign in "+-":
            share = _Operand(bounded(arithmetic.multiply(left.value, right.value)))
            self._record("*", f"{left.shown()} × {right.shown()}", share.value)
            right = share
        _, compute, written = _BINARY[sign]
        value = bounded(compute(left.value, right.value))
        self._record(sign, f"{left.shown()} {written} {right.shown()}", value)
        return _Operand(value)

    def _call(self, name: str, arguments: list[Number]) -> _Operand:
        function, count = FUNCTIONS[name]
        if count and len(arguments) != count:
            raise NotAnExpression(f"{name} takes {count} number")
        value = bounded(function(arguments))
        self._record(name, f"{name}({', '.join(shown(a) for a in arguments)})", value)
        return _Operand(value)

    def _record(self, operation: str, done: str, value: Number) -> None:
        self.operations.append(operation)
        self.steps.append(f"{done} {'=' if is_exact(value) else '≈'} {shown(value)}")
