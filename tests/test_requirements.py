"""The specification is traceable from the tests, both ways, and docs/REQUIREMENTS.md says how."""

import re
from pathlib import Path

import pytest

from scripts.requirements import DOCUMENT, document, holders
from tests.requirements import SENTENCES

ROOT = Path(__file__).resolve().parents[1]
CODE = re.compile(r"(?<![\w`.-])([ACDIKLMOSTW]\d{1,2})\b")
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


@pytest.mark.requirement("T1")
def test_no_test_names_a_requirement_that_does_not_exist() -> None:
    assert set(holders()) <= SENTENCES.keys()


@pytest.mark.requirement("T1")
def test_every_requirement_has_a_test() -> None:
    assert sorted(SENTENCES.keys() - holders().keys()) == []


@pytest.mark.requirement("T3")
def test_the_page_of_requirements_is_current() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "run `python -m scripts.requirements`"


@pytest.mark.requirement("T3")
def test_every_sentence_is_one_or_two() -> None:
    for code, text in SENTENCES.items():
        assert text.endswith("."), code
        assert len(re.findall(r"\.(?= [A-Z`])", text)) <= 1, code


@pytest.mark.requirement("T3")
def test_codes_in_documents_are_links_to_their_requirement() -> None:
    for path in DOCUMENTS:
        if path.name in ("CHANGELOG.md", "REQUIREMENTS.md", "COMPATIBILITY.md"):
            continue
        text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for code, target in re.findall(r"\[([A-Z]\d{1,2})\]\(\S*REQUIREMENTS\.md#(\w+)\)", text):
            assert code.lower() == target, path.name
        plain = re.sub(r"\[[^\]]*\]\([^)]*\)|`[^`]*`", "", text)
        assert [code for code in CODE.findall(plain) if code in SENTENCES] == [], path.name
