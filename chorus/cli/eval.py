"""`chorus eval`: single models and workflows on the user's own questions."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import anyio
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chorus.cli.common import ConfigOption, read_config
from chorus.cli.demo import demo_config
from chorus.config import Config
from chorus.errors import ChorusError
from chorus.evaluation.dataset import Question, load
from chorus.evaluation.report import html
from chorus.evaluation.results import ResultFile
from chorus.evaluation.runner import Tick, ask_all, judge_all
from chorus.evaluation.summary import summarise
from chorus.evaluation.table import print_table
from chorus.service import Chorus
from chorus.telemetry import log
from chorus.workflow.plan import Flow, refs

_WIDTH = 124
"""Columns that the table needs; a narrower terminal breaks its lines, which beats cutting its words."""

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
    judge: Annotated[str | None, typer.Option(help="Who compares answers that no rule can grade.")] = None,
    out: Annotated[Path, typer.Option(help="Where results.jsonl and report.html go.")] = Path("evaluation"),
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Questions that are asked at a time.")] = 4,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many questions.")] = None,
) -> None:
    """Ask single models and workflows your own questions; print how good, how quick and how dear they are. Run it again to go
    on where it was stopped."""
    log.configure("error")
    questions = load(dataset)[:limit]
    loaded = demo_config() if demo else read_config(config)
    console = Console(stderr=True)
    anyio.run(_evaluate, loaded, questions, workflow, models, judge, out, concurrency, console)


async def _evaluate(
    config: Config,
    questions: Sequence[Question],
    workflow: list[str] | None,
    models: str | None,
    judge: str | None,
    out: Path,
    concurrency: int,
    console: Console,
) -> None:
    chorus = Chorus(config)
    try:
        singles, workflows = _contestants(chorus, workflow, models)
        names = [*singles, *workflows]
        judged = [each for each in questions if each.check == "judge"]
        if judged and judge is None:
            raise ChorusError(
                f"{len(judged)} questions need a judge: name one with --judge, such as --judge {names[0]}"
            )
        results = ResultFile(out / "results.jsonl", _identity(config, questions, judge))
        try:
            with _progress(console, "answers", len(questions) * len(names), len(results.found)) as tick:
                await ask_all(chorus, questions, names, results, concurrency=concurrency, tick=tick)
            if judge is not None and judged:
                chorus.snapshot.resolve(judge)
                left = sum(results.found[each.id, who].score is None for each in judged for who in names)
                with _progress(console, "verdicts", len(judged) * len(names), len(judged) * len(names) - left) as tick:
                    await judge_all(chorus, judged, names, results, judge=judge, concurrency=concurrency, tick=tick)
        finally:
            results.close()
    finally:
        await chorus.aclose()
    summary = summarise(questions, singles, workflows, results.found)
    plain = Console()
    print_table(summary, Console(width=max(plain.width, _WIDTH)))
    report = out / "report.html"
    report.write_text(html(summary, f"Chorus: {', '.join(workflows)} on {len(questions)} questions"), encoding="utf-8")
    console.print(f"{report} shows it with every question on which they differ.")


def _contestants(chorus: Chorus, workflow: list[str] | None, models: str | None) -> tuple[list[str], list[str]]:
    """The names of the single models and of the workflows.

    Raises:
        UnknownModel: one of them is not there.
        ChorusError: there is no workflow, or one that is named is none.
    """
    plans = chorus.snapshot.plans
    flows = {name: plan.root for name, plan in plans.items() if isinstance(plan.root, Flow)}
    chosen = [chorus.snapshot.resolve(name).name for name in workflow] if workflow else list(flows)
    if not chosen or any(name not in flows for name in chosen):
        raise ChorusError("there is no workflow to evaluate: name one with --workflow")
    asked = dict.fromkeys(ref for name in chosen for ref in refs(flows[name]))
    singles = [name.strip() for name in models.split(",")] if models is not None else list(asked)
    return [chorus.snapshot.resolve(name).name for name in singles], chosen


def _identity(config: Config, questions: Sequence[Question], judge: str | None) -> dict[str, str]:
    """What tells one evaluation from another: its questions, its models and workflows, its judge."""
    asked = hashlib.sha256(repr(questions).encode()).hexdigest()
    served = hashlib.sha256(config.model_dump_json(exclude={"server", "trace", "source", "warnings"}).encode())
    return {"questions": asked, "configuration": served.hexdigest(), "judge": judge or ""}


@contextmanager
def _progress(console: Console, what: str, total: int, done: int) -> Iterator[Tick]:
    """A bar on the terminal while the block lasts."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=bool(os.environ.get("CI"))) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda: bar.advance(task)
