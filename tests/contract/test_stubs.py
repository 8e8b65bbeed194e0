"""The stubs of the worker's wire are those that the proto makes (I1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.stubs import ROOT, generate

pytestmark = pytest.mark.requirement("I1")


def test_the_stubs_match_the_proto(tmp_path: Path) -> None:
    generate(tmp_path)
    made = {path.relative_to(tmp_path): path.read_text("utf-8") for path in tmp_path.rglob("inference_pb2*")}
    assert len(made) == 3
    assert made == {path: (ROOT / path).read_text("utf-8") for path in made}
