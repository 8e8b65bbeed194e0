"""Texts in two languages: each has both, with the same places."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from string import Formatter

import chorus
from chorus.texts import Text

_LATIN = {"worker", "token", "p50", "p95"}
"""What Chinese engineers write in Latin letters."""


def texts() -> Iterator[tuple[str, Text]]:
    """Every `Text` that a module of ours names, or has in a table."""
    for module in pkgutil.walk_packages(chorus.__path__, "chorus."):
        if module.name.startswith(("chorus.evaluation", "chorus.cli", "chorus.telemetry.stage")):
            for name, value in vars(importlib.import_module(module.name)).items():
                rows = (
                    list(value.values()) if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
                )
                yield from ((f"{module.name}.{name} {at}", row) for at, row in enumerate(rows) if isinstance(row, Text))


def places(text: str) -> list[tuple[str, str]]:
    """The names in braces, each with how it is written."""
    return sorted((name, spec or "") for _, name, spec, _ in Formatter().parse(text) if name is not None)


def test_both_languages_say_the_same() -> None:
    known = dict(texts())
    assert len(known) > 100
    for name, text in known.items():
        assert text.en.strip(), name
        words = re.sub(r"[{].*?[}]", "", text.zh)
        assert re.search(r"[一-鿿]", words) or set(re.findall(r"[A-Za-z]\w*", words)) <= _LATIN, name
        assert places(text.en) == places(text.zh), name


def test_a_text_within_a_text_is_in_the_language_of_the_whole() -> None:
    whole = Text("{count} of {what}", "{what}的{count}").filled(count=2, what=Text("all", "全部"))
    assert (whole.en, whole.zh) == ("2 of all", "全部的2")
