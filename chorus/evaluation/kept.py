"""Rows in a file that a later run continues: a JSON object per line, the first names the run."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from chorus import wirejson
from chorus.errors import ChorusError

Row = TypeVar("Row", bound=msgspec.Struct)
Key = TypeVar("Key", bound=Hashable)


class KeptRows(Generic[Row, Key]):
    """The rows of one kind that belong to one evaluation, in memory and at `path`. `identity`
    distinguishes it from others; `kind` and `key` are the type of the rows and what names one."""

    def __init__(self, path: Path, identity: Mapping[str, Any], kind: type[Row], key: Callable[[Row], Key]) -> None:
        """Reads what is there. A last line that was cut off is left out.

        Raises:
            ChorusError: the file holds another evaluation, or cannot be read or written.
        """
        self.by_key: dict[Key, Row] = {}
        self._path = path
        self._kind = kind
        self._key = key
        header = wirejson.encode(dict(identity)) + b"\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = path.read_bytes() if path.exists() else b""
            if not kept.startswith(header) and not header.startswith(kept):
                raise ChorusError(
                    f"{path} holds the results of other questions, models or settings; name another folder, or remove it"
                )
            end = max(kept.rfind(b"\n") + 1, 0)
            for number, line in enumerate(kept[len(header) : end].split(b"\n")[:-1], start=2):
                self._take(self._row(line, number))
        except (OSError, ValueError) as problem:
            raise ChorusError(f"{path} cannot be used: {problem}") from problem
        try:
            self._file = path.open("ab")
            self._file.truncate(end)
            if not end:
                self._write(header)
        except OSError as problem:
            raise ChorusError(f"{path} cannot be written: {problem}") from problem

    def add(self, row: Row) -> None:
        """Keep `row`, on the disk too. A later one of the same key takes its place.

        Raises:
            ChorusError: the row cannot be written, such as to a full disk.
        """
        self._take(row)
        self._write(msgspec.json.encode(row) + b"\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _take(self, row: Row) -> None:
        self.by_key[self._key(row)] = row

    def _write(self, line: bytes) -> None:
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as problem:
            raise ChorusError(f"{self._path} cannot be written: {problem}") from problem

    def _row(self, line: bytes, number: int) -> Row:
        try:
            return msgspec.json.decode(line, type=self._kind)
        except ValueError as problem:
            raise ValueError(f"line {number}: {problem}") from None
