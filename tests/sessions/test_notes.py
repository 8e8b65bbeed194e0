"""Notes on a user: how they change, and their limits (M4)."""

from __future__ import annotations

from typing import Any

import pytest

from chorus.errors import InvalidRequest
from chorus.sessions.notes import MAX_CHANGES, MAX_KEY_CHARS, MAX_NOTE_CHARS, NoteLimits, merged_notes

pytestmark = pytest.mark.requirement("M4")
LIMITS = NoteLimits(max_notes=10, max_tokens=3000)


def test_changes_are_merged_and_null_removes() -> None:
    notes = merged_notes({"language": "German", "name": "Ada"}, {"language": "Chinese", "name": None}, LIMITS)
    assert notes == {"language": "Chinese"}


def test_a_note_that_is_not_there_is_removed_without_an_error() -> None:
    assert merged_notes({"a": "1"}, {"b": None}, LIMITS) == {"a": "1"}


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"x" * (MAX_KEY_CHARS + 1): "y"}, f"notes.{'x' * MAX_KEY_CHARS}"),
        ({"": "y"}, "notes."),
        ({"x": 5}, "notes.x"),
        ({"x": "y" * (MAX_NOTE_CHARS + 1)}, "notes.x"),
        ({str(number): "y" for number in range(11)}, "notes"),
        ({str(number): "文" * MAX_NOTE_CHARS for number in range(2)}, "notes"),
        ({str(number): None for number in range(MAX_CHANGES + 1)}, "notes"),
    ],
)
def test_a_limit_is_named(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        merged_notes({}, changes, LIMITS)
    assert raised.value.param == param


def test_notes_beyond_a_limit_that_was_lowered_can_be_changed_and_made_fewer() -> None:
    before = {str(number): "y" for number in range(12)}
    assert merged_notes(before, {"0": "z"}, LIMITS) == {**before, "0": "z"}
    assert len(merged_notes(before, {"1": None}, LIMITS)) == 11
    with pytest.raises(InvalidRequest):
        merged_notes(before, {"new": "y"}, LIMITS)
