"""Evaluate one arithmetic expression, keeping the steps. A small operator-precedence parser of its
own: `^`, `%`, `!` and `2(3+4)` mean what they mean on paper, and there is no Python behind it to
escape into."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from chorus.demo.arithmetic import FUNCTIONS, NotComputable, Number, computed, factorial, is_exact, power, shown

MAX_LENGTH: Final = 240
_MAX_DEPTH: Final = 30

NUMBER: Final = r"\d+(?:\.\d+)?(?:e[+-]?\d{1,3}(?![a-z\d]))?|\.\d+"
SIGN: Final = r"\*\*|//|[-+*/^%!(),°√]"
_TOKEN = re.compile(rf"{NUMBER}|[a-z]+|π|{SIGN}", re.IGNORECASE | re.ASCII)
CONSTANTS: Final[dict[str, Number]] = {"pi": math.pi, "π": math.pi, "e": math.e}

_POWER_BINDS: Final = 40
_PREFIX_BINDS: Final = 30
# sign → (how strongly it binds, what it does, how it is written out)
_BINARY: Final[dict[str, tuple[int, Callable[[Number, Number], Number], str]]] = {
    "+": (10, operator.add, "+"),
    "-": (10, operator.sub, "−"),
    "*": (20, operator.mul, "×"),
    "/": (20, operator.truediv, "÷"),
    "//": (20, operator.floordiv, "//"),
    "%": (20, operator.mod, "mod"),
    "mod": (20, operator.mod, "mod"),
    "^": (_POWER_BINDS, power, "^"),
    "**": (_POWER_BINDS, power, "^"),
}


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

    def __str__(self) -> str:
        return f"({shown(self.value)})" if self.value < 0 else shown(self.value)


def evaluate(text: str) -> Result:
    """The value of `text`.

    Raises:
        NotComputable: it is not an expression (`NotAnExpression`), or has no value, or one too
            large.
    """
    if len(text) > MAX_LENGTH or _TOKEN.sub("", text).strip():
        raise NotAnExpression("this is not an expression")
    reader = _Reader(_TOKEN.findall(text.lower()))
    value = reader.expression(0).value
    if reader.peek():
        raise NotAnExpression("this is not an expression")
    return Result(value, tuple(reader.steps), tuple(reader.operations))


@dataclass(slots=True)
class _Reader:
    """Reads pieces from left to right and computes as it goes."""

    pieces: list[str]
    at: int = 0
    depth: int = 0
    steps: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)

    def peek(self, ahead: int = 0) -> str:
        position = self.at + ahead
        return self.pieces[position] if position < len(self.pieces) else ""

    def take(self, expected: str = "") -> str:
        piece = self.peek()
        if expected and piece != expected:
            raise NotAnExpression("the parentheses do not match")
        self.at += 1
        return piece

    def expression(self, binds: int) -> _Operand:
        """Everything that holds together more strongly than `binds`."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise NotComputable("the expression is nested too deeply")
        left = self._prefix()
        while piece := self.peek():
            if piece in ("!", "°") or (piece == "%" and not _begins_a_value(self.peek(1))):
                left = self._postfix(left, self.take())
                continue
            implied = piece in ("(", "√") or piece in FUNCTIONS or piece in CONSTANTS
            sign = "*" if implied else piece
            strength = _BINARY[sign][0] if sign in _BINARY else 0
            if strength <= binds:
                break
            if not implied:
                self.take()
            # powers group to the right
            left = self._combine(sign, left, self.expression(strength - (strength == _POWER_BINDS)))
        self.depth -= 1
        return left

    def _prefix(self) -> _Operand:
        piece = self.take()
        if piece == "+":
            return self.expression(_PREFIX_BINDS)
        if piece == "-":
            operand = self.expression(_PREFIX_BINDS)
            return _Operand(-operand.value, operand.is_percentage)
        if piece == "√":
            return self._call("sqrt", [self.expression(_PREFIX_BINDS).value])
        if piece == "(":
            operand = self.expression(0)
            self.take(")")
            return _Operand(operand.value)
        if piece in CONSTANTS:
            return _Operand(CONSTANTS[piece])
        if piece in FUNCTIONS:
            self.take("(")
            arguments = [self.expression(0).value]
            while self.peek() == ",":
                self.take()
                arguments.append(self.expression(0).value)
            self.take(")")
            return self._call(piece, arguments)
        if _begins_a_value(piece):
            return _Operand(computed(lambda: Fraction(piece)))
        raise NotAnExpression("this is not an expression")

    def _postfix(self, operand: _Operand, sign: str) -> _Operand:
        if sign == "%":
            return _Operand(computed(operator.truediv, operand.value, Fraction(100)), is_percentage=True)
        if sign == "°":
            return _Operand(computed(operator.mul, operand.value, math.pi / 180))
        return self._done("!", f"{operand}!", computed(factorial, operand.value))

    def _combine(self, sign: str, left: _Operand, right: _Operand) -> _Operand:
        # 80 + 10% is 88, as on a calculator
        if right.is_percentage and not left.is_percentage and sign in "+-":
            right = self._done("*", f"{left} × {right}", computed(operator.mul, left.value, right.value))
        _, function, written = _BINARY[sign]
        return self._done(sign, f"{left} {written} {right}", computed(function, left.value, right.value))

    def _call(self, name: str, arguments: list[Number]) -> _Operand:
        function, count = FUNCTIONS[name]
        if count and len(arguments) != count:
            raise NotAnExpression(f"{name} takes {count} number")
        return self._done(name, f"{name}({', '.join(map(shown, arguments))})", computed(function, *arguments))

    def _done(self, operation: str, written: str, value: Number) -> _Operand:
        self.operations.append(operation)
        self.steps.append(f"{written} {'=' if is_exact(value) else '≈'} {shown(value)}")
        return _Operand(value)


def _begins_a_value(piece: str) -> bool:
    """Whether a number or a bracket begins: "%" before it is the remainder, else hundredths."""
    return piece[:1].isdigit() or piece[:1] in (".", "(")
