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

_K1: Final = 1.2
_B: Final = 0.6
_TITLE_WEIGHT: Final = 4
_OTHER_LANGUAGE: Final = 0.5

# what people call things → what the handbook calls them
_SYNONYMS: Final = {
    stem(word): tuple(stem(meant) for meant in meanings.split())
    for word, meanings in {
        "abort": "cancel",
        "aborted": "cancel",
        "answer": "reply",
        "begin": "start",
        "broken": "fail",
        "cancel": "disconnect",
        "config": "configuration",
        "crash": "fail",
        "crashes": "fail",
        "creativity": "temperature",
        "deadline": "timeout",
        "die": "fail",
        "dies": "fail",
        "disconnect": "cancel",
        "docs": "handbook",
        "error": "fail",
        "errors": "fail",
        "failing": "failure",
        "judge": "selector",
        "kill": "stop",
        "launch": "start",
        "limits": "timeout",
        "live": "stand",
        "located": "file",
        "logs": "log",
        "offline": "demo",
        "params": "key",
        "parameters": "key",
        "password": "secret",
        "picks": "selector",
        "quit": "stop",
        "run": "start",
        "settings": "configuration",
        "setup": "start",
        "shutdown": "stop",
        "slow": "timeout",
        "terminate": "stop",
        "tokens": "stream",
        "upgrade": "migrate",
        "url": "endpoint",
        "urls": "endpoint",
        "yaml": "toml",
    }.items()
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
    """Sections with an index over their terms."""

    def __init__(self, sections: list[Section]) -> None:
        self.sections = sections
        self._counts = [Counter(terms(section.title) * _TITLE_WEIGHT + terms(section.body)) for section in sections]
        self._lengths = [sum(counts.values()) for counts in self._counts]
        self._mean_length = sum(self._lengths) / max(1, len(self._lengths))
        occurrences: Counter[str] = Counter()
        for counts in self._counts:
            occurrences.update(counts.keys())
        self._rarity: Mapping[str, float] = {
            term: math.log(1 + (len(sections) - n + 0.5) / (n + 0.5)) for term, n in occurrences.items()
        }
        self._unknown = math.log(1 + (len(sections) + 0.5) / 0.5)

    def search(self, question: str, limit: int = 3) -> list[Hit]:
        """The best sections, best first; those in the question's language are preferred."""
        wanted = list(dict.fromkeys(terms(question)))
        chinese = is_chinese(question)
        hits: list[Hit] = []
        for number, section in enumerate(self.sections):
            score, coverage = self._match(wanted, number)
            if score > 0:
                fit = 1.0 if section.in_chinese == chinese else _OTHER_LANGUAGE
                hits.append(Hit(section, score * fit * (1 + similarity(question, section.title)), coverage))
        return sorted(hits, key=lambda hit: -hit.score)[:limit]

    def _match(self, wanted: list[str], number: int) -> tuple[float, float]:
        counts, length = self._counts[number], self._lengths[number]
        score = covered = possible = 0.0
        for term in wanted:
            best = 0.0
            for form, weight in [(term, 1.0), *((meant, 0.6) for meant in _SYNONYMS.get(term, ()))]:
                if n := counts.get(form, 0):
                    saturation = n * (_K1 + 1) / (n + _K1 * (1 - _B + _B * length / self._mean_length))
                    best = max(best, weight * self._rarity[form] * saturation)
            importance = self._rarity.get(term, self._unknown)
            possible += importance
            covered += importance if best else 0.0
            score += best
        return score, covered / possible if possible else 0.0


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
