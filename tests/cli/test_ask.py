"""`chorus ask`: in its own process and at a server, on a terminal and in a pipe (O4)."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from chorus.auth.keys import KeyFile
from chorus.cli.run_view import PlainView, SideBySideView
from chorus.errors import ChorusError
from tests.kit import Say, ScriptedUpstream, ServerProcess, Status
from tests.kit.command import environment, process

pytestmark = pytest.mark.requirement("O4")

CONFIG = """
[server]
{keys}
[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
[[model]]
name = "kimi"
api_base = "{base}/v1"
retries = 0
[workflow-integration]
workers = ["glm", "kimi"]
synthesizer = "glm"
"""


def test_a_server_is_asked_and_its_stages_are_shown(tmp_path: Path) -> None:
    with ScriptedUpstream.in_thread() as upstream:
        upstream.on("glm", Say("one two")).on("kimi", Say("one two"))
        with ServerProcess(CONFIG.format(base=upstream.base, keys="")) as server:
            done = process("ask", "--server", server.base, "How?", home=tmp_path)
            assert (done.returncode, done.stdout.strip()) == (0, "one two")
            assert "✓ worker kimi" in done.stderr
            one = process("ask", "--server", server.base, "--model", "kimi", "How?", home=tmp_path)
            assert one.stdout.strip() == "one two"
            unknown = process("ask", "--server", server.base, "--model", "kimy", "How?", home=tmp_path)
            assert (unknown.returncode, "did you mean kimi" in unknown.stderr) == (1, True)
            upstream.on("glm", Status(500))
            failed = process("ask", "--server", server.base, "--model", "glm", "How?", home=tmp_path)
            assert (failed.returncode, "500" in failed.stderr) == (1, True)


def test_a_server_with_keys(tmp_path: Path) -> None:
    key = KeyFile(tmp_path / "keys.json").create("ann", role="client", models=("kimi",), expires=None)[0]
    keys = f'require_auth = true\nkeys_file = "{tmp_path / "keys.json"}"'
    with ScriptedUpstream.in_thread() as upstream:
        upstream.on("kimi", Say("one two"))
        with ServerProcess(CONFIG.format(base=upstream.base, keys=keys)) as server:
            without = process("ask", "--server", server.base, "How?", home=tmp_path)
            assert (without.returncode, "key" in without.stderr) == (1, True)
            done = process("ask", "--server", server.base, "--key", key, "How?", home=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "one two")


def test_where_no_server_is(tmp_path: Path) -> None:
    done = process("ask", "--server", "http://127.0.0.1:9", "How?", home=tmp_path)
    assert done.returncode == 1
    assert "no Chorus answers at http://127.0.0.1:9" in done.stderr
    both = process("ask", "--server", "http://127.0.0.1:9", "--demo", "How?", home=tmp_path)
    assert both.returncode == 2


def test_on_a_terminal_the_workers_are_side_by_side(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "chorus", "ask", "--demo", "What is 17 * 23?"]
    env = environment(tmp_path, {"TERM": "xterm-256color", "COLUMNS": "160"})
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=env) as running:
        os.close(theirs)
        shown = b""
        while True:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            shown += data
        assert running.wait() == 0
    os.close(ours)
    text = shown.decode()
    assert any(line.count("╭") >= 3 for line in text.splitlines())
    assert "demo-abacus" in text
    assert "391" in text


def event(kind: str, path: str = "0", **more: Any) -> dict[str, Any]:
    return {"type": kind, "path": path, "at_ms": 5.0, **more}


def started(path: str, name: str) -> dict[str, Any]:
    return event("stage.started", path, stage="worker", name=name, is_group=False)


def test_what_a_model_writes_moves_no_cursor() -> None:
    written = io.StringIO()
    view = SideBySideView(Console(file=written, force_terminal=True, width=80, color_system=None))
    view.show(started("0", "glm"))
    view.show(event("delta", choice=None, text="safe\x1b[2Jtext\x9b5n [bold]"))
    view.close()
    view.close()
    shown = written.getvalue()
    assert "safe[2Jtext5n [bold]" in shown
    assert "\x1b[2J" not in shown


def test_a_failed_worker_says_why() -> None:
    written = io.StringIO()
    view = SideBySideView(Console(file=written, force_terminal=True, width=80, color_system=None))
    view.show(started("0", "glm"))
    view.show(event("stage.finished", status="failed", error={"code": "x", "message": "It is away."}))
    view.close()
    assert "✗ glm" in written.getvalue()
    assert "It is away." in written.getvalue()


def test_the_error_of_a_run_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    view = PlainView()
    with pytest.raises(ChorusError, match="It failed"):
        view.show(event("run.failed", error={"message": "It failed"}))
