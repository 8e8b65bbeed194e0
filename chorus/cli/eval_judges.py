"""The part of `chorus eval` that measures judges: `--judges` and `--judge-pairs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from chorus.cli.eval_progress import JUDGEMENTS, progress
from chorus.config import Config
from chorus.errors import ChorusError
from chorus.evaluation.dataset import Question
from chorus.evaluation.judges.asking import JudgementFile, ask_judges
from chorus.evaluation.judges.families import family_of
from chorus.evaluation.judges.pairs import Pair, draw
from chorus.evaluation.judges.summary import Families, Judges, summarise_judges
from chorus.evaluation.results import ResultFile
from chorus.service import Chorus


@dataclass(frozen=True, slots=True)
class JudgeStudy:
    """A study of judges: how many pairs they compare, and the file of what they say.

    The pairs are of the answers in `results` to `questions` by `contestants`.
    """

    judges: Sequence[str]
    questions: Sequence[Question]
    contestants: Sequence[str]
    results: ResultFile
    judgements: JudgementFile
    families: Families
    count: int
    seed: int

    async def hold(self, chorus: Chorus, concurrency: int, console: Console) -> None:
        """Ask the judges whatever is not in the file yet.

        Raises:
            ChorusError: a judge does not answer; what has been said is kept.
        """
        pairs = self._pairs()
        done = sum((who, pair.key) in self.judgements.by_key for who in self.judges for pair in pairs)
        with progress(console, JUDGEMENTS, len(pairs) * len(self.judges), done) as tick:
            await ask_judges(chorus, self.judges, pairs, self.judgements, concurrency=concurrency, tick=tick)

    def summary(self) -> Judges:
        """Return what the judges have said so far."""
        return summarise_judges(self.judges, self._pairs(), self.judgements.by_key, self.families, self.seed)

    def _pairs(self) -> list[Pair]:
        return draw(self.questions, self.contestants, self.results.by_key, self.count, self.seed)


def judges_of(chorus: Chorus, names: str | None) -> list[str]:
    """Return the models that `--judges` names, by commas.

    Raises:
        UnknownModel: one of the names is not there.
        ChorusError: one is a workflow, or only reranks.
    """
    if names is None:
        return []
    judges = list(dict.fromkeys(chorus.snapshot.resolve(name.strip()).name for name in names.split(",")))
    for judge in judges:
        model = chorus.snapshot.models.get(judge)
        if model is None:
            raise ChorusError(f"'{judge}' is a workflow: --judges takes models, as a selector does")
        if model.reranker is not None:
            raise ChorusError(f"'{judge}' only reranks: --judges takes models that write a verdict")
    return judges


def judgement_file(folder: Path, identity: Mapping[str, str]) -> JudgementFile:
    """Return the file of judgements beside the results of an evaluation with this identity.

    Its identity is the questions and the configuration; other judgements do not matter to it.
    """
    return JudgementFile(folder / "judgements.jsonl", {key: identity[key] for key in ("questions", "configuration")})


def families_of(config: Config) -> Families:
    """Return the family of each configured model by its name."""
    return {entry.name: family_of(entry.model or entry.name, entry.provider) for entry in config.models}
