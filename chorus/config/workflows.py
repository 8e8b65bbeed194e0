"""`[workflow-integration]` and `[workflows.NAME]`, from JSON text or native tables (C5, C8, C9)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from chorus.config.report import Report, shown
from chorus.config.schema import TREE_KEYS, WorkflowConfig
from chorus.config.toml_text import Path

_OWN_KEYS = tuple(key for key in WorkflowConfig.model_fields if key not in ("tree", "tree_place"))
KEYS = ("json", *TREE_KEYS, *_OWN_KEYS)
"""What may stand in a workflow's table."""


def read_workflow(table: object, path: Path, report: Report) -> WorkflowConfig | None:
    """Return the workflow that stands at `path`.

    None when it cannot be read, with every reason in `report`.
    """
    if not isinstance(table, Mapping):
        report.expected(path, "expected a table")
        return None
    for key in table:
        if key not in KEYS:
            report.unknown_key((*path, key), KEYS)
    tree = _read_tree(table, path, report)
    place = report.where((*path, "json")) if "json" in table else report.where_in_file(path)
    own = {key: table[key] for key in _OWN_KEYS if key in table}
    # an empty tree stands in for one that could not be read, so that the other keys are checked all
    # the same
    config = report.check(WorkflowConfig, {"tree": tree or {}, "tree_place": place, **own}, path)
    return config if tree is not None else None


def _read_tree(table: Mapping[str, object], path: Path, report: Report) -> Mapping[str, object] | None:
    native = {key: table[key] for key in TREE_KEYS if key in table}
    if "json" not in table:
        if native:
            return native
        report.add(path, f"no workflow; expected `json` or the keys {', '.join(TREE_KEYS)}")
        return None
    if native:
        report.add((*path, "json"), f"found beside {', '.join(native)}; expected the workflow in one form only")
        return None
    text = table["json"]
    if not isinstance(text, str):
        report.expected((*path, "json"), "expected a workflow as JSON text, a string")
        return None
    return _read_json(text, (*path, "json"), report)


def _read_json(text: str, path: Path, report: Report) -> Mapping[str, object] | None:
    try:
        # strict=False: TOML turns the \n of a prompt into a line break before JSON sees it
        tree: object = json.loads(text, strict=False, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        place = report.in_string(path, error.pos)
        if place:
            report.add(path, f"column {place[1]}: not valid JSON: {error.msg}", line=place[0])
        else:
            report.add(path, f"not valid JSON (line {error.lineno}, column {error.colno} of it): {error.msg}")
        return None
    except (ValueError, RecursionError) as error:
        is_deep = isinstance(error, RecursionError)
        report.add(path, f"not a usable workflow: {'it is nested too deeply' if is_deep else error}")
        return None
    if not isinstance(tree, dict):
        report.add(path, f"found {shown(tree)} in it, expected a JSON object")
        return None
    return tree


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return a JSON object whose keys differ; of two `workers` the first would silently vanish."""
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{shown(twice)} stands twice in one object")
    return result


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number of JSON")
