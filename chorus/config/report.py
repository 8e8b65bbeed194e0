"""Collects every problem of a file before any is raised (C2), in words that show no secret (S2)."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from typing import TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from chorus.config.interpolate import interpolate
from chorus.config.overrides import Overrides
from chorus.config.table import Table
from chorus.config.toml_text import Path, Places
from chorus.errors import Problem, excerpt

_SECRET_KEYS = frozenset({"api_key", "headers", "extra_body", "url", "token", "consul_token", "proxy"})
"""What stands under these keys is described, never shown."""

_SHOWN_LENGTH = 30
"""Longer strings are described: a key in the wrong place is nearly always longer than this."""

T = TypeVar("T", bound=Table)


class Report:
    """The problems of one document, each path reported once.

    `overrides` are those of the environment in it.
    """

    def __init__(
        self, document: Mapping[str, object], places: Places, environ: Mapping[str, str], overrides: Overrides
    ) -> None:
        self.document = document
        self.places = places
        self._overrides = overrides
        self._environ = environ
        self._problems: list[Problem] = []
        self._reported: set[Path] = set()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems: those of variables, then those of the file in its order."""
        return (*self._overrides.problems, *sorted(self._problems, key=lambda problem: problem.line or 0))

    def in_string(self, path: Path, index: int) -> tuple[int, int] | None:
        """Line and column of a character of the string at `path`.

        None where they are unknown, or no file has it.
        """
        return self.places.in_string(path, index) if self._overrides.place(path) is None else None

    def add(self, path: Path, message: str, *, line: int | None = None) -> None:
        """Note a problem at `path`, unless one is known there or around it already."""
        if any(path[:length] in self._reported for length in range(len(path) + 1)):
            return
        self._reported.add(path)
        if self._overrides.place(path) is not None:
            self._problems.append(Problem(self.where(path), message))
        else:
            self._problems.append(Problem(self.where(path), message, line or self.places.line(path)))

    def expected(self, path: Path, expected: str) -> None:
        """Note that the value at `path` is not what was expected."""
        is_hidden = any(path[:length] in self._overrides.from_files for length in range(len(path) + 1))
        self.add(path, f"found {'what its file holds' if is_hidden else shown(self._raw(path), path)}, {expected}")

    def unknown_key(self, path: Path, known: Collection[str]) -> None:
        """Note a key that nobody reads.

        Its value is not shown, for it may be a misspelt `api_key`.
        """
        nearest = difflib.get_close_matches(str(path[-1]), known, n=1)
        hint = f"did you mean `{nearest[0]}`?" if nearest else f"known keys: {', '.join(sorted(known))}"
        self.add(path, f"unknown key; {hint}")

    def where(self, path: Path) -> str:
        """Table and key as a reader of the file knows them: `[[model]] "glm" temperature`.

        The variable where the environment says what stands there.
        """
        if (place := self._overrides.place(path)) is not None:
            variable, inner = place
            return f"{variable} {_dotted(inner)}".strip()
        return self.where_in_file(path)

    def where_in_file(self, path: Path) -> str:
        """The same wherever the value comes from."""
        if path[:1] == ("model",):
            return self._where_in_model(path)
        depth = 0
        while depth < len(path) and (isinstance(self._raw(path[: depth + 1]), Mapping)):
            depth += 1
        table = ".".join(_quoted(part) for part in path[:depth])
        return f"{f'[{table}]' if table else ''} {_dotted(path[depth:])}".strip()

    def _where_in_model(self, path: Path) -> str:
        depth = 2 if len(path) > 1 and isinstance(path[1], int) else 1
        index = path[1] if depth == 2 else 0
        model = self._raw(path[:depth])
        name = model.get("name") if isinstance(model, Mapping) else None
        label = ""
        if isinstance(name, str) and name:
            label = f' "{excerpt(name, 60)}"'
        elif isinstance(index, int) and isinstance(model, Mapping):
            label = f" #{index + 1}"
        return f"[[model]]{label} {_dotted(path[depth:])}".strip()

    def interpolated(self, value: object, path: Path) -> object:
        """`value` with the references in its strings replaced (C4).

        A faulty string stays as it is.
        """
        if isinstance(value, str) and path in self._overrides.plain:
            return value
        if isinstance(value, str):
            try:
                return interpolate(value, self._environ)
            except ValueError as error:
                self.add(path, str(error))
                return value
        if isinstance(value, Mapping):
            return {key: self.interpolated(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.interpolated(item, (*path, index)) for index, item in enumerate(value)]
        return value

    def check(self, model: type[T], table: object, path: Path) -> T | None:
        """`table` as a `model`; None when it is not one, with every reason noted."""
        if not isinstance(table, Mapping):
            self.expected(path, "expected a table")
            return None
        try:
            return model.model_validate(table)
        except ValidationError as error:
            # the details are read without their inputs: those may hold what the environment gave
            for detail in error.errors(include_url=False, include_input=False):
                self._note(detail, model, table, path)
            return None

    def _note(self, detail: ErrorDetails, model: type[Table], table: Mapping[str, object], path: Path) -> None:
        at: Path = path
        field: FieldInfo | None = None
        current: type[BaseModel] | None = model
        value: object = table
        for part in detail["loc"]:
            inside = _item(value, part)
            if inside is None and not (current is not None and part in current.model_fields):
                break  # pydantic's own addition: the branch of a union
            at, value = (*at, part), inside
            if current is not None and part in current.model_fields:
                field = current.model_fields[str(part)]
                current = _table_in(field.annotation)
        what = field.description if field and field.description else "another value"
        match detail["type"]:
            case "missing":
                self.add(at, f"missing; expected {what}")
            case "extra_forbidden" if current is not None:
                if at[-1] in getattr(current, "later_keys", ()):
                    self.add(at, "not available in this version yet")
                else:
                    self.unknown_key(at, current.model_fields.keys())
            case "value_error":
                is_about_key = detail["loc"][-1] == "[key]"
                self._note_sentence(at, str(detail["ctx"]["error"]), is_about_key=is_about_key)
            case _:
                self.expected(at, f"expected {what}")

    def _note_sentence(self, path: Path, sentence: str, *, is_about_key: bool) -> None:
        if is_about_key or sentence.startswith("missing"):
            self.add(path, sentence)
        else:
            self.expected(path, sentence)

    def _raw(self, path: Path) -> object:
        value: object = self.document
        for part in path:
            value = _item(value, part)
        return value


def shown(value: object, path: Path = ()) -> str:
    """Return `value` as an error shows it: itself if it is short and harmless, else its kind."""
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    match value:
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case Mapping():
            return "a table"
        case list() | tuple():
            return "an array"
        case "":
            return "an empty string"
        case str():
            kind, limit = f"a string of {len(value)} characters", _SHOWN_LENGTH
            is_address = key in ("api_base", "address", "consul")
            if is_address and not set("@?") & set(value):
                # an address is worth reading; one with a user name or a query may hold a secret
                limit = 100
            text = json.dumps(excerpt(value, limit), ensure_ascii=False)
            is_harmless = len(value) <= limit and (not is_address or limit == 100)
            return kind if not is_harmless or _SECRET_KEYS & set(path) else text
        case int() | float() if _SECRET_KEYS & set(path):
            return "a number"
        case int() | float():
            try:
                return repr(value) if len(repr(value)) <= _SHOWN_LENGTH else "a very long number"
            except ValueError:  # Python refuses to write integers of thousands of digits
                return "a very long number"
        case _:
            return "a date or time"


def _quoted(part: str | int) -> str:
    text = str(part)
    is_bare = text.replace("-", "").replace("_", "").isalnum() and text.isascii()
    return text if is_bare else f'"{excerpt(text, 60)}"'


def _dotted(path: Path) -> str:
    """`price.input`, `capabilities[1]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{_quoted(part)}" for part in path).lstrip(".")


def _item(value: object, part: str | int) -> object:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _table_in(annotation: object) -> type[BaseModel] | None:
    """Return the table class in an annotation such as `Price | None` or `dict[str, Timeouts]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_table_in, get_args(annotation))), None)
