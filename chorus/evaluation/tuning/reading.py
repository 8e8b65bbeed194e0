"""The folder of `chorus eval` as evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from chorus.errors import ChorusError
from chorus.evaluation.dataset import Question, load
from chorus.evaluation.grading import is_right
from chorus.evaluation.results import Result
from chorus.evaluation.tuning.evidence import (
    Evidence,
    Merge,
    Outcome,
    Shown,
    StoredAnalysis,
    StoredAnswer,
    Variant,
    Verdict,
)
from chorus.types import Answer
from chorus.workflow.judging.agreement import key

QUESTIONS: Final = "questions.jsonl"
RESULTS: Final = "results.jsonl"
_FEWEST: Final = 2


def read(folder: Path) -> tuple[Evidence, Mapping[str, Question]]:
    """Return what the evaluation in `folder` stored, and its questions by their ids; there are none
    where an earlier version wrote the folder. Questions that some model has not answered, or whose
    answers have no score, are left out.

    Raises:
        ChorusError: there is no evaluation in it, it has no single model, or fewer questions than
            it takes.
    """
    results = _results(folder / RESULTS)
    path = folder / QUESTIONS
    questions = {question.id: question for question in load(path)} if path.exists() else {}
    evidence = evidence_of(results, questions)
    if (count := len(evidence.ids)) < _FEWEST:
        raise ChorusError(
            f"every contestant has answered, and got a score for, {count} of {count + evidence.left_out} questions; it takes "
            f"at least {_FEWEST} to choose on some and report on others: run `chorus eval` again, or with more questions"
        )
    return evidence, questions


def identity_of(folder: Path) -> Mapping[str, Any]:
    """Return what distinguishes the evaluation in `folder` from others.

    Raises:
        ChorusError: it does not say so.
    """
    path = folder / RESULTS
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.readline(), type=dict[str, Any])
    except (OSError, ValueError) as problem:
        raise ChorusError(f"{path} line 1 does not name the evaluation: {problem}") from problem


def evidence_of(results: Sequence[Result], questions: Mapping[str, Question]) -> Evidence:
    """See `read`."""
    if not results:
        raise ChorusError("the evaluation has no result yet: run `chorus eval` again, which goes on")
    ids = list(dict.fromkeys(result.id for result in results))
    by_key = {(result.id, result.contestant): result for result in results}
    names = list(dict.fromkeys(result.contestant for result in results))
    workflows = [name for name in names if any(r.trace is not None for r in results if r.contestant == name)]
    singles = [name for name in names if name not in workflows]
    if not singles:
        raise ChorusError("the evaluation has no single model: run `chorus eval` with --models")
    complete = [
        name for name in ids if all((r := by_key.get((name, who))) is not None and r.score is not None for who in names)
    ]
    pool: dict[Variant, dict[str, list[StoredAnswer]]] = {Variant(who): {} for who in singles}
    for name in complete:
        for who in singles:
            pool[Variant(who)].setdefault(name, []).append(_answer(by_key[name, who]))
    reader = _Traces(
        questions, pool, {(name, who): by_key[name, who].score or 0.0 for name in complete for who in singles}
    )
    for name in complete:
        for who in workflows:
            try:
                reader.read(by_key[name, who])
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as problem:
                raise ChorusError(
                    f"the trace of '{who}' for the question '{name:.60}' is not as this version writes it "
                    f"({type(problem).__name__}: {problem}); evaluate in another folder"
                ) from problem
    kept = {variant: rows for variant, rows in pool.items() if 2 * len(rows) >= len(complete)}
    used = [name for name in complete if all(name in rows for rows in kept.values())]
    if not used:
        raise ChorusError("no question has been answered and graded by every contestant yet: run `chorus eval` again")
    return _evidence(used, kept, reader, by_key, workflows, len(ids) - len(used))


def _evidence(
    used: Sequence[str],
    kept: Mapping[Variant, Mapping[str, Sequence[StoredAnswer]]],
    reader: _Traces,
    by_key: Mapping[tuple[str, str], Result],
    workflows: Sequence[str],
    left_out: int,
) -> Evidence:
    place = {name: number for number, name in enumerate(used)}
    today = {
        who: [Outcome(r.score or 0.0, r.secs, r.cost, r.calls) for r in (by_key[name, who] for name in used)]
        for who in workflows
    }
    analyses = {analyzer: [rows.get(name) for name in used] for analyzer, rows in reader.analyses.items()}
    verdicts = [replace(verdict, question=place[name]) for name, verdict in reader.verdicts if name in place]
    answers = {variant: [rows[name] for name in used] for variant, rows in kept.items()}
    return Evidence(used, answers, verdicts, today, analyses, reader.merges, reader.unread, left_out)


class _Traces:
    """What the traces of workflows add: further answers of models, verdicts, analyses and
    merges."""

    def __init__(
        self,
        questions: Mapping[str, Question],
        pool: dict[Variant, dict[str, list[StoredAnswer]]],
        single_scores: Mapping[tuple[str, str], float],
    ) -> None:
        self._questions = questions
        self._pool = pool
        self._single_scores = single_scores
        self.verdicts: list[tuple[str, Verdict]] = []
        self.analyses: dict[str, dict[str, StoredAnalysis]] = {}
        self.merges: list[Merge] = []
        self.unread: dict[str, int] = {}

    def read(self, result: Result) -> None:
        """Add what the trace of one run of a workflow shows."""
        trace = result.trace
        if not isinstance(trace, Mapping):
            return
        scores = {candidate.text: candidate.score for candidate in result.candidates if candidate.score is not None}
        if result.score is not None:
            scores.setdefault(result.text, result.score)
        self._flow(result.id, trace, scores)
        self._merge(result, trace)

    def _flow(self, name: str, trace: Mapping[str, Any], scores: Mapping[str, float]) -> None:
        shown: dict[str, Shown] = {}
        last = max((worker.get("layer", 1) for worker in trace["workers"]), default=1)
        for worker in trace["workers"]:
            text = worker.get("response") or ""
            score = self._score(name, text, scores, worker["model"])
            if "nested" in worker:
                self._flow(name, worker["nested"], scores)
            elif score is not None:
                self._worker(name, worker, score)
            if worker.get("layer", 1) == last and worker["status"] == "ok" and text and score is not None:
                shown[worker["name"]] = Shown(worker["model"] or worker["name"], text, score)
        self._selector(name, trace["selector"], shown)
        self._analyzer(name, trace["analyzer"])

    def _worker(self, name: str, worker: Mapping[str, Any], score: float) -> None:
        """Add the answer of one worker.

        Answers that a panel would not have given alike are left out: of a later layer or a hedge,
        or at a temperature that an analysis or a rule has set.
        """
        model, status = worker["model"], worker["status"]
        if model is None or worker.get("layer", 1) > 1 or worker.get("hedge") or status in ("cancelled", "skipped"):
            return
        if worker["temperature_source"] == "analyzer":
            return
        node = f"{worker['temperature']:g}" if worker["temperature_source"] == "node" else ""
        rows = self._pool.setdefault(Variant(model, node), {})
        text = worker.get("response") or ""
        is_answer = status == "ok" and bool(text)
        equal = key(Answer(text), "normalised") if is_answer else None
        secs = worker["duration_ms"] / 1000
        rows.setdefault(name, []).append(
            StoredAnswer(text, equal, score if is_answer else 0.0, secs, worker.get("cost"))
        )

    def _selector(self, name: str, stage: Mapping[str, Any] | None, shown: Mapping[str, Shown]) -> None:
        if stage is None or stage["model"] is None:
            return
        for one in stage.get("passes") or [stage]:
            if one["status"] in ("fallback", "failed"):
                self.unread[stage["model"]] = self.unread.get(stage["model"], 0) + 1
            order = one.get("order_shown") or ()
            chosen = one.get("selected_worker")
            if one["status"] != "ok" or len(order) < 2 or chosen not in order or not set(order) <= shown.keys():
                continue
            at = {label: place for place, label in enumerate(order)}
            verdict = Verdict(
                0,
                stage["model"],
                tuple(shown[label] for label in order),
                at[chosen],
                tuple(at[label] for label in one.get("ranking", ()) if label in at),
                {at[label]: float(score) for label, score in one.get("scores", {}).items() if label in at},
                bool(one.get("decisive")),
                one["duration_ms"] / 1000,
                one.get("cost"),
            )
            self.verdicts.append((name, verdict))

    def _analyzer(self, name: str, stage: Mapping[str, Any] | None) -> None:
        if stage is None or stage["model"] is None or stage["status"] != "ok":
            return
        said = stage.get("analysis") or {}
        difficulty = {"direct": "easy", "ensemble": ""}.get(said.get("strategy", ""), said.get("difficulty") or "")
        analysis = StoredAnalysis(difficulty, stage["duration_ms"] / 1000, stage.get("cost"))
        self.analyses.setdefault(stage["model"], {}).setdefault(name, analysis)

    def _merge(self, result: Result, trace: Mapping[str, Any]) -> None:
        stage = trace["synthesizer"]
        if stage is None or stage["status"] != "ok" or stage["model"] is None:
            return
        chosen = result.candidates[result.selected].score if result.selected is not None else None
        if chosen is not None and result.score is not None:
            secs = stage["duration_ms"] / 1000
            self.merges.append(Merge(stage["model"], chosen, result.score, secs, stage.get("cost")))

    def _score(self, name: str, text: str, scores: Mapping[str, float], model: str | None) -> float | None:
        """Return the score of an answer: by the question's rule, else that of an answer of the same
        text. Where only a judge could grade it, it counts as good as the model's single answer.
        """
        if not text:
            return 0.0
        question = self._questions.get(name)
        right = is_right(question, text) if question is not None else None
        if right is not None:
            return float(right)
        return scores[text] if text in scores else self._single_scores.get((name, model or ""))


def _answer(result: Result) -> StoredAnswer:
    is_answer = not result.error and bool(result.text)
    equal = key(Answer(result.text), "normalised") if is_answer else None
    return StoredAnswer(result.text, equal, result.score or 0.0, result.secs, result.cost)


def _results(path: Path) -> list[Result]:
    """Return the results in the file; of one question and contestant the last.

    Raises:
        ChorusError: it cannot be read, or holds none.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as problem:
        raise ChorusError(f"{path.parent} is no folder of `chorus eval`: {problem}") from problem
    return list({(result.id, result.contestant): result for result in _decoded(path, lines[1:-1])}.values())


def _decoded(path: Path, lines: Sequence[bytes]) -> Iterator[Result]:
    for number, line in enumerate(lines, start=2):
        try:
            yield msgspec.json.decode(line, type=Result)
        except ValueError as problem:
            raise ChorusError(f"{path} line {number} is no result: {problem}") from problem
