"""Whether an answer is right, where a rule can tell. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chorus import wirejson
from chorus.evaluation.dataset import Question
from chorus.types import Answer
from chorus.wirejson import JSON
from chorus.workflow.judging.agreement import folded, key
from chorus.workflow.judging.fence import unfenced

_DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?"
_NUMBER = re.compile(rf"(?<![A-Za-z0-9_.,)])[-+−]?(?:{_DIGITS}|\.\d+)|{_DIGITS}")
"""A number; a dash behind a word or a digit is none of its signs: the last number of `3-5` is 5,
that of `GPT-4` is 4."""
_WRAPPERS = tuple((sign, sign) for sign in ("```", "***", "**", "__", "*", "_", "`", '"', "'"))
_WRAPPERS += (("“", "”"), ("‘", "’"), ("「", "」"))
_MAX_PEELINGS = 100
_ENDS = ".,;:!?。，；：！？"


def is_right(question: Question, text: str) -> bool | None:
    """Return whether `text` answers `question`; None where only a judge can tell.

    `exact`: Unicode form (NFKC), case, white space, punctuation at the end and quotes or emphasis
    around the whole do not count; nothing inside does, so that `C` is not `C#`. `numeric` takes the
    last number in the text, since models conclude with it. `json` compares values, whatever the
    layout and the fence around it.
    """
    match question.check:
        case "exact":
            expected = folded(str(question.answer))
            return not {expected, _unended(expected)}.isdisjoint(_peelings(text))
        case "numeric":
            number = last_number(text)
            return number is not None and abs(number - float(question.answer)) <= question.tolerance
        case "regex":
            return re.search(str(question.answer), text) is not None
        case "json":
            try:
                return _same(_json(text), question.answer)
            except ValueError:
                return False
    return None


def gist(question: Question, text: str) -> str:
    """Return the equality key of an answer, for a vote: answers with the same key count as the same
    answer. It is the number that the answer concludes with, or the whole text as agreement in a
    workflow compares it."""
    if question.check == "numeric" and (number := last_number(text)) is not None:
        return repr(number)
    return key(Answer(text), "json" if question.check == "json" else "normalised")


def last_number(text: str) -> float | None:
    """Return the last number that `text` holds: 1,234.5 is one, and so is 1.2e3."""
    numbers = _NUMBER.findall(text)
    return float(numbers[-1].replace(",", "").replace("−", "-")) if numbers else None


def _unended(text: str) -> str:
    """Return `text` without the punctuation at its end; all of it where it is punctuation only."""
    return text.rstrip(_ENDS).rstrip() or text


def _peelings(text: str) -> Iterator[str]:
    """Yield `text`, then shorter forms of it: without the punctuation at its end, without quotes or
    brackets around it, and so on."""
    left = folded(text)
    for _ in range(_MAX_PEELINGS):
        yield left
        shorter = _unended(left)
        if shorter == left:
            shorter = next(
                (
                    left[len(begin) : -len(end)].strip()
                    for begin, end in _WRAPPERS
                    if len(left) > len(begin + end) and left.startswith(begin) and left.endswith(end)
                ),
                left,
            )
        if shorter == left:
            return
        left = shorter


def _json(text: str) -> JSON:
    """Raises ValueError when it is none."""
    return wirejson.decode(unfenced(text))


def _same(mine: JSON, theirs: JSON) -> bool:
    """Return whether two JSON values are equal: 1 is 1.0 (RFC 8259, 6, knows numbers only), but
    never `true`.
    """
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return mine.keys() == theirs.keys() and all(_same(mine[name], theirs[name]) for name in mine)
    if isinstance(mine, list) and isinstance(theirs, list):
        return len(mine) == len(theirs) and all(map(_same, mine, theirs))
    return isinstance(mine, bool) == isinstance(theirs, bool) and bool(mine == theirs)
