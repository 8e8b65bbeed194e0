"""Configuration by environment: `CHORUS__SECTION__KEY` sets a key, in place of what the file says.

A name is the path of a key, its parts joined by two underscores: `CHORUS__MODEL__0__API_BASE`. With
`_FILE` behind it, the variable names a file that holds the value. `keys` says what may stand where,
`written_values` reads what a variable holds; here the values are put into the document of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from chorus.config.keys import Kind, kind_of, root
from chorus.config.overrides import BETWEEN, Overrides, as_part
from chorus.config.schema import TREE_KEYS
from chorus.config.toml_text import Path
from chorus.config.written_values import read_value
from chorus.errors import ENVIRONMENT, Problem
from chorus.secret_files import SUFFIX, read_bounded, read_secret

SOURCE: Final = "the environment"
"""What errors call a configuration that is in no file."""

_MAX_PARTS: Final = 16
_MAX_INDEX: Final = 10_000
_EXCLUSIVE: Final = ("api_base", "replicas", "discovery")
"""Of these a model has one."""
_WORKFLOWS: Final = ("workflow-integration", "workflows")
_SECRET_NAME: Final = re.compile(r"(?i)key|token|secret|passw|auth|credential|cookie|signature")
"""Names of the engine's options and of `extra_body` whose values may be in a file."""
_DESCRIPTIONS: Final = 20
"""Names of keys that one error lists."""


class Variable(NamedTuple):
    """A variable that sets a key."""

    name: str
    parts: tuple[str, ...]
    value: str

    @property
    def order(self) -> tuple[tuple[int, int, str], ...]:
        """Tables come before their keys, the first entry of an array before the second."""
        last = self.parts[-1].upper().removesuffix(SUFFIX)
        parts = (*self.parts[:-1], last)
        return tuple((0, int(part), "") if _is_index(part) else (1, 0, part.upper()) for part in parts)


def variables_in(environ: Mapping[str, str]) -> list[Variable]:
    """Return the variables that set keys. One that is empty counts as not set, as `${NAME:-}` of
    compose files leaves it."""
    variables = [
        Variable(name, tuple(name[len(ENVIRONMENT) :].split(BETWEEN)), value)
        for name, value in environ.items()
        if name.upper().startswith(ENVIRONMENT) and value
    ]
    return sorted(variables, key=lambda variable: (variable.order, variable.name))


def apply(document: dict[str, Any], environ: Mapping[str, str], only: str | None = None) -> Overrides:
    """Put what the variables say into `document`, and return which of them set what.

    `only` names the one table that is read here; variables of the other tables are left alone.
    """
    overrides = Overrides()
    others = root().fields or {}
    for variable in variables_in(environ):
        table = variable.parts[0].lower().removesuffix(SUFFIX.lower()).replace("_", "-")
        if only is not None and table != only and table in others:
            continue
        try:
            _Setting(variable, document, overrides).apply()
        except ValueError as problem:
            overrides.problems.append(Problem(variable.name, str(problem)))
    _drop_what_is_replaced(document, overrides.variables)
    return overrides


class _Setting:
    """One variable on its way through the document."""

    def __init__(self, variable: Variable, document: dict[str, Any], overrides: Overrides) -> None:
        self._variable = variable
        self._document = document
        self._overrides = overrides
        self._made: list[tuple[Any, str | int, Path, object]] = []
        """New tables on the way: what holds each, its key, its path, and an empty copy."""

    def apply(self) -> None:
        """Set the value; where it cannot be set, leave no empty table behind.

        Raises:
            ValueError: there is no such key, or it cannot have such a value; the sentence says why.
        """
        try:
            self._apply()
        except ValueError:
            for holder, key, path, empty in reversed(self._made):
                if _get(holder, key) == empty:
                    del holder[key]
                    del self._overrides.made[path]
            raise

    def _apply(self) -> None:
        *tables, last = self._variable.parts
        if not all(self._variable.parts) or len(self._variable.parts) > _MAX_PARTS:
            raise ValueError(f"expected a name such as {ENVIRONMENT}SERVER__PORT")
        holder: Any = self._document
        kind, path = root(), Path()
        written = ENVIRONMENT.removesuffix(BETWEEN)
        for part in tables:
            key, kind = self._inner(part, kind, holder, written, path)
            written, path = f"{written}{BETWEEN}{part}", (*path, key)
            holder = self._entered(holder, key, kind, path, written)
        is_file = _names_a_file(last, kind)
        if is_file:
            last = last[: -len(SUFFIX)]
        key, kind = self._inner(last, kind, holder, written, path)
        path = (*path, key)
        is_secret = kind.is_secret or kind.is_free or path[-2:-1] == ("headers",)
        if (other := self._overrides.variables.get(path)) is not None:
            raise ValueError(f"sets the same key as {other}; expected one of the two")
        value = self._value(kind, is_file=is_file, is_secret=is_secret)
        self._overrides.variables[path] = self._variable.name
        if isinstance(value, str):
            self._overrides.plain.add(path)
        if is_file:
            self._overrides.from_files.add(path)
        _put(holder, key, value)

    def _value(self, kind: Kind, *, is_file: bool, is_secret: bool) -> object:
        text = self._variable.value
        if not is_file:
            return read_value(text, kind)
        if is_secret:
            return read_secret(text)
        return read_bounded(text) if kind.is_text else read_value(read_bounded(text), kind)

    def _inner(self, part: str, kind: Kind, holder: Any, written: str, path: Path) -> tuple[str | int, Kind]:
        """Return the key that `part` names in `holder`, and what may stand there."""
        if kind.fields is not None:
            return self._known(part, kind, written)
        if kind.items is not None:
            return self._entry(part, kind_of(kind.items), holder, written, path), kind_of(kind.items)
        if kind.names is not None:
            is_header = path[-1:] == ("headers",)
            return _own_name(part, holder, is_header=is_header), kind_of(kind.names)
        if kind.is_free:
            if isinstance(holder, list):
                return self._entry(part, Kind(), holder, written, path), kind
            return _own_name(part, holder), kind
        raise ValueError(f"unknown key; {written} is a value, without keys of its own")

    def _known(self, part: str, kind: Kind, written: str) -> tuple[str, Kind]:
        fields = kind.fields or {}
        by_name = {_normal(name): name for name in fields}
        name = by_name.get(_normal(part))
        if name is not None:
            return name, kind_of(fields[name])
        if _normal(part) in map(_normal, kind.later):
            raise ValueError("not available in this version yet")
        raise ValueError(f"unknown key; {_hint(part, list(fields), written)}")

    def _entry(self, part: str, entry: Kind, holder: Any, written: str, path: Path) -> int:
        """Return the index of an entry of an array, which is named by a number or by its `name`."""
        if _is_index(part):
            return self._index(part, holder, written)
        fields = entry.fields or {}
        if "name" not in fields:
            raise ValueError(f"expected the number of an entry, such as {written}{BETWEEN}0")
        named = [str(table.get("name", "")) if isinstance(table, Mapping) else "" for table in holder]
        fitting = [index for index, name in enumerate(named) if _normal(name) == _normal(part)]
        if len(fitting) > 1:
            raise ValueError(f"names {len(fitting)} entries; expected a number, such as {written}{BETWEEN}0")
        if fitting:
            return fitting[0]
        if _normal(part) in map(_normal, fields):
            raise ValueError(f"expected a number or a name before the key: {written}{BETWEEN}0{BETWEEN}{part}")
        self._make(holder, len(holder), (*path, len(holder)), f"{written}{BETWEEN}{part}")
        holder[-1]["name"] = _as_name(part)
        self._made[-1] = (*self._made[-1][:-1], dict(holder[-1]))
        return len(holder) - 1

    def _index(self, part: str, holder: Any, written: str) -> int:
        index, next_index = int(part), len(holder)
        if index > next_index:
            raise ValueError(f"expected {written}{BETWEEN}{next_index} as the next entry")
        return index

    def _entered(self, holder: Any, key: str | int, kind: Kind, path: Path, written: str) -> Any:
        """Return the table or array under `key` of `holder`, made where there is none.

        Raises:
            ValueError: there can be none.
        """
        if kind == Kind(scalars=kind.scalars):
            raise ValueError(f"unknown key; {written} is a value, without keys of its own")
        inner, following = _get(holder, key), self._variable.parts[len(path)]
        if kind.items is not None and isinstance(inner, dict):
            inner = [inner]  # `[model]` is one entry
        elif isinstance(inner, str) and "api_base" in (kind.fields or {}):
            inner = {"api_base": inner}  # a replica that is written as its address
        elif isinstance(inner, str) and kind.is_free and path[0] in _WORKFLOWS:
            inner = {"ref": inner}  # a model of a workflow that is written as its name
        fits = (list,) if kind.items is not None else (dict, list) if kind.is_free else (dict,)
        if not isinstance(inner, fits):
            is_array = kind.items is not None or (kind.is_free and _is_index(following))
            return self._make(holder, key, path, written, [] if is_array else {})
        if isinstance(inner, dict) and "json" in inner and "json" in (kind.fields or {}):
            _expand(inner, following)
        _put(holder, key, inner)
        return inner

    def _make(self, holder: Any, key: str | int, path: Path, written: str, made: Any = None) -> Any:
        made = {} if made is None else made
        _put(holder, key, made)
        self._overrides.made[path] = written
        self._made.append((holder, key, path, type(made)()))
        return made


def _names_a_file(part: str, kind: Kind) -> bool:
    """Return whether the last part of a name is a key with `_FILE` behind it."""
    bare = part[: -len(SUFFIX)]
    if not part.upper().endswith(SUFFIX) or not bare:
        return False
    if kind.fields is not None:
        known = {_normal(name) for name in (*kind.fields, *kind.later)}
        return _normal(part) not in known and _normal(bare) in known
    inner = kind_of(kind.names) if kind.names is not None else kind
    return inner.is_text if kind.names is str else inner.is_free and bool(_SECRET_NAME.search(bare))


def _expand(workflow: dict[str, Any], part: str) -> None:
    """Let the tree of a workflow stand in its table where `part` names a key of it.

    JSON that cannot be read stays, and is reported as the file's.
    """
    if part.lower() not in TREE_KEYS:
        return
    try:
        tree = json.loads(workflow["json"], strict=False)
    except (TypeError, ValueError, RecursionError):
        return
    if isinstance(tree, dict) and tree.keys() <= set(TREE_KEYS):
        del workflow["json"]
        workflow.update(tree)


def _drop_what_is_replaced(document: Mapping[str, Any], variables: Mapping[Path, str]) -> None:
    """Drop what the file has in another form than the environment: the environment wins."""
    for path in variables:
        if path[:1] == ("model",) and len(path) > 2 and path[2] in _EXCLUSIVE:
            others = set(_EXCLUSIVE) - {other[2] for other in variables if _is_in(path[:2], other)}
            table = _at(document, path[:2])
        elif path[-1] == "json" and path[0] in _WORKFLOWS:
            own = {other[len(path) - 1] for other in variables if _is_in(path[:-1], other)}
            others = set(TREE_KEYS) - own
            table = _at(document, path[:-1])
        else:
            continue
        for key in others & table.keys():
            del table[key]


def _is_in(table: Path, path: Path) -> bool:
    return len(path) > len(table) and path[: len(table)] == table


def _at(document: Any, path: Path) -> dict[str, Any]:
    for key in path:
        document = document[key]
    return document if isinstance(document, dict) else {}


def _get(holder: Any, key: str | int) -> Any:
    if isinstance(key, int):
        return holder[key] if key < len(holder) else None
    return holder.get(key)


def _put(holder: Any, key: str | int, value: object) -> None:
    if isinstance(key, int) and key == len(holder):
        holder.append(value)
    else:
        holder[key] = value


def _is_index(part: str) -> bool:
    return part.isascii() and part.isdecimal() and len(part) < 6 and int(part) < _MAX_INDEX


def _normal(name: str) -> str:
    """`name` as a variable can have it: `GLM_4_6` is `glm-4.6`."""
    return re.sub(r"\W", "_", name, flags=re.ASCII).lower()


def _as_name(part: str) -> str:
    """Return a new name: in small letters, unless it has some already."""
    return part if part != part.upper() else part.lower()


def _own_name(part: str, holder: Any, *, is_header: bool = False) -> str:
    """Return the name in `holder` that `part` means, else a new one."""
    fitting = [name for name in holder if _normal(name) == _normal(part)]
    if len(fitting) > 1:
        raise ValueError("names several keys of the file; expected their table as one value")
    if fitting:
        return str(fitting[0])
    return _as_name(part.replace("_", "-") if is_header else part)


def _hint(part: str, names: Sequence[str], written: str) -> str:
    suffix = SUFFIX if part.upper().endswith(SUFFIX) else ""
    known = [as_part(name) for name in names]
    near = get_close_matches(part.upper(), [*known, *(f"{name}{SUFFIX}" for name in known)], n=1)
    near = near or get_close_matches(part.upper().removesuffix(suffix), known, n=1)
    if near:
        return f"did you mean `{written}{BETWEEN}{near[0]}`?"
    listed = ", ".join(f"{written}{BETWEEN}{name}" for name in sorted(known)[:_DESCRIPTIONS])
    return f"known: {listed}"
