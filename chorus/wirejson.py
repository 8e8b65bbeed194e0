"""JSON as it goes over a wire: strict and bounded when read, safe for every client when written.

Reading refuses what `json.loads` lets through and later breaks something: NaN and Infinity, lone
surrogates, nesting deep enough to exhaust the stack, and more values than one message has use for.
Writing escapes U+2028, U+2029 and U+0085: clients that split lines as Unicode does (ollama's Python
client) otherwise cut an NDJSON line in two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec

MAX_DEPTH: Final = 128
"""Deepest nesting of a body (S3): far beyond real requests, far below the interpreter's stack."""

MAX_VALUES: Final = 250_000
"""Most values in one message.

A value costs up to 25 times its bytes once decoded (`[],` is 80 bytes of memory), so that their
number bounds the memory and the time of decoding: 20 MiB and 20 ms here. The largest real requests,
lists of token numbers to embed, have some ten thousands.
"""

JSON = Any
"""A decoded JSON value. Typed loosely on purpose: each reader checks the shape it needs."""

_decoder = msgspec.json.Decoder()
_field_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()

_SLICE: Final = 256 * 1024
"""Bytes scanned in one step, so that a scan in a worker thread lets the event loop run.

A step takes about 1 ms, 30 ms at worst.
"""


_SKIP: Final = 1024 * 1024
"""Bytes in which the end of a string is looked for at a time."""
_TOO_DEEP: Final = f"nested deeper than {MAX_DEPTH} levels"
_NOT_SEPARATORS: Final = bytes(byte for byte in range(256) if byte not in b",[{")
_NOT_STRUCTURE: Final = bytes(byte for byte in range(256) if byte not in b'",[{')
_OBJECTS: Final = {dict}
_NOT_NESTING: Final = bytes(byte for byte in range(256) if byte not in b'"[]{}')
_PASSES: Final = 12
"""Levels of nesting that are proven without a walk through the values.

Tools of agents have about eight.
"""
_LARGE: Final = 16 * 1024
"""Bytes of a body from which it pays to look for fields that are read in another way."""
_HUGE: Final = 4 * 1024 * 1024
"""Bytes of a body from which it does not: a field that a reader cannot use is decoded twice at one
go, and a megabyte of escapes takes 6 ms."""
_FEW: Final = 2 * MAX_VALUES
"""Bytes of a body that cannot hold more than `MAX_VALUES` values."""
_MAX_FIELDS: Final = 1000
"""Of a body that are looked at one by one: 0.5 ms. Real ones have thirty at most."""


class Structure(NamedTuple):
    """How many separators (commas and opening brackets) a JSON text has, and how many brackets.

    Those in strings are counted too. So its values are at most one more, and its depth is at most
    its brackets.
    """

    separators: int
    brackets: int


class EncodedArray(NamedTuple):
    """A JSON array of a body that is left encoded: it is passed on, and hardly looked into."""

    raw: bytes

    def decoded(self) -> list[JSON]:
        """Return the values of the array.

        A number beyond what a float or an int holds is a `msgspec.Raw`.
        """
        return decode_array(self.raw)


def decode(data: bytes | str) -> JSON:
    """Read one JSON value.

    Raises:
        ValueError: not JSON, not UTF-8, deeper than `MAX_DEPTH`, or more than `MAX_VALUES` values;
            the message says which and never quotes the data.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    return decode_checked(raw, check(raw))


def decode_checked(raw: bytes | msgspec.Raw, structure: Structure, depth: int = MAX_DEPTH) -> JSON:
    """Read one JSON value for which `check` has returned `structure`, of `depth` levels at most.

    Raises ValueError as `decode` does.
    """
    try:
        value = _decoder.decode(raw)
    except UnicodeDecodeError:
        raise ValueError("not valid UTF-8") from None
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except msgspec.DecodeError as problem:
        raise ValueError(str(problem)) from None
    if structure.brackets > depth and is_deeper(value, depth):
        raise ValueError(_TOO_DEEP)
    return value


FieldReader = Callable[[msgspec.Raw], Any]
"""Reads a field of a body from its JSON; None where it has to be decoded as any other.

The JSON is well-formed but for what is in its strings, and may be nested deeper than `MAX_DEPTH`.
"""


def decode_fields(
    raw: bytes, readers: Mapping[str, FieldReader], structure: Structure | None = None
) -> tuple[JSON, Structure]:
    """Return one JSON value, decoded but for those fields of a large object that `readers` read,
    and the structure of what is decoded.

    `structure` is what `check` has returned for the whole, where it was called already. Looking for
    the fields takes 0.3 ns to 1.3 ns a byte.

    Raises:
        ValueError: as `decode` does.
    """
    is_split = _LARGE <= len(raw) <= _HUGE and bool(readers)
    if structure is None and (not is_split or len(raw) > _FEW):
        structure = check(raw)
    fields = _fields_of(raw) if is_split else None
    if fields is None:
        structure = structure or check(raw)
        return decode_checked(raw, structure), structure
    body: dict[str, JSON] = {}
    separators = brackets = 0
    for name, field in fields.items():
        value = None
        if (reader := readers.get(name)) is not None:
            # a view keeps the whole body
            value = reader(field if 2 * len(field) > len(raw) else field.copy())
        if value is None:
            own = structure or structure_of(bytes(field))
            separators, brackets = separators + own.separators, brackets + own.brackets
            value = decode_checked(field, own, MAX_DEPTH - 1)
        body[name] = value
    return body, structure or Structure(separators, brackets)


def _fields_of(raw: bytes) -> dict[str, msgspec.Raw] | None:
    """Return the fields of an object; None where it has many, or is none."""
    try:
        fields = _field_decoder.decode(raw)
    except (ValueError, RecursionError):  # what `decode_checked` explains
        return None
    return fields if len(fields) <= _MAX_FIELDS else None


def encoded_array(raw: msgspec.Raw) -> EncodedArray | None:
    """Return a large array as it is: 100 tools are 4,000 values, whose making, walking and encoding
    take 1 ms. A `FieldReader`."""
    value = bytes(raw)
    is_good = len(value) >= _LARGE and value.startswith(b"[") and _is_utf8(value) and _is_shallow(value)
    return EncodedArray(value) if is_good else None


def decode_array(raw: bytes) -> list[JSON]:
    """Return the values of an array that `decode_fields` has left encoded.

    Such an array may hold numbers that no float or int holds (`1e999`): finding them beforehand
    would take as long as decoding. They stay `msgspec.Raw`, which is encoded as it came.
    """
    values: list[JSON]
    try:
        values = _decoder.decode(raw)
    except msgspec.ValidationError:
        values = json.loads(raw, parse_float=_number, parse_int=_number)
    return values


def _number(digits: str) -> JSON:
    try:
        return _decoder.decode(digits)
    except msgspec.ValidationError:
        return msgspec.Raw(digits.encode())


def _is_utf8(raw: bytes) -> bool:
    try:
        str(raw, "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def check(raw: bytes) -> Structure:
    """Count the commas and brackets of a JSON text; refuse one of too many values.

    The cost is one pass at the speed of memory, which counts commas and opening brackets, those
    inside of strings too. Only a text with more than `MAX_VALUES` of them is scanned exactly, in
    slices: in a worker thread it lets the event loop run between them.

    Raises:
        ValueError: more than `MAX_VALUES` values.
    """
    structure = structure_of(raw)
    if structure.separators <= MAX_VALUES:
        return structure
    values = quotes = 0
    for separators, quotes_here in _outside_of_strings(raw):
        values += separators
        quotes += quotes_here
        # a value has one key at most, and both may be strings
        if values > MAX_VALUES or quotes > 4 * (MAX_VALUES + 1):
            raise ValueError(f"more than {MAX_VALUES} values")
    return structure


def structure_of(raw: bytes) -> Structure:
    """Return the commas and opening brackets of a JSON text, counted.

    A long string without any (an image in base64) is skipped at the speed of `memchr`, a tenth of
    the scan's cost.
    """
    separators = brackets = start = 0
    size = len(raw)
    while start < size:
        part = raw[start : start + _SLICE].translate(None, _NOT_SEPARATORS)
        start += _SLICE
        separators += len(part)
        brackets += len(part) - part.count(b",")
        if not part:
            start = _next_separator(raw, start)
    return Structure(separators, brackets)


def _next_separator(raw: bytes, start: int) -> int:
    """Return the index of the first comma or opening bracket from `start` on.

    It is `len(raw)` or more where none follows.
    """
    while start < len(raw):
        end = start + _SKIP
        indices = [index for byte in b",[{" if (index := raw.find(byte, start, end)) >= 0]
        if indices:
            return min(indices)
        start = end
    return start


def _is_shallow(raw: bytes) -> bool:
    """Return whether arrays and objects of a JSON text are certainly nested to `_PASSES` levels at
    most.

    1 ns a byte.

    What is left of the text when all but quotes and brackets is taken away loses its innermost
    pairs with each pass.
    """
    rest = raw
    if b"\\" in rest:
        rest = rest.replace(b"\\\\", b"").replace(b'\\"', b"")
    rest = rest.translate(None, _NOT_NESTING).replace(b'""', b"")
    if b'"' in rest:  # strings that hold brackets
        rest = b"".join(rest.split(b'"')[::2])
    for _ in range(_PASSES):
        if not rest:
            return True
        rest = rest.replace(b"[]", b"").replace(b"{}", b"")
    return not rest


def _outside_of_strings(raw: bytes) -> Iterator[tuple[int, int]]:
    """Return commas, opening brackets outside of strings, and quotes for each slice of `raw`."""
    is_in_string = False
    start, size = 0, len(raw)
    while start < size:
        part = raw[start : start + _SLICE]
        start += len(part)
        # an escape is not cut in two
        if start < size and (len(part) - len(part.rstrip(b"\\"))) % 2:
            part += raw[start : start + 1]
            start += 1
        if b"\\" in part:
            part = part.replace(b"\\\\", b"").replace(b'\\"', b"")
        part = part.translate(None, _NOT_STRUCTURE)
        quotes = part.count(b'"')
        yield sum(map(len, part.split(b'"')[int(is_in_string) :: 2])), quotes
        is_in_string ^= bool(quotes % 2)


def is_deeper(value: JSON, limit: int) -> bool:
    """Return whether arrays and objects are nested in `value` to more than `limit` levels.

    20 ns to 50 ns a value.
    """
    level = [value]
    for _ in range(limit + 1):
        kinds = set(map(type, level))
        if dict not in kinds and list not in kinds:
            return False
        objects = level if kinds == _OBJECTS else [item for item in level if type(item) is dict]
        arrays = [item for item in level if type(item) is list] if list in kinds else ()
        level = [*chain.from_iterable(map(dict.values, objects)), *chain.from_iterable(arrays)]
    return True


def encode_upstream(value: JSON) -> bytes:
    """Write one JSON value for a reader that does not split lines.

    A long text that is not ASCII is a third shorter.
    """
    return _encoder.encode(value)


def encode(value: JSON) -> bytes:
    """Write one JSON value on one line, without a line break at its end."""
    raw = _encoder.encode(value)
    if raw.isascii():
        return raw
    if b"\xe2\x80\xa8" in raw or b"\xe2\x80\xa9" in raw:
        raw = raw.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    if b"\xc2\x85" in raw:
        raw = raw.replace(b"\xc2\x85", b"\\u0085")
    return raw
