"""JSON objects in a text that a model wrote, read as models write them. Pure; the time is linear in
the text.

Taken: single and typographic quotes, keys and words without quotes, commas too many or too few, raw
line breaks in strings, apostrophes in strings with single quotes, the full-width signs of Chinese
keyboards, a text that ends too early.

Reading an object stops at the first thing that is not understood, and keeps what was read before
it: what follows may be inside of a string whose quotes were not escaped, and then its words are
another author's. A library that guesses on (`json_repair`, used here before) takes such words for
members; it also took 7.8 s for 4,000 characters of `1','`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from chorus.wirejson import JSON

_MAX_DEPTH: Final = 16
"""A verdict has three levels."""
_MAX_WORD: Final = 100

_SPACE = re.compile(r"\s*")
_NAME = re.compile(r"[^\W\d][\w.-]*")
_WORD = re.compile(r"[^\s,，:：{}\[\]\"'“”‘’]+")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_NEXT_KEY = re.compile(r"[\"“]\w{1,40}[\"”]\s*[:：]")
"""Where a comma was forgotten."""
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_WORDS: Final[Mapping[str, bool | None]] = {"true": True, "false": False, "null": None, "none": None}
_CLOSING: Final[Mapping[str, str]] = {'"': '"', "'": "'", "“": "”", "‘": "’"}
_COMMAS: Final = (",", "，")
_COLONS: Final = (":", "：")
_AFTER_KEY: Final = _COLONS
_AFTER_VALUE: Final = (*_COMMAS, "}", "]", "")


class TooLong(Exception):
    """The text has more tokens than may be read."""


class _Stopped(Exception):
    """Something was not understood `at` this position.

    `in_string` says that only the beginning of a string is known.
    """

    def __init__(self, at: int, *, in_string: bool = False) -> None:
        super().__init__()
        self.at = at
        self.in_string = in_string


@dataclass(frozen=True, slots=True)
class LooseObject:
    """An object at `text[start:end]`, or what could be read of it.

    `is_whole` says that it has its closing brace. Otherwise `end` is where reading stopped, and
    `in_string` says that this is the beginning of a string whose end is not known: everything
    behind it may belong to it. `repeated` are the keys that came again with another value; `value`
    has the first one.
    """

    value: Mapping[str, JSON]
    start: int
    end: int
    is_whole: bool
    in_string: bool = False
    repeated: frozenset[str] = frozenset()


class ObjectReader:
    """Reads the objects of one text."""

    def __init__(self, text: str, max_tokens: int = 8_000) -> None:
        """Read `text`, at most `max_tokens` of it.

        A token takes 2 µs, an opening brace as long as eight. A verdict on eight candidates has
        600.
        """
        self._text = text
        self._left = max_tokens
        self._escaped = (
            frozenset(escape.end() - 1 for escape in _ESCAPE.finditer(text)) if "\\" in text else frozenset()
        )
        self._inner: list[LooseObject] = []
        """Whole objects directly inside the one that is being read, not inside one another."""

    def at(self, start: int) -> LooseObject:
        """Return the object whose opening brace is at `start`.

        Raises:
            TooLong: as many tokens as may be have been read.
        """
        self._inner = []
        self._count(8)
        members: dict[str, JSON] = {}
        repeated: set[str] = set()
        is_whole, in_string = True, False
        try:
            end = self._members(start + 1, members, 1, repeated)
        except _Stopped as stop:
            is_whole, in_string, end = False, stop.in_string, stop.at
        return LooseObject(members, start, end, is_whole, in_string, frozenset(repeated))

    def all(self) -> Iterator[LooseObject]:
        """Yield the outermost whole objects, and what could be read of those without an end.

        Behind a string without a known end the search goes on inside of it.

        Raises:
            TooLong: as many tokens as may be have been read.
        """
        at = self._text.find("{")
        while at >= 0:
            read = self.at(at)
            if read.value:
                yield read
            if not read.is_whole:
                yield from self._inner
            at = self._text.find("{", max(read.end, at + 1))

    def _members(self, at: int, members: dict[str, JSON], depth: int, repeated: set[str]) -> int:
        """Read the members from `at` into `members`; return the position after the closing brace.

        Keys that stand there twice go into `repeated`.
        """
        while True:
            at = self._space(at)
            sign = self._text[at : at + 1]
            if sign == "}":
                return at + 1
            if sign in _COMMAS:
                at += 1
                continue
            key, at = self._key(at)
            at = self._space(at)
            if self._text[at : at + 1] not in _COLONS:
                raise _Stopped(at)
            value, at = self._value(self._space(at + 1), depth)
            if members.setdefault(key, value) != value:
                repeated.add(key)
            at = self._space(at)
            if self._text[at : at + 1] not in (*_COMMAS, "}") and not _NEXT_KEY.match(self._text, at):
                raise _Stopped(at)

    def _items(self, at: int, depth: int) -> tuple[list[JSON], int]:
        items: list[JSON] = []
        while True:
            at = self._space(at)
            sign = self._text[at : at + 1]
            if sign == "]":
                return items, at + 1
            if sign in _COMMAS:
                at += 1
                continue
            value, at = self._value(at, depth)
            items.append(value)
            at = self._space(at)
            if self._text[at : at + 1] not in (*_COMMAS, "]"):
                raise _Stopped(at)

    def _key(self, at: int) -> tuple[str, int]:
        self._count()
        if self._text[at : at + 1] in _CLOSING:
            return self._string(at, _AFTER_KEY)
        name = _NAME.match(self._text, at, at + _MAX_WORD)
        if name is None:
            raise _Stopped(at)
        return name.group(), name.end()

    def _value(self, at: int, depth: int) -> tuple[JSON, int]:
        self._count()
        sign = self._text[at : at + 1]
        if sign in _CLOSING:
            return self._string(at, _AFTER_VALUE)
        if sign in ("{", "["):
            if depth == _MAX_DEPTH:
                raise _Stopped(at)
            if sign == "[":
                return self._items(at + 1, depth + 1)
            return self._inner_object(at, depth + 1)
        word = _WORD.match(self._text, at, at + _MAX_WORD)
        if word is None:
            raise _Stopped(at)
        return _meaning(word.group()), word.end()

    def _inner_object(self, at: int, depth: int) -> tuple[JSON, int]:
        members: dict[str, JSON] = {}
        repeated: set[str] = set()
        end = self._members(at + 1, members, depth, repeated)
        while self._inner and self._inner[-1].start > at:
            self._inner.pop()
        self._inner.append(LooseObject(members, at, end, is_whole=True, repeated=frozenset(repeated)))
        return members, end

    def _string(self, at: int, followers: tuple[str, ...]) -> tuple[str, int]:
        """Return a string and the position behind it.

        Its closing quote stands before one of `followers`.

        Raises _Stopped at any other quote: the quotes inside of this string were not escaped.
        """
        text, closing = self._text, _CLOSING[self._text[at]]
        end = at
        while True:
            self._count()
            # `find` runs at memory speed: a string without an end is searched again from each brace
            end = text.find(closing, end + 1)
            if end < 0:
                raise _Stopped(at, in_string=True)
            if end in self._escaped:
                continue
            behind = self._space(end + 1)
            if text[behind : behind + 1] in followers or (behind > end + 1 and _NEXT_KEY.match(text, behind)):
                return _unescaped(text[at + 1 : end]), end + 1
            if not (closing == "'" and text[end - 1].isalnum() and text[end + 1 : end + 2].isalnum()):
                raise _Stopped(at, in_string=True)

    def _space(self, at: int) -> int:
        space = _SPACE.match(self._text, at)
        assert space is not None
        self._count()
        return space.end()

    def _count(self, tokens: int = 1) -> None:
        self._left -= tokens
        if self._left < 0:
            raise TooLong


def _meaning(word: str) -> JSON:
    """Return a word without quotes: true, false, null, a number, or itself."""
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    if _NUMBER.fullmatch(word):
        return int(word) if word.lstrip("+-").isdecimal() else float(word)
    return word


def _unescaped(body: str) -> str:
    """Return what a string's body says.

    An unpaired surrogate becomes a question mark: it has no UTF-8.
    """
    if "\\" in body:
        try:
            body = json.loads(f'"{body}"', strict=False)
        except ValueError:  # it has quotes of its own kind, or an escape that JSON does not know
            body = _ESCAPE.sub(_escaped, body)
    return body if body.isascii() else body.encode("utf-8", "replace").decode()


def _escaped(escape: re.Match[str]) -> str:
    return {"n": "\n", "t": "\t", "r": "\r"}.get(escape[1], escape[1])
