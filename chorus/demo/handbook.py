"""Chorus's own handbook (`handbook.md`) and a search in it: BM25 over its sections."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from chorus.demo.language import is_chinese, similarity, stem, terms

_OTHER_LANGUAGE: Final = 0.5
_TITLE_WEIGHT: Final = 4
_SYNONYM_WEIGHT: Final = 0.8
_LONG: Final = 60
"""In a section of so many terms, one that occurs once has half its weight."""

# what the handbook calls things ← what people call them
_SYNONYMS: Final = {
    stem(word): stem(meant)
    for meant, words in {
        "cancel": "abort aborted disconnect",
        "configuration": "config settings",
        "demo": "offline",
        "disconnect": "cancel",
        "endpoint": "url urls",
        "fail": "broken crash crashes die dies error errors",
        "failure": "failing",
        "file": "located",
        "handbook": "docs",
        "key": "params parameters",
        "log": "logs",
        "migrate": "upgrade",
        "reply": "answer",
        "secret": "password",
        "selector": "judge picks",
        "stand": "live",
        "start": "begin launch run setup",
        "stop": "kill quit shutdown terminate",
        "stream": "tokens",
        "temperature": "creativity",
        "timeout": "deadline limits slow",
        "toml": "yaml",
    }.items()
    for word in words.split()
}


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the handbook."""

    title: str
    body: str

    @property
    def in_chinese(self) -> bool:
        return is_chinese(self.title + self.body)


@dataclass(frozen=True, slots=True)
class Hit:
    """A section found. `coverage`, 0 to 1, is how much of what was asked occurs in it, rare words
    counting more."""

    section: Section
    score: float
    coverage: float


class Handbook:
    """Sections with the weights of their terms."""

    def __init__(self, sections: list[Section]) -> None:
        self.sections = sections
        bags = [Counter(terms(section.title) * _TITLE_WEIGHT + terms(section.body)) for section in sections]
        occurrences = Counter(term for bag in bags for term in bag)
        self._rarity = {term: math.log(1 + len(sections) / count) for term, count in occurrences.items()}
        self._weights = [
            {term: self._rarity[term] * count / (count + bag.total() / _LONG) for term, count in bag.items()}
            for bag in bags
        ]

    def search(self, question: str, limit: int = 3) -> list[Hit]:
        """The best sections, best first; those in the question's language are preferred."""
        unknown = math.log(1 + 2 * len(self.sections))  # as if it stood in half a section
        wanted = {term: self._rarity.get(term, unknown) for term in terms(question)}
        chinese = is_chinese(question)
        hits: list[Hit] = []
        for section, weights in zip(self.sections, self._weights, strict=True):
            found = {term: weight for term in wanted if (weight := _weight(weights, term))}
            if found:
                fit = 1.0 if section.in_chinese == chinese else _OTHER_LANGUAGE
                score = sum(found.values()) * fit * (1 + similarity(question, section.title))
                hits.append(Hit(section, score, sum(map(wanted.__getitem__, found)) / sum(wanted.values())))
        return sorted(hits, key=lambda hit: -hit.score)[:limit]


def _weight(weights: Mapping[str, float], term: str) -> float:
    """The weight of a term in a section, or of what the handbook calls it."""
    return max(weights.get(term, 0.0), _SYNONYM_WEIGHT * weights.get(_SYNONYMS.get(term, ""), 0.0))


@functools.cache
def handbook() -> Handbook:
    """The handbook that comes with Chorus."""
    text = resources.files(__package__).joinpath("handbook.md").read_text("utf-8")
    return Handbook(parse(text))


def _unwrapped(text: str) -> str:
    """Return `text` with each paragraph in one line. Chinese needs no space between its lines."""
    text = re.sub(r"(?<=[，。；：、！？）])\n(?=\S)", "", text)
    return re.sub(r"(?<=\S)\n(?=\S)", " ", text)


def parse(text: str) -> list[Section]:
    """The sections of a Markdown text: each `## title` with what follows it."""
    sections = []
    for block in text.split("\n## ")[1:]:
        title, _, body = block.partition("\n")
        sections.append(Section(title.strip(), _unwrapped(body.strip())))
    return sections
