"""Reasoning as an opaque value of ours, and back (A3, A4)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus import process_secret
from chorus.server.dialects.opaque_reasoning import MAX_BYTES, seal, unseal

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXT, st.dictionaries(TEXT, st.recursive(TEXT | st.integers(0, 9) | st.none(), st.lists, max_leaves=5)))
def test_what_is_sealed_comes_back(reasoning: str, extra: dict[str, object]) -> None:
    assert unseal(seal(reasoning, extra)) == (reasoning, extra)


@given(st.text() | st.binary().map(lambda raw: "chorus1." + base64.urlsafe_b64encode(raw).decode()))
def test_another_value_is_unknown(value: str) -> None:
    assert unseal(value) is None


@given(st.integers(8, 60), st.sampled_from("Aa_0"))
def test_a_changed_value_is_unknown(place: int, letter: str) -> None:
    value = seal("I think", {"a": 1})
    place = min(place, len(value) - 5)  # the last characters may hold unused bits
    changed = value[:place] + letter + value[place + 1 :]
    assert changed == value or unseal(changed) is None


def test_a_value_of_another_key_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    value = seal("I think", {})
    monkeypatch.setattr(process_secret, "_SECRET", b"k" * 32)
    assert unseal(value) is None


def test_a_value_is_bounded() -> None:
    assert seal("x" * MAX_BYTES, {}) == ""
    assert len(seal("x" * (MAX_BYTES - 100), {})) < MAX_BYTES
    assert unseal("chorus1." + "A" * (3 * MAX_BYTES)) is None
