"""Pairs of answers to the same question, drawn from what an evaluation has stored. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final, Literal

from chorus.evaluation.dataset import Question
from chorus.evaluation.grading import is_right
from chorus.evaluation.results import Key, Result

Kind = Literal["contrast", "equal", "unknown"]
"""`contrast`: one is right and one is wrong; `equal`: both are right, or both wrong; `unknown`: no
rule grades them."""

_LONGEST: Final = 32_768
"""Characters of an answer that judges are shown; a longer one is in no pair."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored answer: the models that gave it, word for word, and its grade by a rule, None where
    only a judge can tell."""

    text: str
    authors: frozenset[str]
    grade: float | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers to a question. `key` is made of their texts, so that a verdict on them stays one
    on them."""

    key: str
    question: Question
    one: Stored
    other: Stored

    @property
    def kind(self) -> Kind:
        """What is known of the two."""
        if self.one.grade is None or self.other.grade is None:
            return "unknown"
        return "equal" if self.one.grade == self.other.grade else "contrast"


def draw(
    questions: Sequence[Question], contestants: Sequence[str], by_key: Mapping[Key, Result], count: int, seed: int
) -> list[Pair]:
    """Return `count` pairs of stored answers, or all that there are; the same for the same answers
    and `seed`, and with a larger `count` these and more.

    Contrasts and equal ones alternate as far as both are there, unknown ones come last. No question
    gives a second pair of a kind before each has given one.
    """
    ranked: dict[Kind, list[tuple[int, str, Pair]]] = {"contrast": [], "equal": [], "unknown": []}
    for question in questions:
        given: dict[Kind, list[tuple[str, Pair]]] = {}
        for pair in _pairs(question, _stored(question, contestants, by_key), seed):
            given.setdefault(pair.kind, []).append((_digest(str(seed), pair.key), pair))
        for kind, drawn in given.items():
            drawn.sort(key=lambda entry: entry[0])
            ranked[kind] += [(turn, order, pair) for turn, (order, pair) in enumerate(drawn[:count])]
    ordered = {
        kind: [pair for *_, pair in sorted(entries, key=lambda entry: entry[:2])] for kind, entries in ranked.items()
    }
    contrasts, equal = ordered["contrast"], ordered["equal"]
    both = min(len(contrasts), len(equal))
    alternating = [pair for two in zip(contrasts, equal, strict=False) for pair in two]
    return [*alternating, *contrasts[both:], *equal[both:], *ordered["unknown"]][:count]


def _stored(question: Question, contestants: Sequence[str], by_key: Mapping[Key, Result]) -> list[Stored]:
    """Return every distinct answer to a question: of single models, of the workers of workflows,
    and of their synthesizers.
    """
    authors: dict[str, set[str]] = {}
    for who in contestants:
        result = by_key.get((question.id, who))
        if result is not None:
            for author, text in _answers(who, result):
                if text.strip() and len(text) <= _LONGEST:
                    authors.setdefault(text, set()).add(author)
    stored = []
    for text, names in authors.items():
        right = is_right(question, text)
        stored.append(Stored(text, frozenset(names - {""}), None if right is None else float(right)))
    return stored


def _answers(who: str, result: Result) -> Iterator[tuple[str, str]]:
    """Yield the answers that a result holds, each with its model; empty where that is unknown."""
    if result.trace is None:
        yield who, result.text
        return
    trace: Mapping[str, Any] = result.trace
    models = {worker["name"]: worker.get("model") or "" for worker in trace.get("workers", ())}
    for candidate in result.candidates:
        yield models.get(candidate.name, ""), candidate.text
    writer = trace.get("synthesizer")
    if writer is not None and writer["status"] == "ok":
        yield writer.get("model") or "", result.text


def _pairs(question: Question, stored: Sequence[Stored], seed: int) -> Iterator[Pair]:
    """Yield every pair of `stored`; which is the first of a pair is drawn."""
    for one, other in combinations(sorted(stored, key=lambda answer: answer.text), 2):
        key = _digest(question.id, one.text, other.text)
        swapped = int(_digest("first", key)[0], 16) % 2 == 1
        yield Pair(key, question, *((other, one) if swapped else (one, other)))


def _digest(*parts: str) -> str:
    """Return 20 hexadecimal digits that `parts` give."""
    whole = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        whole.update(len(encoded).to_bytes(8, "big") + encoded)
    return whole.hexdigest()[:20]
