"""Replacing a file in one step, and the lock between those who do."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chorus import files
from chorus.files import PRIVATE, SHARED, locked, replace_file

ROOT = Path(__file__).resolve().parents[1]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The usual one, whatever the machine has."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize(("new_mode", "got"), [(PRIVATE, 0o600), (SHARED, 0o644)])
def test_a_new_file_has_the_mode_that_was_asked_for(tmp_path: Path, new_mode: int, got: int) -> None:
    path = tmp_path / "keys.json"
    replace_file(path, b"one", new_mode=new_mode)
    assert (path.read_bytes(), mode(path)) == (b"one", got)
    assert os.listdir(tmp_path) == ["keys.json"]


@pytest.mark.parametrize("before", [0o600, 0o640, 0o664, 0o400])
def test_a_file_that_exists_keeps_its_mode(tmp_path: Path, before: int) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(b"one")
    path.chmod(before)
    replace_file(path, b"two", new_mode=SHARED)
    assert (path.read_bytes(), mode(path)) == (b"two", before)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_exists_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(b"one")
    os.chown(path, 12345, 23456)
    replace_file(path, b"two")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_an_administrator_does_not_lock_the_owner_out(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 23456)
    with locked(tmp_path / "keys.json"):
        assert (tmp_path / "keys.json.lock").stat().st_uid == 12345


def test_the_rights_of_a_group_are_not_given_to_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(b"one")
    path.chmod(0o660)
    before = path.stat()
    other = os.stat_result((*before[:5], before.st_gid + 1, *before[6:]))
    monkeypatch.setattr(os, "fchown", lambda *_: None)  # refused, as to anybody but root
    files.write_new(tmp_path / "copy", b"two", PRIVATE, other)
    assert mode(tmp_path / "copy") == 0o600


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    path, link = tmp_path / "keys.json", tmp_path / "link"
    path.write_bytes(b"one")
    link.symlink_to(path)
    replace_file(link, b"two")
    assert link.is_symlink()
    assert path.read_bytes() == b"two"


def test_what_an_earlier_writer_left_disturbs_nobody(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    left_over = [path.with_suffix(".part"), tmp_path / ".keys.json.part", tmp_path / "keys.json.lock"]
    for each in left_over:
        each.write_bytes(b"half a")
        each.chmod(0o666)
    with locked(path):
        replace_file(path, b"whole")
    assert (path.read_bytes(), mode(path)) == (b"whole", 0o600)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(b"one")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"two")
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["keys.json"]


def test_what_is_no_regular_file_is_written_to(tmp_path: Path) -> None:
    replace_file(Path(os.devnull), b"into the void")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


COUNTING = """
import sys
from pathlib import Path
from chorus import files
if sys.argv[2] == "without":
    files.fcntl = None
path = Path(sys.argv[1])
for _ in range(25):
    with files.locked(path):
        files.replace_file(path, str(int(path.read_bytes() or b"0") + 1).encode())
"""


@pytest.mark.parametrize("flock", ["with", "without"])
def test_no_change_of_several_processes_is_lost(tmp_path: Path, flock: str) -> None:
    path = tmp_path / "count"
    path.touch()
    command = [sys.executable, "-c", COUNTING, str(path), flock]
    processes = [subprocess.Popen(command, cwd=ROOT) for _ in range(4)]
    assert [process.wait(30) for process in processes] == [0] * 4
    assert path.read_bytes() == b"100"


@pytest.mark.parametrize("flock", ["with", "without"])
def test_a_lock_that_is_held_for_ever_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flock: str) -> None:
    monkeypatch.setattr(files, "LOCK_SECS", 0.1)
    if flock == "without":
        monkeypatch.setattr(files, "fcntl", None)
    path = tmp_path / "keys.json"
    with locked(path):
        began = time.monotonic()
        with pytest.raises(TimeoutError, match=r"held .*keys\.json\.lock"), locked(path):
            raise AssertionError("two hold it")
        assert time.monotonic() - began >= 0.1
    with locked(path):
        assert mode(tmp_path / "keys.json.lock") == 0o600


def test_a_lock_is_free_when_its_process_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    held = "import sys, pathlib, chorus.files as f\nwith f.locked(pathlib.Path(sys.argv[1])): print('x', flush=True); input()"
    command = [sys.executable, "-c", held, str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"x\n"
        process.kill()
    with locked(path):
        assert path.parent.exists()
