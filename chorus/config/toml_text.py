"""TOML as text: reading it, and finding the line on which a table or key stands.

`tomllib` forgets positions, and an error without a line sends people searching (C2, C8). `Places`
scans the text a second time, after `tomllib` has accepted it, so it need not judge the syntax; what
it cannot find it leaves out.
"""

from __future__ import annotations

import re
import tomllib

from chorus.errors import ConfigError, Problem

Path = tuple[str | int, ...]
"""Where something stands in a decoded document: keys, and indices of `[[...]]` tables."""

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\\n])*"|'[^'\n]*')"""
_DOTTED = re.compile(rf"[ \t]*({_KEY}(?:[ \t]*\.[ \t]*{_KEY})*)[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_VALUE_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*|[\[{]|[\]}]|\n|[^\"'\[\]{}#\n]+",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:[ \t]*\n[ \t\n]*|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_TOMLLIB_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def parse(text: str, *, source: str = "") -> dict[str, object]:
    """Decode TOML. Raises ConfigError with the line and column of a syntax error (C8)."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        problem = Problem("TOML", "tables or arrays are nested too deeply to be read")
    except ValueError as error:  # TOMLDecodeError, and a number of thousands of digits
        place = _TOMLLIB_PLACE.search(str(error))
        message = _TOMLLIB_PLACE.sub("", str(error))
        if place and place[1]:
            problem = Problem("TOML", f"column {place[2]}: {message}", int(place[1]))
        else:
            problem = Problem("TOML", message, text.count("\n") + 1 if place else None)
    raise ConfigError([problem], source=source)


class Places:
    """The lines of a TOML text's tables and keys."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")  # as tomllib does, so that columns agree
        self._offsets: dict[Path, int] = {}
        self._values: dict[Path, int] = {}
        self._last_index: dict[Path, int] = {}
        self._scan()

    def line(self, path: Path) -> int | None:
        """Return the line, 1-based, of the key at `path`, else of the nearest table around it.

        None when unknown.
        """
        while path:
            if path in self._offsets:
                return self._position(self._offsets[path])[0]
            path = path[:-1]
        return None

    def span(self, path: Path) -> tuple[int, int] | None:
        """Return where the value at `path` begins and ends in the text; None when unknown.

        A comment behind it is not included. The text has line breaks of one character.
        """
        start = self._values.get(path)
        if start is None:
            return None
        depth, end = 0, start
        while token := _VALUE_TOKEN.match(self._text, end):
            if depth == 0 and (token[0] == "\n" or token[0].startswith("#")):
                break
            depth += (token[0] in "[{") - (token[0] in "]}")
            end = token.end()
            if depth == 0 and token[0] in "]}":
                break
        return start, start + len(self._text[start:end].rstrip())

    def in_string(self, path: Path, index: int) -> tuple[int, int] | None:
        """Line and column, 1-based, of character `index` of the decoded string at `path`.

        None: unknown.
        """
        start = self._values.get(path)
        if start is None:
            return None
        for quote in ('"""', "'''", '"', "'"):
            if self._text.startswith(quote, start):
                start += len(quote)
                break
        else:
            return None
        if len(quote) == 3 and self._text.startswith("\n", start):
            start += 1  # TOML drops a line break right after the opening quotes
        return self._position(start + index if "'" in quote else self._skip_escaped(start, index))

    def _skip_escaped(self, offset: int, count: int) -> int:
        while True:
            escape = _ESCAPE.match(self._text, offset)
            if escape and escape[0].endswith(("\n", " ", "\t")) and "\n" in escape[0]:
                offset = escape.end()  # a backslash at the end of a line stands for nothing
                continue
            if count <= 0 or offset >= len(self._text):
                return offset
            offset = escape.end() if escape else offset + 1
            count -= 1

    def _position(self, offset: int) -> tuple[int, int]:
        line_start = self._text.rfind("\n", 0, offset) + 1
        return self._text.count("\n", 0, offset) + 1, offset - line_start + 1

    def _scan(self) -> None:
        table: Path = ()
        offset = self._skip_blank(0)
        while offset < len(self._text):
            is_header = self._text[offset] == "["
            is_array = self._text.startswith("[[", offset)
            dotted = _DOTTED.match(self._text, offset + is_header + is_array)
            if dotted is None:
                return
            if is_header:
                table = self._enter(_keys(dotted[1]), is_array=is_array)
                self._offsets.setdefault(table, offset)
                offset = dotted.end() + 1 + is_array
            else:
                path = table + _keys(dotted[1])
                self._offsets.setdefault(path, offset)
                value = self._skip_spaces(dotted.end() + 1)
                self._values[path] = value
                offset = self._end_of_value(value)
            offset = self._skip_blank(offset)

    def _enter(self, keys: tuple[str, ...], *, is_array: bool) -> Path:
        path: Path = ()
        for position, key in enumerate(keys):
            path = (*path, key)
            if is_array and position == len(keys) - 1:
                self._last_index[path] = self._last_index.get(path, -1) + 1
            if path in self._last_index:
                path = (*path, self._last_index[path])
        return path

    def _end_of_value(self, offset: int) -> int:
        depth = 0
        while token := _VALUE_TOKEN.match(self._text, offset):
            if token[0] == "\n" and depth == 0:
                break
            depth += (token[0] in "[{") - (token[0] in "]}")
            offset = token.end()
        return offset

    def _skip_blank(self, offset: int) -> int:
        blank = _BLANK.match(self._text, offset)
        return blank.end() if blank else offset

    def _skip_spaces(self, offset: int) -> int:
        while self._text.startswith((" ", "\t"), offset):
            offset += 1
        return offset


def _keys(dotted: str) -> tuple[str, ...]:
    """Return the keys of `a."b.c".d`, by letting `tomllib` read it."""
    keys: list[str] = []
    value: object = tomllib.loads(f"{dotted} = 0")
    while isinstance(value, dict):
        key, value = next(iter(value.items()))
        keys.append(key)
    return tuple(keys)
