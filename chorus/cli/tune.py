"""`chorus tune`: which panel to serve, from the stored answers of one evaluation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import anyio
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chorus import config as configuration
from chorus import tunings
from chorus.cli.common import ConfigOption
from chorus.cli.demo import demo_config
from chorus.config.added_workflow import with_workflow
from chorus.config.load import read_text
from chorus.errors import ChorusError, ConfigError, Problem
from chorus.evaluation.dataset import Question
from chorus.evaluation.tuning.asking import VerdictFile, verdicts_of
from chorus.evaluation.tuning.choosing import Bounds
from chorus.evaluation.tuning.evidence import Verdict
from chorus.evaluation.tuning.outline import as_tuning, outline, workflow
from chorus.evaluation.tuning.race import Race
from chorus.evaluation.tuning.reading import identity_of, read
from chorus.evaluation.tuning.report import with_panels
from chorus.evaluation.tuning.search import Search, SearchResult
from chorus.evaluation.tuning.table import print_outline
from chorus.files import SHARED, replace_file
from chorus.service import Chorus
from chorus.serving.configuration import read_config
from chorus.snapshot import workflow_problems
from chorus.telemetry import log
from chorus.texts import Text
from chorus.wirejson import JSON

_WIDTH = 124
"""Columns that the table needs."""

_PANELS: Final = Text("panels", "组合")
_JUDGE_CALLS: Final = Text("judge calls", "评审调用")
_REPORT: Final = Text(
    "{report} shows it with the frontier drawn. So does the page of a server, under Tuning, where `[server] "
    "evaluations` holds the folder.",
    "{report} 中有前沿图；`[server] evaluations` 指向该文件夹时，服务器页面的“调优”中也有。",
)
_WRITTEN: Final = Text("{path} has it as the model chorus/{name}.", "{path} 中已有模型 chorus/{name}。")
EXAMPLE = "chorus tune results --max-p95 5 --write tuned --config config.toml"


def run(
    results: Annotated[Path, typer.Argument(help="The folder that `chorus eval` wrote (its --out).")],
    config: ConfigOption = None,
    demo: Annotated[bool, typer.Option("--demo", help="The evaluation was of the built-in demo models.")] = False,
    max_cost: Annotated[float | None, typer.Option(min=0, help="What 1,000 questions may cost.")] = None,
    max_p95: Annotated[float | None, typer.Option(min=0, help="Seconds that 95 % of the answers may take.")] = None,
    min_quality: Annotated[
        float | None, typer.Option(min=0, max=100, help="The least quality: a share such as 0.8, or 80 per cent.")
    ] = None,
    judge_calls: Annotated[
        int, typer.Option(min=0, help="The largest number of new judge calls, on the panels that may still win.")
    ] = 0,
    write: Annotated[
        str | None, typer.Option(help="Add the recommended panel as [workflows.NAME] to the file of --config.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, max=256, help="Judge calls that are made at a time.")] = 4,
    seed: Annotated[int, typer.Option(help="The seed of the folds, the random draws and the bootstrap.")] = 0,
) -> None:
    """Find the panel of models that is worth its calls, from the stored answers of an evaluation.
    Calls no model without --judge-calls. Run it again to continue where it stopped."""
    log.configure("error")
    if write is not None:
        if config is None:
            raise ConfigError([Problem("--write", "name the file that it is added to with --config")])
        # what is wrong with the name is said before the search
        _edited(write, config, "", {"workers": []}, "")
    evidence, questions = read(results)
    least = min_quality / 100 if min_quality is not None and min_quality > 1 else min_quality
    if max_cost is not None and not evidence.is_priced:
        raise ChorusError("--max-cost needs prices, which the evaluation has not: set `price` of each model")
    search = Search(evidence, Bounds(max_cost, max_p95, least), seed)
    console = Console(stderr=True)
    race = Race(search, judge_calls) if judge_calls else None
    if race is not None:
        _judge(race, search, questions, results, concurrency, console, config, demo=demo)
    with _progress(console) as bar:
        task = bar.add_task(str(_PANELS), total=len(search.panels))
        result = search.run(race.verdicts if race is not None else (), lambda: bar.advance(task))
    shown = outline(search, result, new_calls=race.asked if race is not None else 0)
    print_outline(shown, Console(width=max(Console().width, _WIDTH)))
    report = results / "report.html"
    page = report.read_text(encoding="utf-8", errors="replace") if report.exists() else ""
    replace_file(report, with_panels(page, shown).encode(), new_mode=SHARED)
    tunings.write(results, as_tuning(shown, results.resolve().name))
    console.print(escape(str(_REPORT.filled(report=report))), soft_wrap=True)
    if write is not None:
        assert config is not None
        _write(write, config, result, results, console)
    if result.choice is None:
        raise typer.Exit(1)


def _judge(
    race: Race,
    search: Search,
    questions: Mapping[str, Question],
    results: Path,
    concurrency: int,
    console: Console,
    config: Path | None,
    *,
    demo: bool,
) -> None:
    """Ask the judges what `race` wants.

    Raises:
        ChorusError: the questions are not in the folder, or a judge does not answer.
    """
    ids = search.evidence.ids
    if any(name not in questions for name in ids):
        raise ChorusError(
            f"{results} has not the questions, which new verdicts need: run the same `chorus eval` again, which adds them"
        )
    chorus = Chorus(demo_config() if demo else read_config(config))
    kept = VerdictFile(results / "verdicts.jsonl", identity_of(results))

    async def ask() -> None:
        try:
            with _progress(console) as bar:
                task = bar.add_task(str(_JUDGE_CALLS), total=None)
                while wanted := race.wanted():
                    bar.update(task, total=race.asked)
                    said: list[Verdict] = await verdicts_of(
                        chorus,
                        wanted,
                        ids,
                        questions,
                        kept,
                        concurrency=concurrency,
                        tick=lambda: bar.advance(task),
                    )
                    race.take(said)
        finally:
            await chorus.aclose()

    try:
        anyio.run(ask)
    finally:
        kept.close()


def _write(name: str, path: Path, result: SearchResult, results: Path, console: Console) -> None:
    """Add the recommended panel to the file at `path`.

    Raises:
        ConfigError: it cannot be added, or the configuration would not be right with it.
    """
    if result.choice is None:
        raise ChorusError("no panel is within the bounds: nothing was written")
    description, tree, comment = workflow(result.choice.chosen, len(result.scored), results.resolve().name)
    edited = _edited(name, path, description, tree, comment)
    configuration.loads(edited, source=str(path), environ=os.environ, find_problems=workflow_problems)
    replace_file(path, edited.encode())
    console.print(escape(str(_WRITTEN.filled(path=path, name=name))), soft_wrap=True)


def _edited(name: str, path: Path, description: str, tree: Mapping[str, JSON], comment: str) -> str:
    """Return the file at `path` with the workflow `name` added.

    Raises:
        ConfigError: the file cannot be read, or the workflow cannot be added.
    """
    return with_workflow(read_text(path), name, description, tree, comment)


def _progress(console: Console) -> Progress:
    """Return a bar on the terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=bool(os.environ.get("CI")))
