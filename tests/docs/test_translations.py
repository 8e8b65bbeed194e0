"""Documents in docs/zh have the headings, code blocks and tables of their English originals
(T3).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAIRS = [(ROOT / "docs" / path.name, path) for path in sorted((ROOT / "docs" / "zh").glob("*.md"))]
PAIRS.append((ROOT / "README.en.md", ROOT / "README.md"))
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
CHINESE = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")
QUESTION = re.compile(r'"(?:content|prompt)": "[^"]*"|content="[^"]*"')


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def headings(path: Path) -> list[int]:
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(path), re.MULTILINE)]


def blocks(path: Path) -> list[tuple[str, str]]:
    """The code blocks without comments, drawings' words, and questions to models, which differ."""
    found = FENCE.findall(path.read_text(encoding="utf-8"))
    return [(language, "" if not language else without_words(text)) for language, text in found]


def without_words(text: str) -> str:
    text = QUESTION.sub("...", text)
    return re.sub(r"\s+", " ", re.sub(r"(^|\s)#.*$", "", text, flags=re.MULTILINE)).strip()


def rows(path: Path) -> list[tuple[int, list[str]]]:
    """Of each row of each table: how many cells it has, and the code in them."""
    lines = [line for line in prose(path).splitlines() if line.startswith("|")]
    return [(line.count("|") - line.count("\\|"), sorted(CODE.findall(line))) for line in lines]


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda path: path.name)
@pytest.mark.requirement("T3")
def test_both_languages_have_the_same_headings_code_and_tables(english: Path, chinese: Path) -> None:
    assert headings(chinese) == headings(english)
    assert blocks(chinese) == blocks(english)
    assert rows(chinese) == rows(english)


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda path: path.name)
@pytest.mark.requirement("T3")
def test_every_paragraph_is_translated_and_both_link_to_each_other(english: Path, chinese: Path) -> None:
    to_chinese = chinese.relative_to(english.parent).as_posix()
    to_english = Path(os.path.relpath(english, chinese.parent)).as_posix()
    assert f"]({to_chinese})" in english.read_text(encoding="utf-8").split("\n## ")[0]
    assert f"]({to_english})" in chinese.read_text(encoding="utf-8").split("\n## ")[0]
    for paragraph in prose(chinese).split("\n\n"):
        words = re.sub(r"`[^`]*`|\([^)]*\)|https?:\S+|[|#*-]", "", paragraph)
        if len(words.split()) > 12:
            assert CHINESE.search(words), paragraph
