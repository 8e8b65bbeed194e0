"""qwen-code as it comes from npm writes a file through a single model and a workflow, with both of
its protocols.
"""

from __future__ import annotations

import pytest

from tests.clients import environments

from .task import CONTENT, FILE, FULL, PROMPT, SENTENCE, THOUGHTS, WORKERS, Desk, Writer, unsent

PROTOCOLS = ("openai", "anthropic")
pytestmark = [pytest.mark.agents, pytest.mark.requirement("A3"), pytest.mark.requirement("W10")]


@pytest.fixture
def qwen() -> str:
    command = environments.npm("qwen")
    if command is None:
        pytest.skip("Node is not on this machine: qwen-code was not tried")
    return command


def sends_thoughts(desk: Desk, protocol: str) -> bool:
    """Whether qwen-code sends reasoning back.

    In chat it has a text only, and no signature.
    """
    return protocol == "anthropic" or desk.upstream.kind == "chat"


def writer(desk: Desk, protocol: str, usage: tuple[int, int] = (11, 7)) -> Writer:
    arguments = {"file_path": str(desk.work / FILE), "content": CONTENT}
    return Writer("write_file", arguments, usage, demands_thoughts=sends_thoughts(desk, protocol))


def run(qwen: str, desk: Desk, protocol: str, model: str) -> str:
    """Return what qwen-code prints while it does the task."""
    base = f"{desk.base}/v1" if protocol == "openai" else desk.base
    name = protocol.upper()
    env = {f"{name}_API_KEY": "key", f"{name}_BASE_URL": base, f"{name}_MODEL": model}
    # it starts itself once more for a larger heap, which costs 1.4 s of a core
    env["QWEN_CODE_NO_RELAUNCH"] = "true"
    return desk.run([qwen, "--auth-type", protocol, "--model", model, "--yolo", PROMPT], env)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_qwen_code_writes_a_file_through_a_thinking_model(qwen: str, desk: Desk, protocol: str) -> None:
    desk.prepare(writer(desk, protocol))
    assert SENTENCE in run(qwen, desk, protocol, "glm")
    assert desk.written() == CONTENT
    is_kept = sends_thoughts(desk, protocol)
    assert desk.losses("glm", *unsent(is_kept)) == []
    assert desk.received("glm")[-1].thoughts == (THOUGHTS if is_kept else "",)


@pytest.mark.parametrize("upstream", ["chat"], indirect=True)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_qwen_code_writes_a_file_through_a_workflow(qwen: str, desk: Desk, protocol: str) -> None:
    """45,000 tokens of each of three calls do not make qwen-code compact: two turns do the task."""
    desk.prepare(writer(desk, protocol, FULL))
    assert SENTENCE in run(qwen, desk, protocol, "chorus")
    assert desk.written() == CONTENT
    assert len(desk.proxy.sent) == 2
    for worker in WORKERS:
        assert desk.losses(worker) == []
        assert desk.received(worker)[-1].thoughts == (THOUGHTS,)
