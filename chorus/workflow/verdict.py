"""Reading what an analyzer or a judge wrote, as models really write (W5). Pure.

Code fences, prose around the JSON, trailing commas, single quotes and half a `<think>` block are all taken; `json-repair`
does the repairing. What cannot be read raises `Unreadable`: a guess (say, the first number in the text) would be a choice
nobody made.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import json_repair

from chorus import wirejson
from chorus.wirejson import JSON

_MAX_NOTES = 8
_MAX_NOTE = 300
"""How many notes of a kind are taken from a judge, and how many characters of each: they go into the next prompt."""


class Unreadable(ValueError):
    """The text holds no verdict. The message says what was missing and never quotes the text."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """What the analyzer found; the defaults are what stands when there is none."""

    task_type: str = "general"
    temperature: float | None = None
    difficulty: str = "medium"
    strategy: str | None = None
    """`direct` or `ensemble` where the analyzer says so, over what its difficulty would mean (W1)."""
    was_read: bool = False
    """False where these are the defaults, because there is no analysis."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge decided: `choice`, `ranking` (best first) and the keys of `scores` are positions in the list of labels
    it was shown. `decisive`: nothing in the others would make the chosen one better."""

    choice: int
    reason: str = ""
    scores: Mapping[int, float] = field(default_factory=dict)
    ranking: tuple[int, ...] = ()
    decisive: bool = False
    notes: Notes = field(default_factory=lambda: Notes())


@dataclass(frozen=True, slots=True)
class Notes:
    """What a judge says of the candidates together, a sentence each; it names them by their labels."""

    consensus: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()


_THINK = re.compile(r"<think>.*?</think>|^.*?</think>|<think>.*\Z", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_CHOICE_KEYS = ("choice", "selected", "selected_index", "best", "winner", "index", "label", "answer")


def read_analysis(text: str) -> Analysis:
    """The analysis in `text`; fields that are missing or nonsense keep their defaults.

    Raises:
        Unreadable: there is no JSON object with any of the fields.
    """
    found = _object(text, ("temperature", "task_type", "difficulty"))
    heat = _number(found.get("temperature", found.get("suggested_temperature")))
    kind = found.get("task_type")
    difficulty = str(found.get("difficulty", "")).strip().lower()
    strategy = str(found.get("strategy", "")).strip().lower()
    return Analysis(
        kind.strip()[:60] if isinstance(kind, str) and kind.strip() else "general",
        min(max(heat, 0.0), 2.0) if heat is not None else None,
        difficulty if difficulty in ("easy", "medium", "hard") else "medium",
        strategy if strategy in ("direct", "ensemble") else None,
        was_read=True,
    )


def read_verdict(text: str, labels: Sequence[str]) -> Verdict:
    """The verdict in `text` on candidates that were shown as `labels`.

    A lone label counts as a choice. A number counts as the judge's position from 1, since the prompt shows an order; 0
    can only mean the first.

    Raises:
        Unreadable: no choice, or of something that was not shown.
    """
    bare = _THINK.sub("", text).strip().strip("`*\"'. \n")
    if (lone := _position(bare, labels)) is not None:
        return Verdict(lone)
    found = _object(text, _CHOICE_KEYS)
    named = next((found[key] for key in _CHOICE_KEYS if found.get(key) is not None), None)
    choice = _position(named, labels)
    if choice is None:
        raise Unreadable("the judge chose something that it was not shown")
    reason = next((found[key] for key in ("reason", "reasoning", "why") if isinstance(found.get(key), str)), "")
    decisive = found.get("decisive") is True or str(found.get("decisive", "")).strip().lower() == "true"
    notes = Notes(*(_sentences(found.get(name), labels) for name in ("consensus", "contradictions", "unique")))
    ranking = _ranking(found.get("ranking"), labels)
    return Verdict(choice, reason.strip(), _scores(found.get("scores"), labels), ranking, decisive, notes)


def read_score(text: str) -> tuple[float, str]:
    """A score and its reason.

    Raises:
        Unreadable: there is no number called `score`.
    """
    found = _object(text, ("score",))
    score = _number(found.get("score"))
    if score is None:
        raise Unreadable("the score is no number")
    reason = found.get("reason")
    return score, reason.strip() if isinstance(reason, str) else ""


def _ranking(value: JSON, labels: Sequence[str]) -> tuple[int, ...]:
    """The positions that a ranking names, best first, each once."""
    places = (_position(each, labels) for each in (value if isinstance(value, list) else ()))
    return tuple(dict.fromkeys(place for place in places if place is not None))


def _sentences(value: JSON, labels: Sequence[str]) -> tuple[str, ...]:
    """A few short sentences, from a list, a string or an object by label."""
    if isinstance(value, Mapping):
        told = [f"{label}: {said}" for label, points in value.items() for said in _sentences(points, labels)]
    else:
        told = [
            str(each) for each in (value if isinstance(value, list) else [value]) if isinstance(each, str | int | float)
        ]
    lines = (" ".join(each.split())[:_MAX_NOTE] for each in told)
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
    """Which of `labels` is meant: by its letter, with a word around it, or by number."""
    if isinstance(value, Mapping):
        value = value.get("label", value.get("candidate"))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        word = re.fullmatch(
            r"(?:candidate|answer|option|label|候选|选项)?\s*[\[(\"'<]*(\w+)[\])\"'>]*\.?",
            value.strip(),
            re.I,
        )
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


def _object(text: str, wanted: Sequence[str]) -> Mapping[str, JSON]:
    """The last JSON object in `text` that has one of the `wanted` keys: models think aloud first, then conclude."""
    clean = _THINK.sub("", text).strip()
    if not clean:
        raise Unreadable("the model wrote nothing")
    for source in (*reversed(_FENCE.findall(clean)), clean):
        for candidate in reversed(_objects(source)):
            if any(key in candidate for key in wanted):
                return candidate
    raise Unreadable("the model wrote no JSON object with " + " or ".join(wanted[:3]))


def _objects(text: str) -> list[Mapping[str, JSON]]:
    """The JSON objects in `text`, repaired where need be."""
    value: JSON
    try:
        value = wirejson.decode(text)
    except ValueError:
        if "{" not in text or text.count("{") + text.count("[") > wirejson.MAX_DEPTH:
            return []
        value = json_repair.loads(text[text.index("{") :])
    values = value if isinstance(value, list) else [value]
    return [item for item in values if isinstance(item, Mapping)]
