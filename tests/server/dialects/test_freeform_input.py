"""The text of a freeform tool, read out of JSON that arrives in pieces (W10)."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.server.dialects.freeform_input import FreeformInput


def read(pieces: list[str]) -> tuple[list[str], str]:
    """The texts in the order in which they become known, and the whole text."""
    reader = FreeformInput()
    sent = [reader.feed(piece) for piece in pieces]
    rest, whole = reader.end()
    return [*sent, rest], whole


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.booleans(),
    st.lists(st.integers(0, 200), max_size=8),
)
@pytest.mark.requirement("W10")
def test_every_cut_gives_the_same_text(text: str, ascii_only: bool, cuts: list[int]) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii_only)
    places = sorted({0, len(arguments), *(cut for cut in cuts if cut < len(arguments))})
    pieces = [arguments[start:end] for start, end in pairwise(places)]
    sent, whole = read(pieces)
    assert whole == text
    assert "".join(sent) == text


@given(st.text(max_size=30), st.integers(0, 30))
@pytest.mark.requirement("W10")
def test_any_arguments_have_a_text(arguments: str, cut: int) -> None:
    sent, whole = read([arguments[:cut], arguments[cut:]])
    assert "".join(sent) == whole


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ('{"patch": "x"}', "x"),
        ('"x"', "x"),
        ("*** Begin Patch", "*** Begin Patch"),
        ('{"input": "a\nb"}', "a\nb"),
        ('{"input": "a', "a"),
        ("{}", ""),
        ("", ""),
        ('{"input": "\\ud83d"}', "?"),
    ],
)
@pytest.mark.requirement("W10")
def test_other_shapes_are_read_leniently(arguments: str, text: str) -> None:
    sent, whole = read([arguments])
    assert whole == text
    assert "".join(sent) == text
