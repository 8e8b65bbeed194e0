"""Whether an answer is right, where a rule can tell. Pure."""

from __future__ import annotations

import re

from chorus import wirejson
from chorus.evaluation.dataset import Question
from chorus.types import Answer
from chorus.workflow.agreement import key

_NUMBER = re.compile(r"[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|[-+−]?\.\d+")


def is_right(question: Question, text: str) -> bool | None:
    """Whether `text` answers `question`; None where only a judge can tell.

    `exact` compares as agreement in a workflow does: Unicode form, case, white space, markup and the punctuation around the
    text do not count. `numeric` takes the last number in the text, since models conclude with it.
    """
    match question.check:
        case "exact":
            return key(Answer(text), "normalised") == key(Answer(str(question.answer)), "normalised")
        case "numeric":
            found = last_number(text)
            return found is not None and abs(found - float(question.answer)) <= question.tolerance
        case "regex":
            return re.search(str(question.answer), text) is not None
        case "json":
            expected = wirejson.encode(question.answer).decode()
            return key(Answer(text), "json") == key(Answer(expected), "json")
    return None


def last_number(text: str) -> float | None:
    """The last number that `text` holds: 1,234.5 is one, and so is 1.2e3."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "").replace("−", "-")) if found else None
