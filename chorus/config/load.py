"""Finding the configuration file and reading it (C1, C2)."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from chorus.config.environment import SOURCE, apply, variables_in
from chorus.config.limits import LimitsConfig, StorageConfig
from chorus.config.memory import MemoryConfig
from chorus.config.migrate import modernise
from chorus.config.models import ModelConfig
from chorus.config.report import Report
from chorus.config.schema import (
    TABLES,
    Config,
    ServerConfig,
    TraceConfig,
    WorkflowConfig,
    WorkflowSettings,
)
from chorus.config.timeouts import PassThroughTimeouts, TimesTable
from chorus.config.toml_text import Path as KeyPath
from chorus.config.toml_text import Places, parse
from chorus.config.worker import WorkerConfig, check_worker
from chorus.config.workflows import read_workflow
from chorus.errors import ConfigError, Problem

_WORKFLOW_NAME = re.compile(r"[^\s/:\x00-\x1f\x7f]+")


def find(option: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the configuration file: `option` (--config), else $CHORUS_CONFIG, else the user's own
    (C1).

    None: there is none, and the environment sets keys.

    Raises ConfigError when the named file does not exist (the next place is then not tried), or
    when none is named, there is none, and the environment sets no key.
    """
    for name, value in (("--config", option), ("CHORUS_CONFIG", environ.get("CHORUS_CONFIG"))):
        if value:
            path = Path(os.path.expanduser(value))
            if os.path.isdir(path):
                raise ConfigError([Problem(name, f"{path} is a directory, expected a file")])
            if not os.path.exists(path):
                raise ConfigError([Problem(name, f"the file {path} does not exist")])
            return path
    path = default_path(environ)
    if not os.path.isfile(path):
        if variables_in(environ):
            return None
        raise ConfigError(
            [
                Problem(
                    "",
                    f"no configuration file: {path} does not exist. Four ways on: `chorus init` writes one, "
                    "`--config PATH` (or CHORUS_CONFIG) names another, variables such as CHORUS__MODEL__0__NAME "
                    "take its place, `chorus demo` needs none.",
                )
            ]
        )
    return path


def default_path(environ: Mapping[str, str]) -> Path:
    """Return the path of the user's own file, $XDG_CONFIG_HOME/chorus/config.toml (C1).

    The file need not exist.
    """
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    base = Path(environ.get("XDG_CONFIG_HOME") or ".")
    if not base.is_absolute():  # the XDG specification says to ignore it then
        base = home / ".config"
    return base / "chorus" / "config.toml"


ProblemFinder = Callable[[Config, frozenset[str]], Sequence[Problem]]
"""Finds more problems in a configuration that was read as far as possible.

It also gets the names of all `[[model]]` tables, faulty ones included. So one run reports the
file's faults and its workflows' together (C2).
"""


def load(path: Path | None, environ: Mapping[str, str], find_problems: ProblemFinder | None = None) -> Config:
    """Return the configuration in the file `path`, else in the environment alone.

    Raises ConfigError with all of its problems, those of `find_problems` included.
    """
    if path is None:
        return loads("", source=SOURCE, environ=environ, find_problems=find_problems)
    return loads(read_text(path), source=str(path), environ=environ, find_problems=find_problems)


def read_text(path: Path) -> str:
    """Return the text of a configuration file, without byte order mark.

    ConfigError when it cannot be read.
    """
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem("encoding", "not UTF-8, which TOML has to be", line)], source=str(path)) from None
    except OSError as error:
        raise ConfigError([Problem("file", f"cannot be read: {error.strerror}")], source=str(path)) from error


def loads(
    text: str, *, source: str = "", environ: Mapping[str, str], find_problems: ProblemFinder | None = None
) -> Config:
    """Read the configuration in `text`, and the keys that `environ` sets.

    Errors call the file `source`.

    Raises ConfigError with all of its problems, those of `find_problems` included (C2).
    """
    modern = modernise(parse(text, source=source))
    overrides = apply(modern.document, environ)
    report = Report(modern.document, Places(text), environ, overrides)
    for path, message in modern.faults:
        report.add(path, message)
    try:
        config = _read(modern.document, report)
    except RecursionError:  # a dotted key of a thousand parts
        raise ConfigError([Problem("TOML", "tables are nested too deeply to be read")], source=source) from None
    places = {report.where_in_file(path): variable for path, variable in overrides.variables.items()}
    more = find_problems(config, _declared(modern.document)) if find_problems is not None else ()
    problems = [
        *report.problems,
        *(_with_variable(problem, places) for problem in more),
    ]
    if problems:
        raise ConfigError(problems, source=source)
    return config.model_copy(update={"source": source, "migrated": modern.notes, "overrides": tuple(places.items())})


def _with_variable(problem: Problem, places: Mapping[str, str]) -> Problem:
    """Return `problem` with the variable that set the faulty value.

    `places` are the places that variables set. The problem is one of a workflow, or another one
    that is found after reading.
    """
    where = problem.where.replace("] ", "].")
    for place, variable in sorted(places.items(), key=lambda item: -len(item[0])):
        rest = where.removeprefix(place.replace("] ", "]."))
        if rest != where and rest[:1] in ("", ".", "["):
            return replace(problem, where=variable + rest)
    return problem


def read_worker(path: Path | None, environ: Mapping[str, str]) -> WorkerConfig:
    """Return the table `[worker]` of the file `path`, with the keys that `environ` sets.

    The other tables of the file are a gateway's. Without a file only the keys of `environ` count.

    Raises:
        ConfigError: with all problems of the table.
    """
    text, source = ("", SOURCE) if path is None else (read_text(path), str(path))
    document = parse(text, source=source)
    report = Report(document, Places(text), environ, apply(document, environ, only="worker"))
    worker = check_worker(document, report)
    if report.problems:
        raise ConfigError(report.problems, source=source)
    return worker


def _declared(document: Mapping[str, object]) -> frozenset[str]:
    """Return the names of all models, as far as they are names."""
    entries = document.get("model")
    tables = entries if isinstance(entries, list) else [entries]
    names = (table.get("name") for table in tables if isinstance(table, Mapping))
    return frozenset(name for name in names if isinstance(name, str))


def _read(document: Mapping[str, object], report: Report) -> Config:
    """Read the configuration; it is good only when `report` stays empty.

    What cannot be read has its default.
    """
    for key in document:
        if key not in TABLES:
            report.unknown_key((key,), TABLES)
    server = report.interpolated(document.get("server", {}), ("server",))
    storage = report.interpolated(document.get("storage", {}), ("storage",))
    memory = report.interpolated(document.get("memory", {}), ("memory",))
    settings = report.check(WorkflowSettings, document.get("workflow", {}), ("workflow",)) or WorkflowSettings()
    patience = report.check(PassThroughTimeouts, document.get("timeouts", {}), ("timeouts",)) or PassThroughTimeouts()
    models = _read_models(document.get("model"), report)
    limits = report.check(LimitsConfig, document.get("limits", {}), ("limits",)) or LimitsConfig()
    stored = report.check(StorageConfig, storage, ("storage",)) or StorageConfig()
    if limits.shared_concurrency and stored.redis is None:
        report.add(("limits", "shared_concurrency"), "this needs the address of a Redis as `[storage] url`")
    integration = None
    if "workflow-integration" in document:
        path = ("workflow-integration",)
        integration = read_workflow(document["workflow-integration"], path, report)
    return Config(
        server=report.check(ServerConfig, server, ("server",)) or ServerConfig(),
        models=models,
        timeouts=patience,
        workflow=settings,
        integration=integration,
        workflows=_read_workflows(document.get("workflows", {}), report),
        limits=limits,
        storage=stored,
        memory=report.check(MemoryConfig, memory, ("memory",)) or MemoryConfig(),
        trace=report.check(TraceConfig, document.get("trace", {}), ("trace",)) or TraceConfig(),
        worker=check_worker(document, report),
        warnings=_warnings(settings, patience, models),
    )


def _read_models(entries: object, report: Report) -> tuple[ModelConfig, ...]:
    if entries is None or entries == []:
        report.add(("model",), "missing; expected at least one [[model]] table")
        return ()
    if isinstance(entries, list):
        placed: list[tuple[KeyPath, object]] = [(("model", index), entry) for index, entry in enumerate(entries)]
    else:
        placed = [(("model",), entries)]
    models: list[ModelConfig] = []
    first_with: dict[str, int] = {}
    for number, (path, entry) in enumerate(placed, start=1):
        table = report.interpolated(entry, path)
        name = table.get("name") if isinstance(table, Mapping) else None
        if isinstance(name, str) and name in first_with:
            report.add((*path, "name"), f"model #{first_with[name]} has this name already; expected a unique name")
        elif isinstance(name, str):
            first_with[name] = number
        if model := report.check(ModelConfig, table, path):
            models.append(model)
    return tuple(models)


def _read_workflows(tables: object, report: Report) -> dict[str, WorkflowConfig]:
    if not isinstance(tables, Mapping):
        report.expected(("workflows",), "expected tables [workflows.NAME]")
        return {}
    workflows: dict[str, WorkflowConfig] = {}
    for name, table in tables.items():
        if not _WORKFLOW_NAME.fullmatch(name):
            report.add(("workflows", name), "expected a name without spaces, `/` and `:`, as in `chorus/NAME`")
        elif workflow := read_workflow(table, ("workflows", name), report):
            workflows[name] = workflow
    return workflows


def _warnings(
    settings: WorkflowSettings, patience: PassThroughTimeouts, models: tuple[ModelConfig, ...]
) -> tuple[str, ...]:
    tables: list[tuple[str, TimesTable]] = [("[timeouts]", patience), ("[workflow.timeouts]", settings.timeouts)]
    tables += [(f'[[model]] "{model.name}" timeouts', model.timeouts) for model in models if model.timeouts is not None]
    tables += [(f'[workflow.domains."{host}"]', times) for host, times in settings.domains.items()]
    return tuple(f"{place} {suspicion}" for place, times in tables for suspicion in times.suspicions())
