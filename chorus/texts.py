"""Texts for people, each in English and in Chinese, and which of them to show.

Above: the commands, and the progress of a run. Below: nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from unicodedata import east_asian_width

Language = Literal["en", "zh"]

VARIABLE: Final = "CHORUS_LANG"
_VARIABLES: Final = (VARIABLE, "LC_ALL", "LC_MESSAGES", "LANG")
"""The first that is set and not empty decides (POSIX, XBD 8.2, but for our own)."""


def language(environ: Mapping[str, str] = os.environ) -> Language:
    """Return the language of this process by its environment: Chinese for `zh...`, else English."""
    chosen = next(filter(None, map(environ.get, _VARIABLES)), "")
    return "zh" if chosen.lower().startswith("zh") else "en"


@dataclass(frozen=True, slots=True)
class Text:
    """One text. Both languages have the same places in braces, as `str.format` has them. `str`
    gives it in the language of this process."""

    en: str
    zh: str

    def __str__(self) -> str:
        return self.zh if language() == "zh" else self.en

    def filled(self, **values: object) -> Text:
        """Return the text with `values` in its places; a `Text` among them in the language of the
        whole."""
        english = {name: value.en if isinstance(value, Text) else value for name, value in values.items()}
        chinese = {name: value.zh if isinstance(value, Text) else value for name, value in values.items()}
        return Text(self.en.format(**english), self.zh.format(**chinese))


def counted(count: int, noun: str, chinese: str) -> Text:
    """Return a number of things: `counted(2, "model", "个模型")` is "2 models" or "2 个模型"."""
    return Text(f"{count} {noun}" if count == 1 else f"{count} {noun}s", f"{count} {chinese}")


def padded(text: str, width: int) -> str:
    """Return `text` with spaces behind it, up to `width` columns of a terminal. A Chinese character
    takes two."""
    return text + " " * (width - _columns(text))


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a line for each of `rows`, whose cells stand below each other."""
    widths = [max(map(_columns, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(padded, row, widths)).rstrip() for row in rows]


def _columns(text: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)
