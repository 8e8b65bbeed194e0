"""`chorus eval`: single models and workflows on the user's own questions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import anyio
import typer
from rich.console import Console
from rich.markup import escape

from chorus.cli.common import ConfigOption
from chorus.cli.demo import demo_config
from chorus.cli.eval_judges import JudgeStudy, families_of, judgement_file, judges_of
from chorus.cli.eval_progress import ANSWERS, VERDICTS, progress
from chorus.config import Config
from chorus.errors import ChorusError
from chorus.evaluation.dataset import Question, load
from chorus.evaluation.judges.report import judges_section
from chorus.evaluation.judges.table import print_judges
from chorus.evaluation.report import html
from chorus.evaluation.results import ResultFile
from chorus.evaluation.runner import ask_all, judge_all
from chorus.evaluation.summary import summarise
from chorus.evaluation.table import print_table
from chorus.files import SHARED, replace_file
from chorus.service import Chorus
from chorus.serving.configuration import read_config
from chorus.telemetry import log
from chorus.texts import Text
from chorus.workflow.plan import Flow, refs

_WIDTH = 124
"""Columns that the tables need; on a narrower terminal lines break, so that words stay whole."""

_REPORT: Final = Text(
    "{report} shows it with every question on which they differ.", "{report} 中有此表，以及结果不同的每个问题。"
)
_STOPPED: Final = Text(
    "Stopped; the same command goes on. {report} shows it with every question on which they differ.",
    "已停止；再次运行同一命令即可继续。{report} 中有此表，以及结果不同的每个问题。",
)
EXAMPLE = "chorus eval examples/questions.jsonl --demo --out results"


def run(
    dataset: Annotated[Path, typer.Argument(help="The questions, one JSON object a line (docs/EVALUATION.md).")],
    config: ConfigOption = None,
    demo: Annotated[bool, typer.Option("--demo", help="Evaluate the built-in demo models.")] = False,
    workflow: Annotated[
        list[str] | None,
        typer.Option("--workflow", "-w", help="A workflow to evaluate; repeatable. All of them otherwise."),
    ] = None,
    models: Annotated[
        str | None, typer.Option("--models", "-m", help="Single models, by commas; else all that the workflows ask.")
    ] = None,
    judge: Annotated[str | None, typer.Option(help="The model that compares answers that no rule can grade.")] = None,
    judges: Annotated[
        str | None, typer.Option(help="Models, by commas, whose bias as judges is measured on the stored answers.")
    ] = None,
    judge_pairs: Annotated[
        int, typer.Option(min=1, help="Pairs of answers that each of --judges compares, in two calls each.")
    ] = 100,
    out: Annotated[Path, typer.Option(help="Where results.jsonl and report.html go.")] = Path("evaluation"),
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Questions that are asked at a time.")] = 4,
    limit: Annotated[
        int | None, typer.Option(min=1, help="How many questions to ask, from the first; all otherwise.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of the random pairs and of the bootstrap's intervals.")] = 0,
) -> None:
    """Ask single models and workflows your own questions; print their quality, speed and cost. Run
    it again to continue where it stopped."""
    log.configure("error")
    everything = load(dataset)
    loaded = demo_config() if demo else read_config(config)
    console = Console(stderr=True)
    chorus = Chorus(loaded)
    contest = _contest(chorus, everything[:limit], workflow, models, judge)
    named = judges_of(chorus, judges)
    identity = _identity(loaded, everything, contest)
    results = ResultFile(out / "results.jsonl", identity)
    # `chorus tune` reads them
    replace_file(out / "questions.jsonl", dataset.read_bytes(), new_mode=SHARED)
    study = None
    if named:
        judgements = judgement_file(out, identity)
        families = families_of(loaded)
        study = JudgeStudy(named, contest.questions, contest.names, results, judgements, families, judge_pairs, seed)
    is_stopped = False
    try:
        anyio.run(_hold, chorus, contest, results, study, concurrency, console)
    except KeyboardInterrupt:
        is_stopped = True
    finally:
        results.close()
        if study is not None:
            study.judgements.close()
    summary = summarise(contest.questions, contest.singles, contest.workflows, results.by_key, seed)
    wide = Console(width=max(Console().width, _WIDTH))
    print_table(summary, wide)
    biases = study.summary() if study is not None else None
    if biases is not None:
        print_judges(biases, wide)
    report = out / "report.html"
    title = f"Chorus: {', '.join(contest.workflows)} on {dataset.name}"
    page = html(summary, title, "" if biases is None else judges_section(biases))
    replace_file(report, page.encode(), new_mode=SHARED)
    hint = (_STOPPED if is_stopped else _REPORT).filled(report=report)
    console.print(escape(str(hint)), soft_wrap=True)
    if is_stopped:
        raise typer.Exit(130)


@dataclass(frozen=True, slots=True)
class _Contest:
    """Who is asked what, and who judges where no rule can."""

    questions: Sequence[Question]
    singles: Sequence[str]
    workflows: Sequence[str]
    judge: str | None

    @property
    def names(self) -> list[str]:
        """The contestants; the first is the one that judged answers are compared with."""
        return [*self.singles, *self.workflows]

    @property
    def judged(self) -> list[Question]:
        """The questions that no rule can grade."""
        return [question for question in self.questions if question.check == "judge"]


def _contest(
    chorus: Chorus, questions: Sequence[Question], workflow: list[str] | None, models: str | None, judge: str | None
) -> _Contest:
    """Return the contest that the options describe.

    Raises:
        UnknownModel: one of the names is not there.
        ChorusError: there is no workflow, one that is named is none, or a judge is wanted.
    """
    plans = chorus.snapshot.plans
    flows = {name: plan.root for name, plan in plans.items() if isinstance(plan.root, Flow)}
    chosen = list(dict.fromkeys(chorus.snapshot.resolve(name).name for name in workflow)) if workflow else list(flows)
    if not chosen or any(name not in flows for name in chosen):
        raise ChorusError("there is no workflow to evaluate: name one with --workflow")
    named = models.split(",") if models is not None else _chatting(chorus, [flows[name] for name in chosen])
    singles = list(dict.fromkeys(chorus.snapshot.resolve(name.strip()).name for name in named))
    if mistaken := [name for name in singles if name in flows]:
        raise ChorusError(f"'{mistaken[0]}' is a workflow, no single model: name it with --workflow")
    contest = _Contest(questions, singles, chosen, chorus.snapshot.resolve(judge).name if judge is not None else None)
    if contest.judged and judge is None:
        raise ChorusError(
            f"{len(contest.judged)} questions need a judge: name one with --judge, such as --judge {singles[0]}"
        )
    return contest


def _chatting(chorus: Chorus, flows: Sequence[Flow]) -> list[str]:
    """Return the models that `flows` ask; one that only reranks answers no question."""
    models = chorus.snapshot.models
    return [ref for flow in flows for ref in refs(flow) if models[ref].reranker is None]


async def _hold(
    chorus: Chorus,
    contest: _Contest,
    results: ResultFile,
    study: JudgeStudy | None,
    concurrency: int,
    console: Console,
) -> None:
    """Ask and judge whatever is not in `results` yet, then have the judges compared."""
    names, judged, judge = contest.names, contest.judged, contest.judge
    pairs = [(question.id, who) for question in contest.questions for who in names]
    try:
        with progress(console, ANSWERS, len(pairs), sum(pair in results.by_key for pair in pairs)) as tick:
            await ask_all(chorus, contest.questions, names, results, concurrency=concurrency, tick=tick)
        if judge is not None and judged:
            total = len(judged) * len(names)
            left = sum(results.by_key[question.id, who].score is None for question in judged for who in names)
            with progress(console, VERDICTS, total, total - left) as tick:
                await judge_all(chorus, judged, names, results, judge=judge, concurrency=concurrency, tick=tick)
        if study is not None:
            await study.hold(chorus, concurrency, console)
    finally:
        await chorus.aclose()


def _identity(config: Config, dataset: Sequence[Question], contest: _Contest) -> dict[str, str]:
    """Return the identity of an evaluation: its questions, its models and its workflows.

    Where there are verdicts, the judge and the reference belong to it. What is asked of it
    (--limit, --models, --workflow) may grow from run to run.
    """
    questions = hashlib.sha256(repr(dataset).encode()).hexdigest()
    served = hashlib.sha256(config.model_dump_json(exclude={"server", "trace", "source", "warnings"}).encode())
    identity = {"questions": questions, "configuration": served.hexdigest()}
    if any(question.check == "judge" for question in dataset):
        identity |= {"judge": contest.judge or "", "compared_with": contest.names[0]}
    return identity
