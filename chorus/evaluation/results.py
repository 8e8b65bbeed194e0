"""The results of an evaluation, in a file that a later run continues: a JSON object per line, the
first names the run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from chorus import wirejson
from chorus.errors import ChorusError
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


class ResultFile:
    """The results of one evaluation, in memory and at `path`. `identity` distinguishes it from
    others."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Reads what is there. A last line that was cut off is left out.

        Raises:
            ChorusError: the file holds another evaluation, or cannot be read or written.
        """
        self.by_key: dict[Key, Result] = {}
        self._path = path
        header = wirejson.encode(dict(identity)) + b"\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = path.read_bytes() if path.exists() else b""
            if not kept.startswith(header) and not header.startswith(kept):
                raise ChorusError(
                    f"{path} holds the results of other questions, models or settings; name another folder with --out"
                )
            end = max(kept.rfind(b"\n") + 1, 0)
            for number, line in enumerate(kept[len(header) : end].split(b"\n")[:-1], start=2):
                self._take(_result(line, number))
        except (OSError, ValueError) as problem:
            raise ChorusError(f"{path} cannot be used: {problem}") from problem
        try:
            self._file = path.open("ab")
            self._file.truncate(end)
            if not end:
                self._write(header)
        except OSError as problem:
            raise ChorusError(f"{path} cannot be written: {problem}") from problem

    def add(self, result: Result) -> None:
        """Keep `result`, on the disk too. A later one of the same question and contestant takes its
        place.

        Raises:
            ChorusError: the disk is full, say.
        """
        self._take(result)
        self._write(msgspec.json.encode(result) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take(self, result: Result) -> None:
        self.by_key[result.id, result.contestant] = result

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as problem:
            raise ChorusError(f"{self._path} cannot be written: {problem}") from problem


def _result(line: bytes, number: int) -> Result:
    try:
        return msgspec.json.decode(line, type=Result)
    except ValueError as problem:
        raise ValueError(f"line {number}: {problem}") from None
