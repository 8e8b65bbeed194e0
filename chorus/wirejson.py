"""JSON as it goes over a wire: strict when read, safe for every client when written.

Reading refuses what `json.loads` lets through and later breaks something: NaN and Infinity, lone surrogates, nesting
deep enough to exhaust the stack. Writing escapes U+2028, U+2029 and U+0085: clients that split lines as Unicode does
(ollama's Python client) otherwise cut an NDJSON line in two.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

MAX_DEPTH: Final = 128
"""Deepest nesting of a body we read (S3): far beyond any real request, far below the interpreter's stack."""

MAX_VALUES: Final = 250_000
"""Most values of a body that is read as a whole."""

JSON = Any
"""A decoded JSON value. Typed loosely on purpose: whoever reads one checks the shape it needs."""

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def decode(data: bytes | str) -> JSON:
    """Read one JSON value.

    Raises:
        ValueError: not JSON, not UTF-8, or deeper than `MAX_DEPTH`; the message says which and never quotes the data.
    """
    raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    try:
        if (raw.count(b"[") + raw.count(b"{")) > MAX_DEPTH and _depth(raw) > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        return _decoder.decode(raw)
    except UnicodeDecodeError:
        raise ValueError("not valid UTF-8") from None
    except msgspec.DecodeError as problem:
        raise ValueError(str(problem)) from None


_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)


def check(raw: bytes) -> None:
    """Refuse a text that is too wide to be read as JSON, at the speed of counting.

    Raises:
        ValueError: it has more than `MAX_VALUES` values.
    """
    if raw.count(b"[") + raw.count(b"{") + raw.count(b",") <= MAX_VALUES:
        return
    # a quote that follows no backslash begins or ends a string, and half of all strings may be names
    bare = b"," * (MAX_VALUES + 1)
    if raw.count(b'"') - raw.count(b'\\"') <= 4 * MAX_VALUES:
        bare = _STRINGS.sub(b"", raw)
    if bare.count(b"[") + bare.count(b"{") + bare.count(b",") > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES} values")


def _depth(raw: bytes) -> int:
    """The deepest nesting of brackets outside strings; a text that is not JSON gets some number or other."""
    depth = deepest = 0
    for match in _BRACKETS.finditer(raw):
        token = match.group()
        if token in (b"[", b"{"):
            depth += 1
            deepest = max(deepest, depth)
        elif token in (b"]", b"}"):
            depth -= 1
    return deepest


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
