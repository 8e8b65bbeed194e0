"""When answers are the same, and when enough of them are (W7). Pure."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from chorus import wirejson
from chorus.types import Answer
from chorus.wirejson import JSON
from chorus.workflow.judging.fence import unfenced
from chorus.workflow.plan import Compare

_MAX_NORMALISED: Final = 64 * 1024
"""Characters of a text that is compared by more than being the same; each costs 0.1 µs."""
_MAX_JSON: Final = 1024 * 1024
_MAX_VALUES: Final = 50_000
"""Characters, and about how many values, of a text compared as JSON; a value costs 0.5 µs."""
_STARTERS = re.compile(r"[\x00-\x7f\u3000-\u3098\u309b-\u9fff]")
"""Characters that combine with nothing before them."""
_MAX_COMBINING: Final = 300
"""Characters in a row without one of those, spaces above all. Python sorts combining marks in a row
in quadratic time: 3 s for 32,000 of them."""
_MARKUP = re.compile(r"[*_`#]+")
_ENDS = " \t\r\n.,;:!?。，；：！？\"'“”‘’()[]"


def key(answer: Answer, compare: Compare) -> str:
    """Equality key: answers with the same key count as the same answer. It is the `exact` text, the
    `normalised` text (Unicode form, case, white space, markup and the punctuation around it do not
    count), or the `json` value whatever its layout. Tool calls are equal when they call the same
    functions with the same arguments."""
    if answer.tool_calls:
        calls = [[call.name, _json(call.arguments)] for call in answer.tool_calls]
        return "calls " + _canonical(calls)
    if compare == "exact":
        return answer.text
    if compare == "json":
        value = _json(unfenced(answer.text))
        if not isinstance(value, str):
            return "json " + _canonical(value)
    if len(answer.text) > _MAX_NORMALISED:
        return answer.text
    return folded(answer.text, without=_MARKUP).strip(_ENDS)


def folded(text: str, *, without: re.Pattern[str] | None = None) -> str:
    """Return `text` without case, Unicode form, white space, and matches of `without`.

    Folding can undo the form, which is taken twice (Unicode, D146).

    A text of more than 65,536 characters, or with 300 in a row that may combine, stays as it is.
    """
    if len(text) > _MAX_NORMALISED or max(map(len, _STARTERS.split(text))) > _MAX_COMBINING:
        return text
    text = unicodedata.normalize("NFKC", text)
    if without is not None:
        text = without.sub("", text)
    return " ".join(unicodedata.normalize("NFKC", text.casefold()).split())


def _json(text: str) -> JSON:
    """Return the value that `text` writes.

    The text itself where it is none, or too large to be read.
    """
    if len(text) > _MAX_JSON or text.count("[") + text.count("{") + text.count(",") > _MAX_VALUES:
        return text
    try:
        return wirejson.decode(text)
    except ValueError:
        return text


def _canonical(value: JSON) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def most_frequent(keys: Sequence[str]) -> tuple[str, int, int]:
    """Return the most frequent key (the first of several), its count, and that of the next."""
    counts = Counter(keys).most_common(2)
    return (*counts[0], counts[1][1] if len(counts) > 1 else 0)


def settled(first: int, second: int, confidence: float) -> bool:
    """Return whether the answer that came `first` times stays ahead of one that came `second`
    times.

    `confidence` is the probability that is required.

    The Beta criterion of adaptive consistency (Aggarwal et al., "Let's Sample Step by Step", arXiv
    2305.11860): with a uniform prior, the probability that the more frequent of the two has more
    than half of their mass.
    """
    draws = first + second + 1
    ahead: float = sum(math.comb(draws, hits) for hits in range(first + 1)) / 2**draws
    return ahead >= confidence


def needed(first: int, second: int, confidence: float) -> int:
    """Return the fewest further samples that could settle it: all of them for the one that leads.

    At least one, at most 64.
    """
    more = 1
    while more < 64 and not settled(first + more, second, confidence):
        more += 1
    return more
