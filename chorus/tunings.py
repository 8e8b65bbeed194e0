"""The outcomes of `chorus tune`: a file in the folder of each evaluation, for programs and the
page.

Above: `evaluation`, which writes them; `server`, which shows them. Below: the file system.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import msgspec

from chorus.errors import NotFound
from chorus.files import SHARED, replace_file

FILE: Final = "tuning.json"
MAX_LISTED: Final = 100
_MAX_ENTRIES: Final = 1000
"""Entries of the folder that are looked at: each takes two system calls."""
_MAX_BYTES: Final = 1024 * 1024
"""Our own files have some 100 KB."""
MAX_POINTS: Final = 1500
"""What a plot needs, and a browser draws at once."""

_Number = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
"""JSON has no infinity, but 1e999."""
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999: a file's time may be anything."""


class Quality(msgspec.Struct, frozen=True):
    """A mean score from 0 to 1, with its interval of 95 %."""

    mean: _Number
    low: _Number
    high: _Number


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the frontier. `marks` say why it is there: `recommended`, `best_single`, `today`.
    Times are in seconds; `cost_per_1000` is None where a price is unknown; `toml` is the workflow
    as a configuration has it, empty for one that is configured already."""

    name: str
    marks: tuple[str, ...] = ()
    quality: Quality
    cost_per_1000: _Number | None = None
    p50: _Number
    p95: _Number
    calls: _Number
    toml: str = ""


class Point(msgspec.Struct, frozen=True, array_like=True):
    """A panel that was compared, as a plot needs it: its quality is that on the questions that it
    was chosen on."""

    quality: _Number
    cost_per_1000: _Number | None
    p50: _Number
    calls: _Number


class Sentences(msgspec.Struct, frozen=True):
    """What can be said of the outcome, in both languages; the first one is the warning that the
    best of many looks better than it is."""

    en: tuple[str, ...]
    zh: tuple[str, ...]


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """One outcome. `compared` panels were drawn from `possible` ones; where `is_priced` is false
    the number of calls stands for the cost."""

    questions: _Count
    compared: _Count
    possible: _Count
    is_priced: bool
    rows: Annotated[tuple[Row, ...], msgspec.Meta(max_length=100)]
    points: Annotated[tuple[Point, ...], msgspec.Meta(max_length=MAX_POINTS)] = ()
    sentences: Sentences


@dataclass(frozen=True, slots=True)
class Listed:
    """A tuning by its name, which is that of the evaluation's folder, and when it was written, in
    seconds since 1970."""

    id: str
    modified_at: float


def write(folder: Path, tuning: Tuning) -> None:
    """Keep `tuning` in the folder of its evaluation.

    Raises:
        OSError: it cannot be written.
    """
    replace_file(folder / FILE, msgspec.json.encode(tuning), new_mode=SHARED)


class TuningFolder:
    """The tunings of the evaluation in `path`, and of those in the folders directly in it. Nothing
    is read through a symbolic link in it. For a thread: it reads files."""

    def __init__(self, path: str) -> None:
        self._path = path

    def newest(self) -> list[Listed]:
        """Return at most MAX_LISTED tunings, the newest first; none where there is no folder. Of a
        larger folder than _MAX_ENTRIES, the first entries are looked at."""
        root = self._root()
        listed: dict[str, Listed] = {}
        for folder in (root, *_folders(root)):
            state = _state(folder / FILE)
            if state is not None and stat.S_ISREG(state.st_mode) and _is_name(folder.name):
                listed.setdefault(folder.name, _listed(folder.name, state))
        return sorted(listed.values(), key=lambda one: (-one.modified_at, one.id))[:MAX_LISTED]

    def read(self, id: str) -> tuple[Listed, Tuning]:
        """Return the tuning of that name.

        Raises:
            NotFound: there is none, or its file cannot be read or is no outcome of `chorus tune`.
        """
        root = self._root()
        folder = root if id == root.name and _state(root / FILE) is not None else root / id
        state = _state(folder) if _is_name(id) else None
        if state is None or not stat.S_ISDIR(state.st_mode) or _state(folder / FILE) is None:
            raise NotFound("There is no such tuning.")
        try:
            data, state = _read(folder / FILE)
            return _listed(id, state), msgspec.json.decode(data, type=Tuning)
        except OSError as problem:
            raise NotFound(f"The file of this tuning cannot be read: {problem.strerror}.") from None
        except (ValueError, RecursionError) as problem:
            raise NotFound(
                f"The file of this tuning is no outcome of `chorus tune` of this version ({problem}); run it again."
            ) from None

    def _root(self) -> Path:
        # realpath raises nothing where links go in a circle, which `Path.resolve` does
        return Path(os.path.realpath(self._path))


def _is_name(name: str) -> bool:
    """Return whether a folder of that name can be shown: one that is no UTF-8 cannot be written as
    JSON.
    """
    return name not in ("", ".", "..") and name.isprintable() and "/" not in name and "\\" not in name


def _listed(name: str, state: os.stat_result) -> Listed:
    return Listed(name, min(max(state.st_mtime, 0.0), _LAST_SECOND))


def _folders(root: Path) -> Iterator[Path]:
    try:
        with os.scandir(root) as entries:
            for entry in islice(entries, _MAX_ENTRIES):
                if entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)
    except OSError:
        return


def _state(path: Path) -> os.stat_result | None:
    """Return what is at `path` itself, not behind a link; None where nothing is."""
    try:
        return path.lstat()
    except (OSError, ValueError):
        return None


def _read(path: Path) -> tuple[bytes, os.stat_result]:
    """Return the bytes and the state of the regular file at `path`."""
    # without O_NONBLOCK, a pipe that nobody writes to would hold the thread for ever
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    with open(os.open(path, flags), "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("it is no regular file")
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"it has more than {_MAX_BYTES} bytes")
    return data, state
