"""The value of a variable: a text where the schema wants one, else a value of TOML or JSON."""

from __future__ import annotations

import json
import math
import re
import tomllib
from datetime import date, datetime, time

from chorus.config.keys import Kind

_PLACE = re.compile(r" \(at (?:line \d+, column (\d+)|end of document)\)$")
_BEFORE = "value = "


def read_value(text: str, kind: Kind) -> object:
    """Return the value that `text` spells where `kind` may stand.

    A text is `text` as it is, or what is between the quotes of a TOML string. Elsewhere `text` is a
    TOML value; arrays and tables may be JSON, too. What is neither is a text, about which the
    schema has the last word.

    Raises:
        ValueError: an array or a table that is neither TOML nor JSON; a sentence without its text.
    """
    value, fault = _toml(text)
    if kind.is_text:
        return value if isinstance(value, str) else text
    word = text.strip()
    if word[:1] in ("[", "{"):
        return value if fault is None else _json(word, fault)
    if bool in kind.scalars and word.lower() in ("true", "false"):
        return word.lower() == "true"
    is_no_number = isinstance(value, float) and not math.isfinite(value)
    if fault is not None or is_no_number or isinstance(value, (date, datetime, time)):
        return text
    return value


def _toml(text: str) -> tuple[object, str | None]:
    """Return the value, or why it is none."""
    try:
        document = tomllib.loads(_BEFORE + text.strip())
    except RecursionError:
        return None, "nested too deeply"
    except ValueError as problem:
        place = _PLACE.search(str(problem))
        sentence = _PLACE.sub("", str(problem))
        column = int(place[1]) - len(_BEFORE) if place and place[1] else 0
        return None, f"column {column}: {sentence}" if column > 0 else sentence
    if document.keys() != {"value"}:  # a line break, and another key behind it
        return None, "more than one value"
    return document["value"], None


def _json(text: str, fault: str) -> object:
    """Return the value of a JSON text that is no TOML because of `fault`."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as problem:
        reason = f"column {problem.colno}: {problem.msg}"
    except RecursionError:
        reason = "nested too deeply"
    except ValueError as problem:
        reason = str(problem)
    raise ValueError(f"neither a TOML value ({_without_text(fault)}) nor a JSON value ({reason})")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return table


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not a number of JSON")


def _without_text(sentence: str) -> str:
    """tomllib quotes characters and keys, which may be a part of a secret."""
    return re.sub(r"""(['"]).*\1""", "a character", sentence, flags=re.DOTALL)
