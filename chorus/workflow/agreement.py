"""When answers are the same, and when enough of them are (W7). Pure."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import msgspec

from chorus import wirejson
from chorus.types import Answer
from chorus.wirejson import JSON
from chorus.workflow.plan import Compare

_FENCED = re.compile(r"\A\s*```\w*[ \t]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_MARKUP = re.compile(r"[*_`#]+")
_ENDS = " \t\r\n.,;:!?。，；：！？\"'“”‘’()[]"


def key(answer: Answer, compare: Compare) -> str:
    """What answers have in common that agree: `exact` text, `normalised` text (Unicode form, case, white space, markup and
    the punctuation around it do not count), or the same `json` whatever its layout. Tool calls agree when they call the
    same functions with the same arguments."""
    if answer.tool_calls:
        calls = [[call.name, _json(call.arguments)] for call in answer.tool_calls]
        return "calls " + _canonical(calls)
    if compare == "exact":
        return answer.text
    if compare == "json":
        fenced = _FENCED.match(answer.text)
        value = _json(fenced[1] if fenced is not None else answer.text)
        if not isinstance(value, str):
            return "json " + _canonical(value)
    text = unicodedata.normalize("NFKC", _MARKUP.sub("", unicodedata.normalize("NFKC", answer.text)).casefold())
    return " ".join(text.split()).strip(_ENDS)


def _json(text: str) -> JSON:
    """The value that `text` writes; the text itself where it is none."""
    try:
        return wirejson.decode(text)
    except ValueError:
        return text


def _canonical(value: JSON) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def most_frequent(keys: Sequence[str]) -> tuple[str, int, int]:
    """The most frequent key (the first of several), how often it stands there, and how often the next one does."""
    counts = Counter(keys).most_common(2)
    return (*counts[0], counts[1][1] if len(counts) > 1 else 0)


def settled(first: int, second: int, confidence: float) -> bool:
    """Whether the answer that came `first` times stays ahead of the one that came `second` times with this `confidence`.

    The Beta criterion of adaptive consistency (Aggarwal et al., "Let's Sample Step by Step", arXiv 2305.11860): with a
    uniform prior, the probability that the more frequent of the two has more than half of their mass.
    """
    draws = first + second + 1
    ahead: float = sum(math.comb(draws, hits) for hits in range(first + 1)) / 2**draws
    return ahead >= confidence


def needed(first: int, second: int, confidence: float) -> int:
    """The fewest further samples that could settle it: all of them for the one that leads. At least one, at most 64."""
    more = 1
    while more < 64 and not settled(first + more, second, confidence):
        more += 1
    return more
