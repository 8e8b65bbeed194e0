"""The suite's own processes: what they say of their tests is what pytest would say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.kit.command import ROOT

FILES = {
    "test_a.py": """
        import pytest, warnings
        @pytest.fixture(scope="module")
        def number(tmp_path_factory):
            yield 1
            (tmp_path_factory.getbasetemp().parent / "after").write_text("was here")
        def test_passes(number):
            warnings.warn("look here")
            assert number == 1
        def test_fails(number):
            print("what it printed")
            assert number == 2
        @pytest.mark.skip(reason="for no reason")
        def test_is_skipped():
            pass
    """,
    "test_b.py": """
        import os
        def test_before():
            pass
        def test_ends_its_process():
            os._exit(3)
        def test_behind_it():
            pass
    """,
    "test_c.py": """
        def test_of_another_file():
            pass
    """,
}


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    for name, text in FILES.items():
        lines = text.strip("\n").splitlines()
        (folder / name).write_text("\n".join(line[8:] for line in lines), encoding="utf-8")
    plugins = ("-p", "tests.kit.forks", "-p", "no:cacheprovider", f"--basetemp={folder / 'temp'}")
    settings = folder / "pytest.ini"
    settings.touch()
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-c", str(settings), *plugins, *options, str(folder)]
    # In a CI, pytest's summary names the error behind each failed test, elsewhere only as far as
    # the line is long enough.
    env = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "CI": "true", "COLUMNS": "80"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT, env=env)


def test_each_result_is_told_and_a_process_that_ends_fails_its_test(tmp_path: Path) -> None:
    done = run(tmp_path, "--forks", "2")
    assert done.returncode == 1, done.stderr
    assert "2 failed, 3 passed, 1 skipped, 1 warning" in done.stdout
    assert "what it printed" in done.stdout
    assert "UserWarning: look here" in done.stdout
    assert "test_a.py::test_fails - assert 1 == 2\n" in done.stdout
    assert "test_b.py::test_ends_its_process" in done.stdout
    assert "its process ended in this test (3)" in done.stdout
    assert (tmp_path / "temp" / "after").exists()


def test_the_first_failure_may_end_it(tmp_path: Path) -> None:
    done = run(tmp_path, "--forks", "1", "-x")
    assert done.returncode == 1, done.stderr
    assert "1 failed, 1 passed" in done.stdout
    assert "stopping after 1 failures" in done.stdout
    assert (tmp_path / "temp" / "after").exists()
