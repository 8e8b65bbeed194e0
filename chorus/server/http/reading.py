"""Reading request bodies: types checked field by field, errors that name the field (A6)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Final, TypeVar

import msgspec

from chorus import wirejson
from chorus.errors import InvalidRequest
from chorus.wirejson import JSON

_Body = TypeVar("_Body", bound=msgspec.Struct)
_Taken = TypeVar("_Taken")

_PLACE: Final = " - at `$"
_MISSING = re.compile(r"Object missing required field `([^`]*)`")
_MAX_WORDS: Final = 200
"""Characters of msgspec's sentence that a client reads: it quotes a wrong word of an enumeration,
however long it is."""


def read(body: JSON, shape: type[_Body]) -> _Body:
    """Return `body` as `shape`; fields that it does not know are ignored.

    Raises:
        InvalidRequest: a field is missing or has the wrong type; `param` names it.
    """
    if not isinstance(body, dict):
        raise InvalidRequest("The request body must be a JSON object.")
    try:
        return msgspec.convert(body, shape)
    except msgspec.ValidationError as error:
        raise _explained(str(error)) from None


def _explained(problem: str) -> InvalidRequest:
    """Return an error with msgspec's sentence in our words.

    msgspec writes "Expected `str`, got `int` - at `$.messages[0].role`".
    """
    end = problem.rfind(_PLACE) if problem.endswith("`") else -1
    what, place = (problem[:end], problem[end + len(_PLACE) : -1]) if end >= 0 else (problem, "")
    what, place = what[:_MAX_WORDS], place.lstrip(".")[:_MAX_WORDS]
    if missing := _MISSING.match(what):
        field = f"{place}.{missing[1]}" if place else missing[1]
        return InvalidRequest(f"Missing required field '{field}'.", param=field)
    what = what[:1].lower() + what[1:].replace("`", "'")
    return InvalidRequest(f"Invalid value for '{place}': {what}.", param=place or None)


def taken_out(body: JSON, name: str, kind: type[_Taken]) -> tuple[JSON, _Taken | None]:
    """Return `body` with an empty array in the field `name` if that is a `kind`, and its value."""
    value = body.get(name) if isinstance(body, dict) else None
    return ({**body, name: []}, value) if isinstance(value, kind) else (body, None)


def is_object(text: str) -> bool:
    """Return whether `text` is a whole JSON object."""
    try:
        return isinstance(wirejson.decode(text), dict)
    except ValueError:
        return False


def unknown_fields(body: Mapping[str, JSON], shape: type[msgspec.Struct]) -> dict[str, JSON]:
    """Return the fields of `body` that `shape` does not know.

    They travel to a pass-through upstream (A6).
    """
    return {key: body[key] for key in body.keys() - _names(shape)}


@cache
def _names(shape: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(shape.__struct_fields__)
