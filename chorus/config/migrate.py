"""Files of the old form (C10): reading them as the new form, and rewriting them.

Old: `[workflow-integration]` names its models in `analyzer_model`, `worker_models`,
`synthesizer_model` and, optionally, `selector_model`; `[workflow]` may be missing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import tomli_w

from chorus.config.schema import TREE_KEYS
from chorus.config.timeouts import TimeoutSettings
from chorus.config.toml_text import Path as KeyPath
from chorus.config.toml_text import Places, parse
from chorus.errors import ConfigError, Problem
from chorus.files import PRIVATE, replace_file, write_new

_TABLE = "workflow-integration"
_OLD_KEYS = ("analyzer_model", "worker_models", "selector_model", "synthesizer_model")
_MODELS_BECAME = "the models named in analyzer_model, worker_models, ... became the workflow in `json`"
_TIMEOUTS_ADDED = "the missing [workflow.timeouts] was added with its defaults"


@dataclass(frozen=True, slots=True)
class Migration:
    """What migrating a file gives.

    `text` is the new file; without a change, the old one as it was.
    """

    changed: bool
    text: str
    notes: tuple[str, ...] = ()
    """What was changed, one sentence each, free of values."""
    backup: Path | None = None
    """Where `rewrite` put the old file."""


@dataclass(frozen=True, slots=True)
class Modern:
    """A decoded document in the new form, its workflow as native tables.

    `faults` say what is unreadable.
    """

    document: dict[str, object]
    notes: tuple[str, ...] = ()
    faults: tuple[tuple[KeyPath, str], ...] = ()


def modernise(document: dict[str, object]) -> Modern:
    """`document` with the old keys of its workflow replaced; itself when it has none. Pure."""
    table = document.get(_TABLE)
    old = [key for key in _OLD_KEYS if key in table] if isinstance(table, Mapping) else []
    if not isinstance(table, Mapping) or not old:
        return Modern(document)
    faults = tuple(_faults(table))
    rest = {key: value for key, value in table.items() if key not in _OLD_KEYS}
    notes = [_MODELS_BECAME]
    modern = {**document, _TABLE: {**rest, **({} if faults else _tree(table))}}
    if "workflow" not in document:
        modern["workflow"] = {"timeouts": default_timeouts()}
        notes.append(_TIMEOUTS_ADDED)
    return Modern(modern, tuple(notes), faults)


def migrate(text: str) -> Migration:
    """Return the new form of a configuration file's text (C10).

    Pure; a second time it changes nothing.

    Raises ConfigError when `text` is not TOML, or has an old form whose meaning is not clear.
    """
    document = parse(text)
    modern = modernise(document)
    if modern.faults:
        places = Places(text)
        raise ConfigError(
            [Problem(f"[{_TABLE}] {path[-1]}", message, places.line(path)) for path, message in modern.faults]
        )
    if modern.notes:
        return Migration(True, _header(modern.notes, comments_lost=True) + _render(modern.document), modern.notes)
    if _TABLE in document and "workflow" not in document:
        # nothing has to be rewritten, so the file keeps its comments
        added = tomli_w.dumps({"workflow": {"timeouts": default_timeouts()}})
        notes = (_TIMEOUTS_ADDED,)
        return Migration(True, f"{_header(notes, comments_lost=False)}{text.rstrip()}\n\n{added}", notes)
    return Migration(False, text)


def rewrite(path: Path, *, now: datetime) -> Migration:
    """Migrate the file `path` in place; `now` dates its backup when `NAME.bak` is taken.

    The write is atomic and keeps the file's mode; a symbolic link stays one. Raises ConfigError as
    `migrate` does and when the file cannot be read or written; the file is then as it was.
    """
    try:
        data = path.read_bytes()
        migration = migrate(data.decode("utf-8-sig"))
        if not migration.changed:
            return migration
        backup = _write_backup(path, data, path.stat(), now)
        replace_file(path, migration.text.encode())
    except UnicodeDecodeError:
        raise ConfigError([Problem("encoding", "not UTF-8, which TOML has to be")], source=str(path)) from None
    except OSError as error:
        raise ConfigError([Problem("file", f"cannot be migrated: {error.strerror}")], source=str(path)) from error
    except ConfigError as error:
        raise ConfigError(error.problems, source=str(path)) from None
    return replace(migration, backup=backup)


def default_timeouts() -> dict[str, object]:
    """`[workflow.timeouts]` as a new file has it: those that have a time by default, in seconds."""
    return {key: int(value) for key, value in TimeoutSettings().model_dump(exclude_none=True).items()}


def _faults(table: Mapping[str, object]) -> Iterator[tuple[KeyPath, str]]:
    new = [key for key in ("json", *TREE_KEYS) if key in table]
    if new:
        old = next(key for key in _OLD_KEYS if key in table)
        yield (_TABLE, old), f"an old key beside {', '.join(new)}; expected one form only"
        return
    for key in ("analyzer_model", "selector_model", "synthesizer_model"):
        if key in table and not _is_name(table[key]):
            yield (_TABLE, key), "expected the name of a model, a string"
    workers = table.get("worker_models")
    if not isinstance(workers, list) or not workers or not all(map(_is_name, workers)):
        missing = "" if "worker_models" in table else "missing; "
        yield (_TABLE, "worker_models"), f"{missing}expected a list of at least one model name"
    if "selector_model" not in table and "synthesizer_model" not in table:
        yield (_TABLE, "synthesizer_model"), "missing; expected synthesizer_model or selector_model"


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _tree(table: Mapping[str, object]) -> dict[str, object]:
    workers = table["worker_models"]
    tree: dict[str, object] = {}
    if "analyzer_model" in table:
        tree["analyzer"] = {"ref": table["analyzer_model"], "auto_temperature": True}
    tree["workers"] = [{"ref": name} for name in workers] if isinstance(workers, list) else []
    for key in ("selector", "synthesizer"):
        if f"{key}_model" in table:
            tree[key] = {"ref": table[f"{key}_model"]}
    return tree


def _header(notes: tuple[str, ...], *, comments_lost: bool) -> str:
    lines = ["# Migrated by `chorus migrate`:", *(f"#   - {note}" for note in notes)]
    if comments_lost:
        lines.append("# Comments of the old file are not kept here; the backup beside this file (.bak) has them.")
    return "\n".join(lines) + "\n\n"


def _render(document: Mapping[str, object]) -> str:
    """`document` as TOML, its models as `[[model]]` tables and its workflow as readable JSON.

    tomli-w alone would write short models as an array of inline tables, and escape every quote of
    the JSON.
    """
    parts = [tomli_w.dumps({key: value for key, value in document.items() if not _is_section(value)})]
    for key, value in document.items():
        if key == "model" and isinstance(value, list) and _is_section(value):
            # `[model.headers]` after a `[[model]]` belongs to that model, so models are written one
            # by one
            parts += ["[[model]]\n" + tomli_w.dumps({key: item}).removeprefix("[model]\n") for item in value]
        elif key == _TABLE and isinstance(value, Mapping):
            parts.append(_render_workflow(value))
        elif _is_section(value):
            parts.append(tomli_w.dumps({key: value}))
    return "\n".join(filter(None, parts))


def _render_workflow(table: Mapping[str, object]) -> str:
    tree = {key: value for key, value in table.items() if key in TREE_KEYS}
    rest = {key: value for key, value in table.items() if key not in TREE_KEYS}
    text = json.dumps(tree, indent=2, ensure_ascii=False) + "\n"
    # JSON never has three quotes in a row, so inside """ they need no backslash
    pretty = tomli_w.dumps({"json": text}, multiline_strings=True).replace('\\"', '"')
    head, _, tail = tomli_w.dumps({_TABLE: rest}).partition("\n")
    return f"{head}\n{pretty}{tail}"


def _is_section(value: object) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)
    )


def _write_backup(path: Path, data: bytes, like: os.stat_result, now: datetime) -> Path:
    """Write `data` to the first free one of NAME.bak, NAME.bak.TIME, NAME.bak.TIME-2, ..."""
    dated = f"{path.name}.bak.{now:%Y%m%dT%H%M%S}"
    names = [f"{path.name}.bak", dated, *(f"{dated}-{number}" for number in range(2, 100))]
    for name in names:
        backup = path.with_name(name)
        with suppress(FileExistsError):
            write_new(backup, data, PRIVATE, like)
            return backup
    raise FileExistsError(17, "every name for a backup is taken")
