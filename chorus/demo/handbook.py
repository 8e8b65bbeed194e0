"""Chorus's own handbook (`handbook.md`), and a search in it that knows which words are rare."""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from typing import Final

from chorus.demo.language import is_chinese, similarity, terms

_TITLE_WEIGHT: Final = 1.5
_OTHER_LANGUAGE: Final = 0.5
_MOST_HITS: Final = 3


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the handbook."""

    title: str
    body: str
    in_chinese: bool


@dataclass(frozen=True, slots=True)
class Hit:
    """A section found. `coverage`, 0 to 1, is how much of what was asked occurs in it, rare words
    counting more."""

    section: Section
    score: float
    coverage: float


class Handbook:
    """Sections with the weights of their terms: a rare one says more than a common one, and one in
    the title more than one in the body."""

    def __init__(self, sections: list[Section]) -> None:
        self.sections = sections
        occurrences = Counter(term for section in sections for term in {*terms(section.title), *terms(section.body)})
        self._rarity = {term: math.log(1 + len(sections) / count) for term, count in occurrences.items()}
        self._unknown = math.log(1 + 2 * len(sections))
        self._weights = [
            {term: self._rarity[term] for term in terms(section.body)}
            | {term: self._rarity[term] * _TITLE_WEIGHT for term in terms(section.title)}
            for section in sections
        ]

    def search(self, question: str) -> list[Hit]:
        """Return the best sections, best first; those in the question's language are preferred."""
        wanted = {term: self._rarity.get(term, self._unknown) for term in terms(question) if not term.isdigit()}
        chinese = is_chinese(question)
        hits: list[Hit] = []
        for section, weights in zip(self.sections, self._weights, strict=True):
            shared = [term for term in wanted if term in weights]
            if shared:
                fit = 1.0 if section.in_chinese == chinese else _OTHER_LANGUAGE
                score = sum(weights[term] for term in shared) * fit * (1 + similarity(question, section.title))
                hits.append(Hit(section, score, sum(wanted[term] for term in shared) / sum(wanted.values())))
        return sorted(hits, key=lambda hit: -hit.score)[:_MOST_HITS]


@functools.cache
def handbook() -> Handbook:
    """Return the handbook that comes with Chorus: each `## title` with the paragraph under it."""
    text = resources.files(__package__).joinpath("handbook.md").read_text("utf-8")
    sections = []
    for block in text.split("\n## ")[1:]:
        title, _, body = block.partition("\n")
        body = re.sub(r"(?<=[，。；：、！？）])\n", "", body)  # between Chinese lines is no space
        sections.append(Section(title.strip(), " ".join(body.split()), is_chinese(block)))
    return Handbook(sections)
