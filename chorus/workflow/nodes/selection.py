"""What a selection is, and the rule that remains without a judge (W1, W2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from chorus.wirejson import JSON
from chorus.workflow.judging import prompts
from chorus.workflow.judging.length import LengthControl
from chorus.workflow.judging.verdict import Notes
from chorus.workflow.nodes.results import WorkerResult


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen candidate, by its position; `judged` is False where a rule chose.

    `order` is how the candidates were shown to the author of `reason` and `notes`, which name them
    by the labels that this order gives. `confidence` is the share of the judge's passes that chose
    this one; None where there was one pass. `length` is what length control did to the scores.
    """

    position: int
    reason: str = ""
    judged: bool = True
    scores: Mapping[int, float] = field(default_factory=dict)
    ranking: tuple[int, ...] = ()
    confidence: float | None = None
    decisive: bool = False
    notes: Notes = field(default_factory=Notes)
    order: tuple[int, ...] = ()
    length: LengthControl | None = None

    def details(self, candidates: Sequence[WorkerResult]) -> dict[str, JSON]:
        """This selection as the trace shows it (W9)."""
        chosen = candidates[self.position]
        names = [candidate.label for candidate in candidates]
        shown: dict[str, JSON] = {
            "selected_index": chosen.index,
            "selected_worker": chosen.label,
            "reasoning": self.reason,
            "scores": {names[i]: score for i, score in sorted(self.scores.items())},
        }
        more: dict[str, JSON] = {
            "ranking": [names[i] for i in self.ranking],
            "order_shown": [names[i] for i in self.order],
            "confidence": self.confidence,
            "decisive": self.decisive,
            "consensus": list(self.notes.consensus),
            "contradictions": list(self.notes.contradictions),
            "unique": list(self.notes.unique),
            "length_control": self._length_control(names),
        }
        return {**shown, **{key: value for key, value in more.items() if value}}

    def _length_control(self, names: Sequence[str]) -> dict[str, JSON] | None:
        """Return what length control did: the points added to the scores, and another choice.

        The choice is the judge's own, where that is another candidate.
        """
        if self.length is None:
            return None
        added = {names[i]: points for i, points in self.length.corrections.items()}
        shown: dict[str, JSON] = {"effect": self.length.effect, "corrections": added}
        if self.length.judged != self.position:
            shown["judged"] = names[self.length.judged]
        return shown


_WORD = re.compile(r"[^\W\d_⺀-鿿]+|\d+(?:\.\d+)?|[⺀-鿿]")
_VOTE = re.compile(r"choice[\"'”’]?\s*[:：]\s*[\"'“‘]?(?:candidate\s)?[A-Z]{1,2}\b")
_COMPARED = 50_000
"""Characters that candidates are compared by, all together: finding words takes 0.1 µs for each."""
_LOOKED_AT = 1_000_000
"""Characters that are looked at for votes, all together, at 40 ns each at most."""


def by_agreement(candidates: Sequence[WorkerResult]) -> Selection:
    """Return the candidate that shares most words with the others: the best rule without a judge.

    Whole answers come before cut ones, those before one that writes a verdict of its own, which is
    meant for the judge; ties go to the earlier.
    """
    texts = [prompts.shown(candidate.whole) for candidate in candidates]
    shared = _shared(texts)
    room = _LOOKED_AT // len(texts)

    def standing(position: int) -> tuple[bool, bool, float, int]:
        votes = _VOTE.search(texts[position], 0, room) is not None
        is_cut = candidates[position].whole.finish_reason == "length"
        return not votes, not is_cut, shared[position], -position

    best = max(range(len(candidates)), key=standing)
    return Selection(best, "No judge decided; this candidate agrees most with the others.", judged=False)


def _shared(texts: Sequence[str]) -> list[float]:
    """For each of `texts` the share of words that it has in common with each other one, summed up.
    Beginnings are compared, so long that it takes no longer for many texts than for two."""
    room = max(_COMPARED // len(texts), 100)
    words = [frozenset(_WORD.findall(text[:room].lower())) for text in texts]
    shared = [0.0] * len(texts)
    for one, other in combinations(range(len(texts)), 2):
        common = len(words[one] & words[other])
        share = common / (len(words[one]) + len(words[other]) - common or 1)
        shared[one] += share
        shared[other] += share
    return shared
