"""Read an upstream's JSON: by typed decoders, and leniently where they refuse it.

msgspec refuses a whole answer for one field of another type, for half a character (`\\ud83d`), for
bytes that are not UTF-8, for NaN and for a raw line break in a string. What is needed of an answer
may be there all the same. Only what the typed decoder refused is read again here: by Python's own
reader, which takes all of these, and then field by field, where a field of another type counts as
missing.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final, Generic, TypeVar, Union, get_args, get_origin

import msgspec

from chorus import wirejson
from chorus.errors import UpstreamProtocol
from chorus.llm.reading.surrogates import decode_text, mend
from chorus.wirejson import JSON

CHECKED_FROM: Final = 64 * 1024
"""Bytes from which the structure of a text is checked before it is read.

What is smaller cannot cost much.
"""
MAX_LENIENT: Final = 1024 * 1024
"""Bytes that are read leniently.

It takes some 60 ms in the worst case, all of them on the event loop.
"""

REFUSED: Final = (msgspec.DecodeError, UnicodeDecodeError)
"""What the typed decoder raises where reading leniently may still succeed."""

T = TypeVar("T", bound=msgspec.Struct)


class Reader(Generic[T]):
    """Reads JSON objects of one shape. Every field that has a default is optional."""

    def __init__(self, shape: type[T]) -> None:
        self._shape = shape
        self._decode = msgspec.json.Decoder(shape, strict=False).decode

    def strictly(self, raw: bytes) -> T:
        """`raw` as the typed decoder reads it. Its texts hold no surrogates.

        Raises:
            REFUSED: `leniently` may read it.
            ValueError, RecursionError: it has too many values, or is too deep, to be read at all.
        """
        if len(raw) > CHECKED_FROM:
            wirejson.check(raw)
        return self._decode(raw)

    def leniently(self, raw: bytes) -> T:
        """`raw` with as many of its fields as can be read.

        Texts may hold surrogates (see `surrogates`).

        Raises:
            ValueError: it is no JSON object, lacks a field that has no default, or is too large.
        """
        return build(value_of(raw), self._shape)


def value_of(raw: bytes) -> JSON:
    """Return the JSON value `raw`, whatever its characters and numbers are like.

    NaN and Infinity are None.

    Raises:
        ValueError: it is no JSON, too large or too deep, or has too many values.
    """
    if len(raw) > MAX_LENIENT:
        raise ValueError(f"larger than {MAX_LENIENT} bytes")
    wirejson.check(raw)
    text = decode_text(raw).removeprefix("\ufeff")
    try:
        try:
            return _loads(text)
        except json.JSONDecodeError:
            raise
        except ValueError:  # a whole number of more digits than int() takes
            return _loads(text, parse_int=float)
    except RecursionError:
        raise ValueError("nested too deep") from None


_loads = partial(json.loads, strict=False, parse_constant=lambda name: None)


def normalised(raw: bytes) -> bytes:
    """`raw` as JSON that any decoder takes: without surrogates, NaN and Infinity.

    Raises:
        ValueError: see `value_of`.
    """
    return msgspec.json.encode(whole(value_of(raw)))


def build(value: JSON, shape: type[T]) -> T:
    """`value` as a `shape`.

    A field of another type counts as missing, entries of another type are left out.

    Raises:
        ValueError: it is no object, or lacks a field that has no default.
    """
    if not isinstance(value, dict):
        raise ValueError("not an object")
    read: dict[str, Any] = {}
    for name, convert, is_required in _fields(shape):
        if name in value:
            try:
                read[name] = convert(value[name])
                continue
            except (ValueError, msgspec.ValidationError):
                pass
        if is_required:
            raise ValueError(f"no '{name}'")
    return shape(**read)


@cache
def _fields(shape: type[msgspec.Struct]) -> list[tuple[str, Callable[[JSON], Any], bool]]:
    """Return name, converter, and whether it is required, of each field."""
    return [(field.name, _converter(field.type), field.required) for field in msgspec.structs.fields(shape)]


def _converter(kind: Any) -> Callable[[JSON], Any]:
    """Return what turns a value into a `kind`, and raises ValueError or ValidationError for one of
    another type.
    """
    if get_origin(kind) in (Union, types.UnionType):
        inner = [_converter(member) for member in get_args(kind) if member is not type(None)]
        assert len(inner) == 1, "a field has one type, and may be None"
        return lambda value: None if value is None else inner[0](value)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return lambda value: build(value, kind)
    if get_origin(kind) is list and issubclass(item := get_args(kind)[0], msgspec.Struct):
        return lambda value: _items(value, item)
    return lambda value: msgspec.convert(value, kind, strict=False)


def _items(value: JSON, shape: type[T]) -> list[T]:
    """Return the entries of a list that can be read as a `shape`."""
    if not isinstance(value, list):
        raise ValueError("not a list")
    built: list[T] = []
    for entry in value:
        try:
            built.append(build(entry, shape))
        except ValueError:
            continue
    return built


def string_of(value: JSON) -> str:
    """`value` where it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def compact(value: JSON) -> str:
    """`value` as JSON text without spaces and without surrogates.

    Raises:
        UpstreamProtocol: it is too deep to be written.
    """
    try:
        try:
            return msgspec.json.encode(value).decode()
        except UnicodeEncodeError:
            finite = json.loads(json.dumps(value), parse_constant=lambda name: None)
            return mend(json.dumps(finite, ensure_ascii=False, separators=(",", ":")))[0]
    except RecursionError:
        raise UpstreamProtocol("The upstream sent JSON that is nested too deep") from None


def whole(value: JSON) -> JSON:
    """`value`, its texts without surrogates.

    Raises:
        UpstreamProtocol: it is too deep to be written.
    """
    try:
        msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.decode(compact(value))
    except RecursionError:
        raise UpstreamProtocol("The upstream sent JSON that is nested too deep") from None
    return value
