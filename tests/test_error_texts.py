"""An error can be written as JSON whatever foreign text it quotes (L3)."""

from __future__ import annotations

import json

import pytest

from chorus.errors import ChorusError, InvalidRequest, UpstreamStatus

HALF = "half \ud83d of a smile"


@pytest.mark.requirement("L3")
@pytest.mark.parametrize(
    "error",
    [
        ChorusError(HALF),
        InvalidRequest("no", param=HALF),
        UpstreamStatus(HALF, upstream_status=500),
    ],
)
def test_half_a_character_becomes_a_question_mark(error: ChorusError) -> None:
    shown = json.dumps([error.message, error.param], ensure_ascii=False).encode()
    assert b"half ? of a smile" in shown


def test_whole_characters_stay() -> None:
    assert (
        ChorusError("图书馆 \N{SMILING FACE WITH SMILING EYES}").message == "图书馆 \N{SMILING FACE WITH SMILING EYES}"
    )
