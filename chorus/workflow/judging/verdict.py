"""Reading what an analyzer or a judge wrote, as models really write it (W5). Pure.

Code fences, prose around the JSON, trailing commas, single quotes and a `<think>` block are all
taken (`loose_json.py`); which object counts where there are several, `replies.py` decides. What
cannot be read raises `Unreadable`: a guess (say, the first number in the text) would be a choice
that no judge made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from chorus.types import DIFFICULTIES
from chorus.wirejson import JSON
from chorus.workflow.judging.loose_json import LooseObject
from chorus.workflow.judging.replies import (
    Unreadable,
    agreed_object,
    answer_of,
    first_of,
    is_certain,
    last_part,
    marked_object,
    objects_of,
    verdict_of,
)

_MAX_NOTES = 8
_MAX_NOTE = 300
"""How many of a judge's notes of a kind, and characters of each, go into the next prompt."""
_MAX_REASON = 2000
_MAX_LABEL = 60
"""Characters of a label with what models write around it."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the analyzer found; the defaults are what stands when there is none."""

    task_type: str = "general"
    temperature: float | None = None
    difficulty: str = "medium"
    strategy: str | None = None
    """`direct` or `ensemble` where the analyzer says so; it goes before its difficulty (W1)."""
    was_read: bool = False
    """False where these are the defaults, because there is no analysis."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge decided, as positions in the list of labels that it was shown.

    These are `choice`, `ranking` (best first) and the keys of `scores`. `decisive`: nothing in the
    others would make the chosen one better.
    """

    choice: int
    reason: str = ""
    scores: Mapping[int, float] = field(default_factory=dict)
    ranking: tuple[int, ...] = ()
    decisive: bool = False
    notes: Notes = field(default_factory=lambda: Notes())


@dataclass(frozen=True, slots=True)
class Notes:
    """A judge's notes on all candidates, a sentence each, which name them by their labels."""

    consensus: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()


_CHOICE_KEYS = ("choice", "selected", "selected_index", "best", "winner", "index", "label", "answer")
_ANALYSIS_KEYS = ("temperature", "task_type", "difficulty")
_LABEL = re.compile(r"(?:candidate|answer|option|label|候选|选项)?\s*[\[(\"'<]*(\w+)[\])\"'>]*\.?", re.IGNORECASE)


def read_analysis(text: str, mark: str = "") -> Analysis:
    """Return the analysis in `text`; fields that are missing or nonsense keep their defaults.

    Raises:
        Unreadable: there is no JSON object with any of the fields, or several disagree and none
        carries `mark`.
    """

    def says(reply: LooseObject) -> Analysis | None:
        return _analysis(reply.value) if first_of(reply.value, _ANALYSIS_KEYS) is not None else None

    return _analysis(verdict_of(text, mark, says, _ANALYSIS_KEYS).value)


def _analysis(fields: Mapping[str, JSON]) -> Analysis:
    temperature = _number(fields.get("temperature", fields.get("suggested_temperature")))
    kind = fields.get("task_type")
    difficulty = str(fields.get("difficulty", "")).strip().lower()
    strategy = str(fields.get("strategy", "")).strip().lower()
    return Analysis(
        kind.strip()[:60] if isinstance(kind, str) and kind.strip() else "general",
        min(max(temperature, 0.0), 2.0) if temperature is not None else None,
        difficulty if difficulty in DIFFICULTIES else "medium",
        strategy if strategy in ("direct", "ensemble") else None,
        was_read=True,
    )


def read_verdict(text: str, labels: Sequence[str], mark: str = "") -> Verdict:
    """Return the verdict in `text` on candidates shown as `labels`; the judge was asked for `mark`.

    A lone label counts as a choice. A number counts as the judge's position from 1, since the
    prompt shows an order; 0 can only mean the first.

    Raises:
        Unreadable: no choice, or of something that was not shown; or several choices, none of which
        carries the mark.
    """

    def says(reply: LooseObject) -> int | None:
        key = first_of(reply.value, _CHOICE_KEYS)
        return _position(reply.value[key], labels) if key is not None and is_certain(reply, key) else None

    reply = marked_object(text, mark, says, _CHOICE_KEYS)
    if reply is None and (lone := _lone_label(text, labels)) is not None:
        if any(says(candidate) not in (None, lone) for candidate in objects_of(answer_of(text))):
            raise Unreadable("the reply ends with a label, and an object before it chooses another")
        return Verdict(lone)
    reply = reply or agreed_object(text, says, _CHOICE_KEYS)
    choice = says(reply)
    assert choice is not None
    value = reply.value
    reason = next((value[key] for key in ("reason", "reasoning", "why") if isinstance(value.get(key), str)), "")
    decisive = value.get("decisive") is True or str(value.get("decisive", "")).strip().lower() == "true"
    notes = Notes(*(_sentences(value.get(name), labels) for name in ("consensus", "contradictions", "unique")))
    ranking = _ranking(value.get("ranking"), labels)
    scores = _scores(value.get("scores"), labels)
    return Verdict(choice, reason.strip()[:_MAX_REASON], scores, ranking, decisive, notes)


def _lone_label(text: str, labels: Sequence[str]) -> int | None:
    """Return the label that `text` consists of, thinking aside."""
    part = last_part(answer_of(text))
    return _position(part.strip("`*\"'. \n"), labels) if len(part) <= _MAX_LABEL else None


def read_score(text: str, mark: str = "") -> tuple[float, str]:
    """Return a score and its reason.

    Raises:
        Unreadable: there is no number called `score`, or several differ and none carries `mark`.
    """

    def says(reply: LooseObject) -> float | None:
        return _number(reply.value.get("score")) if is_certain(reply, "score") else None

    reply = verdict_of(text, mark, says, ("score",))
    score = says(reply)
    assert score is not None
    reason = reply.value.get("reason")
    return score, reason.strip()[:_MAX_REASON] if isinstance(reason, str) else ""


def _ranking(value: JSON, labels: Sequence[str]) -> tuple[int, ...]:
    """Return the positions that a ranking names, best first, each once."""
    places = (_position(label, labels) for label in (value[: 4 * len(labels)] if isinstance(value, list) else ()))
    return tuple(dict.fromkeys(place for place in places if place is not None))


def _sentences(value: JSON, labels: Sequence[str]) -> tuple[str, ...]:
    """Return a few short sentences, from a list, a string or an object by label."""
    sentences: list[str] = []
    for label, points in value.items() if isinstance(value, Mapping) else (("", value),):
        texts = (
            text for text in (points if isinstance(points, list) else (points,)) if isinstance(text, str | int | float)
        )
        sentences += [f"{label}: {text}" if label else str(text) for text in islice(texts, _MAX_NOTES)]
    lines = (" ".join(text.split())[:_MAX_NOTE] for text in sentences)
    return tuple(line for line in lines if line)[:_MAX_NOTES]


def _scores(value: JSON, labels: Sequence[str]) -> dict[int, float]:
    """Scores by position, from an object by label or a list in the order shown."""
    pairs: list[tuple[JSON, JSON]] = []
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = [
            (item.get("label", item.get("candidate")), item.get("score"))
            if isinstance(item, Mapping)
            else (position + 1, item)
            for position, item in enumerate(value)
        ]
    scores: dict[int, float] = {}
    for name, score in pairs:
        position, number = _position(name, labels), _number(score)
        if position is not None and number is not None:
            scores[position] = number
    return scores


def _position(value: JSON, labels: Sequence[str]) -> int | None:
    """Return which of `labels` is meant: by its letter, with a word around it, or by number."""
    if isinstance(value, Mapping):
        value = value.get("label", value.get("candidate"))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        word = _LABEL.fullmatch(value.strip()) if len(value) <= _MAX_LABEL else None
        if word is None:
            return None
        upper = word.group(1).upper()
        if upper in labels:
            return labels.index(upper)
        value = int(upper) if upper.isascii() and upper.isdigit() and len(upper) < 4 else None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= len(labels):
        return None
    return max(value - 1, 0)


def _number(value: JSON) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
