"""The results of an evaluation, in a file that a later run continues."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from chorus.evaluation.kept import KeptRows
from chorus.wirejson import JSON


class WorkerAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one worker of a workflow answered; `score` as in `Result`."""

    name: str
    text: str
    score: float | None = None


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """One contestant's answer to one question. `score` is from 0 to 1, None until a judge has
    decided; `selected` is the place in `candidates` of the one that was chosen, `selector` how the
    selector's stage ended; `shortcuts` has the calls that each saved, `trace` everything else about
    a workflow's run (docs/WORKFLOWS.md)."""

    id: str
    contestant: str
    text: str = ""
    score: float | None = None
    secs: float = 0.0
    tokens: int = 0
    cost: float | None = None
    calls: int = 0
    error: str = ""
    candidates: tuple[WorkerAnswer, ...] = ()
    selected: int | None = None
    selector: str = ""
    shortcuts: Mapping[str, int] = {}
    trace: JSON = None


Key = tuple[str, str]
"""A question's id and a contestant."""


class ResultFile(KeptRows[Result, Key]):
    """The results of one evaluation."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """See `KeptRows`."""
        super().__init__(path, identity, Result, lambda result: (result.id, result.contestant))
