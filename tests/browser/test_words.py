"""The words of the page: both languages say the same, and every text that is shown is among them
(O4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.kit import ServerProcess
from tests.kit.browser import Watched

pytestmark = [pytest.mark.requirement("O4")]

STATIC = Path(str(files("chorus.server.web") / "static"))
TABLES = sorted(path.stem for path in (STATIC / "words").glob("*.js"))
SCRIPTS = "\n".join(
    path.read_text(encoding="utf-8") for path in sorted(STATIC.rglob("*.js")) if path.parent.name != "words"
)
_PLACE = re.compile(r"\{(\w+)\}")

Words = dict[str, dict[str, dict[str, str]]]
"""Texts by table, language and name."""


@pytest.fixture(scope="module")
def words(browser: Browser, demo: ServerProcess) -> Iterator[Words]:
    read = "async (name) => (await import(new URL(`words/${name}.js`, location.origin + location.pathname))).default"
    with Watched(browser) as watched:
        page = watched.page()
        page.goto(f"{demo.base}/ui/")
        yield {name: page.evaluate(read, name) for name in TABLES}


def test_both_languages_say_the_same(words: Words) -> None:
    for table, languages in words.items():
        assert languages.keys() == {"en", "zh"}, table
        english, chinese = languages["en"], languages["zh"]
        assert list(english) == list(chinese), f"{table}: the keys, and their order"
        for name, text in english.items():
            assert text.strip(), name
            assert chinese[name].strip(), name
            assert set(_PLACE.findall(text)) == set(_PLACE.findall(chinese[name])), f"the places in {name}"


def test_no_name_is_in_two_tables(words: Words) -> None:
    names = [name for languages in words.values() for name in languages["en"]]
    assert sorted(set(names)) == sorted(names)


def test_every_text_that_a_script_names_is_there(words: Words) -> None:
    names = {name for languages in words.values() for name in languages["en"]}
    named = set(re.findall(r'\bt\(\s*"([^"]+)"', SCRIPTS))
    assert named
    assert named - names == set()


def test_every_text_is_named_by_a_script(words: Words) -> None:
    """By its whole name in quotes, or by its beginning or its end where the rest is a variable."""
    literals = set(re.findall(r'"([\w.]+)"', SCRIPTS))
    templates = [re.split(r"\$\{[^}]*\}+", text) for text in re.findall(r"`([\w.]*\$\{[^`]+)`", SCRIPTS)]
    patterns = [re.compile(r"[\w.]+".join(map(re.escape, parts))) for parts in templates if "." in parts[0]]
    names = {name for languages in words.values() for name in languages["en"]}
    unnamed = {name for name in names - literals if not any(pattern.fullmatch(name) for pattern in patterns)}
    assert unnamed == set()
