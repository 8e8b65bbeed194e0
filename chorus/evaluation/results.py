"""What came of an evaluation, in a file that a later run goes on from: one JSON object a line, the first names what was run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from chorus import wirejson
from chorus.errors import ChorusError


class Candidate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one worker of a workflow answered; `score` as in `Result`."""

    name: str
    text: str
    score: float | None = None


class Result(msgspec.Struct, frozen=True, omit_defaults=True):
    """One contestant's answer to one question. `score` is from 0 to 1, None until a judge has told; `selected` is the place
    in `candidates` of the one that the selector chose; `shortcuts` has the calls that each saved."""

    id: str
    contestant: str
    text: str = ""
    score: float | None = None
    secs: float = 0.0
    tokens: int = 0
    cost: float | None = None
    calls: int = 0
    error: str = ""
    candidates: tuple[Candidate, ...] = ()
    selected: int | None = None
    shortcuts: Mapping[str, int] = {}


Key = tuple[str, str]
"""A question's id and a contestant."""


class ResultFile:
    """The results of one evaluation, in memory and at `path`. `identity` tells it from any other."""

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        """Reads what is there. A last line that was cut off is left out.

        Raises:
            ChorusError: the file holds another evaluation, or cannot be read or written.
        """
        self.found: dict[Key, Result] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_bytes().split(b"\n") if path.exists() else []
            whole = lines[:-1]
            if whole and wirejson.decode(whole[0]) != dict(identity):
                raise ChorusError(
                    f"{path} holds the results of other questions, models or settings; name another folder with --out"
                )
            for line in whole[1:]:
                self._take(msgspec.json.decode(line, type=Result))
            if lines and lines[-1]:
                path.write_bytes(b"".join(line + b"\n" for line in whole))
            self._file = path.open("ab")
            if not whole:
                self._write(wirejson.encode(dict(identity)))
        except (OSError, ValueError) as problem:
            raise ChorusError(f"{path} cannot be used: {problem}") from problem

    def add(self, result: Result) -> None:
        """Keep `result`, on the disk too. A later one of the same question and contestant takes its place."""
        self._take(result)
        self._write(msgspec.json.encode(result))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take(self, result: Result) -> None:
        self.found[result.id, result.contestant] = result

    def _write(self, line: bytes) -> None:
        self._file.write(line + b"\n")
        self._file.flush()
