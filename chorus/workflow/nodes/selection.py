"""What a selection is, and the rule that remains without a judge (W1, W2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chorus.wirejson import JSON
from chorus.workflow import prompts
from chorus.workflow.nodes.workers import Outcome
from chorus.workflow.verdict import Notes


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen candidate, as a position in the list of candidates; `judged` is False where a rule chose.

    `order` is how the candidates were shown to whoever wrote `reason` and `notes`, which name them by the labels that this
    order gives. `confidence` is the share of the judge's passes that chose this one; None where there was one pass.
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

    def details(self, candidates: Sequence[Outcome]) -> dict[str, JSON]:
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
        }
        return {**shown, **{key: value for key, value in more.items() if value}}


def by_agreement(candidates: Sequence[Outcome]) -> Selection:
    """The candidate that shares most words with the others, whole answers before cut ones, ties to the earlier: the best
    rule that remains without a judge."""
    words = [_words(prompts.shown(candidate.whole)) for candidate in candidates]

    def agreement(position: int) -> tuple[bool, float]:
        mine = words[position]
        shared = sum(len(mine & other) / (len(mine | other) or 1) for i, other in enumerate(words) if i != position)
        return candidates[position].whole.finish_reason != "length", shared

    best = max(range(len(candidates)), key=lambda position: (*agreement(position), -position))
    return Selection(best, "No judge decided; this candidate agrees most with the others.", judged=False)


def _words(text: str) -> frozenset[str]:
    """Lower-case words; each Chinese or Japanese character counts as one."""
    return frozenset(re.findall(r"[^\W\d_⺀-鿿]+|\d+(?:\.\d+)?|[⺀-鿿]", text.lower()))
