"""What one evaluation stored, in the form that panels are computed from. Pure data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class Variant:
    """A model as it was asked: `temperature` is the one that a workflow's node sets, empty where
    the model's own or the default holds."""

    ref: str
    temperature: str = ""

    @property
    def label(self) -> str:
        """Its name in a table."""
        return f"{self.ref}@{self.temperature}" if self.temperature else self.ref


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """One answer of one variant. `key` is equal for answers that count as the same, None where no
    answer came; `cost` is None where a price is unknown."""

    text: str
    key: str | None
    score: float
    secs: float
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """A candidate as a judge saw it."""

    ref: str
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """One pass of one judge over the candidates of one question: `choice` is a place in `shown`,
    which is the order of the prompt, and so are those in `ranking` and `scores`."""

    question: int
    judge: str
    shown: tuple[Shown, ...]
    choice: int
    ranking: tuple[int, ...] = ()
    scores: Mapping[int, float] = field(default_factory=dict)
    decisive: bool = False
    secs: float = 0.0
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class StoredAnalysis:
    """What an analyzer said about one question; `difficulty` is empty where it could not be
    read."""

    difficulty: str
    secs: float
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """One answer that a synthesizer wrote: the score of the candidate that was chosen, and that of
    what it wrote."""

    writer: str
    chosen: float
    written: float
    secs: float
    cost: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one contestant of the evaluation gave for one question."""

    score: float
    secs: float
    cost: float | None
    calls: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything stored. `answers` has, of each variant, the answers to each question; `today` the
    workflows as they ran; `unread` how often a judge gave no verdict that could be read;
    `left_out` how many questions are not used, since an answer or its score is missing."""

    ids: Sequence[str]
    answers: Mapping[Variant, Sequence[Sequence[StoredAnswer]]]
    verdicts: Sequence[Verdict] = ()
    today: Mapping[str, Sequence[Outcome]] = field(default_factory=dict)
    analyses: Mapping[str, Sequence[StoredAnalysis | None]] = field(default_factory=dict)
    merges: Sequence[Merge] = ()
    unread: Mapping[str, int] = field(default_factory=dict)
    left_out: int = 0

    @property
    def is_priced(self) -> bool:
        """Whether the cost of every answer is known."""
        return all(
            answer.cost is not None for rows in self.answers.values() for row in rows for answer in row if answer.key
        )
