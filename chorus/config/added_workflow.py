"""A workflow of its own at the end of a TOML text, which else stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping

import tomli_w

from chorus.config.toml_text import parse
from chorus.errors import ConfigError, Problem
from chorus.wirejson import JSON

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def with_workflow(text: str, name: str, description: str, tree: Mapping[str, JSON], comment: str) -> str:
    """`text` with `[workflows.NAME]` behind it, under a `comment` of one line or more.

    Raises:
        ConfigError: the name is no bare key of TOML, the text has such a workflow, or cannot be
            added to.
    """
    place = f"[workflows.{name}]"
    if not _NAME.fullmatch(name):
        raise ConfigError([Problem(place, "a name has letters, digits, `-` and `_` only")])
    plain = text.replace("\r\n", "\n")
    document = parse(plain)
    workflows = document.setdefault("workflows", {})
    if not isinstance(workflows, dict):
        raise ConfigError([Problem("workflows", "expected tables such as [workflows.NAME]")])
    if name in workflows:
        raise ConfigError([Problem(place, "there is one already; give the new one another name")])
    table = workflow_table(name, description, tree, comment)
    added = f"{plain.rstrip()}\n\n{table}".lstrip()
    workflows[name] = {"description": description, **tree}
    try:
        is_only_change = parse(added) == document
    except ConfigError:  # `workflows = {...}` on one line cannot be added to
        is_only_change = False
    if not is_only_change:
        raise ConfigError([Problem(place, f"write it by hand:\n{table}")])
    return added.replace("\n", "\r\n") if "\r\n" in text else added


def workflow_table(name: str, description: str, tree: Mapping[str, JSON], comment: str) -> str:
    """Return `[workflows.NAME]` under its `comment`."""
    notes = "".join(f"# {line}\n" for line in comment.splitlines())
    keys = "".join(f"{key} = {_inline(value)}\n" for key, value in {"description": description, **tree}.items())
    return f"{notes}[workflows.{name}]\n{keys}"


def _inline(value: JSON) -> str:
    """Return a value on one line."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_inline(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return tomli_w.dumps({"a": value}).partition(" = ")[2].strip()
