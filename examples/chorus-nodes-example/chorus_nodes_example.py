"""Two node kinds for Chorus.

`faq` is a worker: prepared answers compete with those of the models.

    {"kind": "faq", "answers": {"opening hours": "We are open from 9 to 17."}}

`shortest` is a selector: of all candidates that say at least `min_words`, the shortest.

    {"kind": "shortest", "min_words": 2}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chorus.errors import ChorusError
from chorus.types import Answer
from chorus.workflow.nodes.context import NodeContext

Spec = Mapping[str, Any]


class Faq:
    """A worker that answers what it has an answer for, and leaves the rest to the others."""

    name = "faq"

    def problems(self, spec: Spec) -> Sequence[str]:
        answers = spec.get("answers")
        if not isinstance(answers, dict) or not all(isinstance(text, str) for text in answers.values()):
            return ["a faq needs `answers`, an object of texts by the words they answer"]
        return []

    def refs(self, spec: Spec) -> Sequence[str]:
        return []  # it calls no model

    async def answer(self, context: NodeContext, spec: Spec) -> Answer:
        question = context.request.messages[-1].text.casefold()
        for words, text in spec["answers"].items():
            if words.casefold() in question:
                return Answer(text)
        raise ChorusError("No prepared answer fits")


@dataclass(frozen=True)
class Measured:
    """What a selector returns: a score for each candidate, and why the best one won."""

    scores: Sequence[float]
    reason: str


class Shortest:
    """A selector that asks nobody."""

    name = "shortest"

    def problems(self, spec: Spec) -> Sequence[str]:
        least = spec.get("min_words", 1)
        return [] if isinstance(least, int) and least > 0 else ["`min_words`: expected a whole number from 1"]

    def refs(self, spec: Spec) -> Sequence[str]:
        return []

    async def rank(self, context: NodeContext, spec: Spec, candidates: Sequence[Answer]) -> Measured:
        words = [len(candidate.text.split()) for candidate in candidates]
        least = spec.get("min_words", 1)
        scores = [-float(count) if count >= least else float("-inf") for count in words]
        return Measured(scores, f"It needs the fewest words ({-max(scores):g}).")


FAQ = Faq()
SHORTEST = Shortest()
