"""The questions: one JSON object a line.

    {"question": "What is 17 * 23?", "answer": "391", "check": "numeric"}

`question` is a string, or `messages` a conversation; `id` is the line's number unless it is given.
`check` is `exact` (the default where there is an `answer`), `numeric` (with `tolerance`, 0 unless
given), `regex`, `json`, or `judge` (the default without one).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from chorus import wirejson
from chorus.errors import ConfigError, Problem
from chorus.types import Message
from chorus.wirejson import JSON

Check = Literal["exact", "numeric", "regex", "json", "judge"]
_KEYS = ("id", "question", "messages", "answer", "check", "tolerance")


@dataclass(frozen=True, slots=True)
class Question:
    """One question and how its answers are graded."""

    id: str
    messages: tuple[Message, ...]
    check: Check
    answer: JSON = None
    tolerance: float = 0.0


def load(path: Path) -> list[Question]:
    """Return the questions in the file at `path`.

    Raises:
        ConfigError: it cannot be read, or lines of it are wrong: all of them.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem("", f"{path} cannot be read: {error}")]) from error
    return parse(text, str(path))


def parse(text: str, source: str = "") -> list[Question]:
    """Return the questions in `text`. Raises as `load` does; errors name `source`."""
    problems: list[Problem] = []
    questions: list[Question] = []
    seen: set[str] = set()
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            question = _read(line, number)
            if question.id in seen:
                raise ValueError(f"the id {question.id!r} stands in an earlier line, too")
            seen.add(question.id)
            questions.append(question)
        except ValueError as problem:
            problems.append(Problem("question", str(problem), number))
    if not questions and not problems:
        problems.append(Problem("question", "the file holds none"))
    if problems:
        raise ConfigError(problems, source=source)
    return questions


def _read(line: str, number: int) -> Question:
    row = wirejson.decode(line)
    if not isinstance(row, dict):
        raise ValueError("expected a JSON object")
    for key in row:
        if key not in _KEYS:
            raise ValueError(f"unknown key `{key}`; known keys: {', '.join(_KEYS)}")
    answer = row.get("answer")
    check = row.get("check", "judge" if answer is None else "exact")
    if check not in get_args(Check):
        raise ValueError(f"expected `check` to be one of {', '.join(get_args(Check))}")
    tolerance = row.get("tolerance", 0)
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or not 0 <= tolerance < math.inf:
        raise ValueError("expected `tolerance` to be a number from 0")
    _check_answer(check, answer)
    named = row.get("id", number)
    if isinstance(named, bool) or not isinstance(named, str | int):
        raise ValueError("expected `id` to be a text or a whole number")
    return Question(str(named), _messages(row), check, answer, float(tolerance))


def _check_answer(check: Check, answer: JSON) -> None:
    """Raises ValueError where answers could not be graded by this one."""
    is_plain = isinstance(answer, str | int | float) and not isinstance(answer, bool)
    if check in ("exact", "regex") and not is_plain:
        raise ValueError(f"a question with the check `{check}` needs an `answer`, a text")
    if check == "regex":
        try:
            re.compile(str(answer))
        except re.error as error:
            raise ValueError(f"`answer` is no regular expression: {error}") from None
    if check == "numeric" and not (is_plain and _is_number(answer)):
        raise ValueError("a question with the check `numeric` needs an `answer`, a number")
    if check == "json" and answer is None:
        raise ValueError("a question with the check `json` needs an `answer`")


def _is_number(answer: str | float) -> bool:
    try:
        return math.isfinite(float(answer))
    except (ValueError, OverflowError):
        return False


def _messages(row: Mapping[str, JSON]) -> tuple[Message, ...]:
    question, turns = row.get("question"), row.get("messages")
    if isinstance(question, str) and question.strip() and turns is None:
        return (Message("user", question),)
    if question is not None or not isinstance(turns, list) or not turns:
        raise ValueError("expected `question`, a text, or `messages`, a list")
    messages = []
    for turn in turns:
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, dict) else (None, None)
        if role not in ("system", "user", "assistant") or not isinstance(content, str):
            raise ValueError("expected each of `messages` to have a `role` and a `content`, a text")
        messages.append(Message(role, content))
    return tuple(messages)
