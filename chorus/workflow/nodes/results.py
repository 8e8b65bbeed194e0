"""What workers leave behind: a result each, and what a layer of them gives the judges. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chorus.events import Fault
from chorus.types import Answer
from chorus.workflow.judging.verdict import Analysis


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """The answer of the worker at `index`, or the `fault` that is why there is none. `is_valid` is
    False for an answer without the response format that the request asks for."""

    index: int
    label: str
    answer: Answer | None = None
    fault: Fault | None = None
    is_valid: bool = True

    @property
    def whole(self) -> Answer:
        """The answer of a result that is a candidate."""
        assert self.answer is not None
        return self.answer


@dataclass(frozen=True, slots=True)
class Gathered:
    """The results of a layer. `agreed` is the position in `candidates` of the answer that needs no
    judge, None where judges decide; `next_index` is where the paths of a further layer begin."""

    candidates: Sequence[WorkerResult]
    failures: Sequence[WorkerResult]
    analysis: Analysis | None
    next_index: int
    agreed: int | None = None


def gathered(
    results: Sequence[WorkerResult], agreed: WorkerResult | None, analysis: Analysis | None, next_index: int
) -> Gathered:
    """Return `results`, in the order of their workers, as what a layer gave."""
    ordered = sorted(results, key=lambda result: result.index)
    candidates = [result for result in ordered if result.answer is not None]
    failures = [result for result in ordered if result.answer is None]
    position = candidates.index(agreed) if agreed is not None else None
    return Gathered(candidates, failures, analysis, next_index, position)
