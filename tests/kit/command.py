"""The command `chorus`, run as a process or in this one."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import patch

from chorus.cli import main

from .zygote import Forked

ROOT = Path(__file__).resolve().parents[2]
_SECS = 60


def environment(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a user whose home is `home`."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), **more}


def process(*args: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a home of its own, as a process that begins with `chorus` imported."""
    forked = Forked(args, environment(home, env), ROOT, has_stderr=True)
    assert forked.stderr is not None
    with forked.stdout, forked.stderr, ThreadPoolExecutor(2) as threads:
        output, errors = (threads.submit(pipe.read) for pipe in (forked.stdout, forked.stderr))
        try:
            status = forked.wait(_SECS)
        except subprocess.TimeoutExpired:
            forked.kill()
            raise
        return subprocess.CompletedProcess(args, status, output.result().decode(), errors.result().decode())


def new_process(*args: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a home of its own, as a process that starts from nothing, which takes a
    second.
    """
    command = [sys.executable, "-m", "chorus", *args]
    clean = environment(home, env)
    return subprocess.run(command, capture_output=True, text=True, env=clean, cwd=ROOT, timeout=_SECS, check=False)


def chorus(*args: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The same in this process: a process takes a second to start. Not for what sets up the log."""
    stdout, stderr, status = io.StringIO(), io.StringIO(), 0
    with (
        patch.dict(os.environ, environment(home, env), clear=True),
        patch.object(sys, "argv", ["chorus", *args]),
        # where `python -m pytest` runs the tests itself, the name of the program is read from there
        patch.object(sys.modules["__main__"], "__package__", None),
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            main()
        except SystemExit as end:
            status = int(end.code or 0)
    return subprocess.CompletedProcess(args, status, stdout.getvalue(), stderr.getvalue())
