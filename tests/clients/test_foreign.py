"""Client libraries in environments of their own, against the real server: other majors of `openai`,
langchain, litellm, and those of npm. `environments.py` makes the environments; `make test` does so
before the suite starts.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.kit import ScriptedUpstream, ServerProcess
from tests.kit.command import ROOT

from . import environments
from .capable import capable

HERE = Path(__file__).parent / "foreign"
NOT_OURS = {
    "test_pdf_inputs": "no dialect of ours takes files",
    "test_pdf_tool_message": "no dialect of ours takes files",
    "test_audio_inputs": "no dialect of ours takes sound",
    "test_stream_time": "it measures recorded replies, and asks nobody",
}
"""The tests of langchain's standard suite that do not apply, and why."""
NOT_OF_OLLAMA = {"test_anthropic_inputs": "ChatOllama itself refuses Anthropic's blocks"}


@pytest.fixture
def base(server: ServerProcess, scripted: ScriptedUpstream) -> str:
    for name in ("glm", "kimi", "local"):
        scripted.on(name, capable)
    return server.base


def run(command: list[str], **env: str) -> list[str]:
    """The lines of a script that tell of checks."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=600,  # a minute, where no others load the machine
        env={**os.environ, **env},
        check=False,
        cwd=environments.KEPT,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(("PASS ", "FAIL "))]
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return lines


def check_cancelled(scripted: ScriptedUpstream, count: int) -> None:
    """Every stream that a script left in mid-answer ended at the upstream too."""
    scripted.wait_idle_blocking()
    assert sum(request.was_cancelled for request in scripted.requests) == count


@pytest.mark.very_slow  # 6 s of CPU; `test_openai.py` holds the same of today's major version
@pytest.mark.requirement("A2")
@pytest.mark.requirement("A3")
@pytest.mark.requirement("W13")
def test_openai_1(base: str, scripted: ScriptedUpstream) -> None:
    lines = run([environments.python("openai-1"), str(HERE / "openai_1.py"), base])
    assert [line for line in lines if line.startswith("FAIL")] == []
    assert len(lines) == 3 * 7 + 6
    check_cancelled(scripted, 3)


@pytest.mark.very_slow
@pytest.mark.requirement("A1")
@pytest.mark.requirement("A2")
@pytest.mark.requirement("W13")
def test_langchain_and_litellm(base: str, scripted: ScriptedUpstream) -> None:
    script = str(HERE / "langchain_and_litellm.py")
    lines = run([environments.python("langchain"), script, base], LITELLM_LOCAL_MODEL_COST_MAP="True")
    assert [line for line in lines if line.startswith("FAIL")] == []
    assert len(lines) == 3 * (3 * 8 + 3 * 7) + 2
    check_cancelled(scripted, 3 * (3 + 3))


@pytest.mark.very_slow
@pytest.mark.requirement("A1")
@pytest.mark.requirement("A2")
@pytest.mark.requirement("A3")
@pytest.mark.requirement("W10")
def test_langchains_standard_suite(base: str, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    options = ["--noconftest", f"--rootdir={HERE}", "-c", os.devnull, "-p", "no:cacheprovider", f"--junitxml={report}"]
    for option in ("mode=auto", "default_test_loop_scope=session", "default_fixture_loop_scope=session"):
        # one loop: ChatOpenAI keeps its connections from test to test
        options += ["-o", f"asyncio_{option}"]
    suite = [environments.python("langchain"), "-m", "pytest", "-q", *options, str(HERE / "langchain_standard.py")]
    run(suite, CHORUS_BASE=base)
    cases = list(ElementTree.parse(report).iter("testcase"))
    assert len(cases) > 4 * 40
    for kind, reasons in (("OpenAI", NOT_OURS), ("Ollama", NOT_OURS | NOT_OF_OLLAMA)):
        of_kind = [case for case in cases if f".Test{kind}" in case.get("classname", "")]
        assert {case.get("name") for case in of_kind if case.find("skipped") is not None} == reasons.keys()


@pytest.mark.requirement("M5")
def test_npms_client_of_mcp(base: str, scripted: ScriptedUpstream, tmp_path: Path) -> None:
    node = environments.node_mcp()
    if node is None:
        pytest.skip("Node is not on this machine: npm's client of MCP was not tried")
    stdio = [sys.executable, "-m", "chorus", "mcp", "--demo", "--user", "ann"]
    lines = run([*node, base, *stdio], PYTHONPATH=str(ROOT), HOME=str(tmp_path))
    assert [line for line in lines if line.startswith("FAIL")] == []
    assert len(lines) == 2 * 4 + 2
    check_cancelled(scripted, 1)


@pytest.mark.very_slow  # 6 s of CPU; `test_openai.py` and its like hold the same
@pytest.mark.requirement("A2")
@pytest.mark.requirement("A3")
@pytest.mark.requirement("W13")
def test_npm(base: str, scripted: ScriptedUpstream) -> None:
    node = environments.node()
    if node is None:
        pytest.skip("Node is not on this machine: the clients of npm were not tried")
    lines = run([*node, base])
    assert [line for line in lines if line.startswith("FAIL")] == []
    assert len(lines) == 3 * (8 + 6 + 3 * 8)
    check_cancelled(scripted, 3 * (1 + 1 + 3))


@pytest.mark.requirement("M3")
def test_conversations_of_npm(base: str) -> None:
    node = environments.node(script="conversations.mjs")
    if node is None:
        pytest.skip("Node is not on this machine: the clients of npm were not tried")
    lines = run([*node, base])
    assert [line for line in lines if line.startswith("FAIL")] == []
    assert len(lines) == 3 + 3 * 2 * 2 + 2


@pytest.mark.very_slow
@pytest.mark.requirement("M3")
def test_sessions_of_langchain(base: str) -> None:
    lines = run([environments.python("langchain"), str(HERE / "langchain_sessions.py"), base])
    assert [line for line in lines if line.startswith("FAIL")] == []
    assert len(lines) == 2 * 6 + 1
