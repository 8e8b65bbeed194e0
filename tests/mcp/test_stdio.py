"""`chorus mcp`: the tools over standard input and output (M5)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from chorus.auth.keys import KeyFile
from tests.kit import Hang, Say, ScriptedUpstream, ServerProcess
from tests.kit.command import ROOT, environment, process
from tests.kit.zygote import Forked
from tests.mcp.clients import PROTOCOLS, TOOLS, called, connected, refused

pytestmark = pytest.mark.requirement("M5")

CONFIG: Final = """
[storage]
url = "sqlite:///{folder}/chorus.db"

[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
"""
INITIALIZE: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}},
}


@pytest.fixture
def config(upstream: ScriptedUpstream, tmp_path: Path) -> Path:
    upstream.forget()
    upstream.on("glm", Say("one two three"))
    path = tmp_path / "chorus.toml"
    path.write_text(CONFIG.format(folder=tmp_path, base=upstream.base), encoding="utf-8")
    return path


SHELL: Final = 'exec 3<&0; cat <&3 >"$0" & exec cat <"$1"'
"""What a client starts: it is between the client and the tools."""
_begun: list[Forked] = []


@pytest.fixture(autouse=True)
def ended() -> Iterator[None]:
    """Let no command outlive its test: it ends when its client has closed its input."""
    yield
    while _begun:
        command = _begun.pop()
        try:
            assert command.wait(60) == 0, command.stdout.read()
        finally:
            command.kill()
            command.stdout.close()


def command(config: Path, *more: str, **env: str) -> StdioServerParameters:
    """How a client starts the tools, which begin with all that they import: alone they take 2 s.

    `run` and `test_a_signal_ends_it` start them from nothing.
    """
    pipes = [config.parent / name for name in ("input", "output")]
    for pipe in pipes:
        os.mkfifo(pipe)
    args = ["mcp", "--config", str(config), *more]
    _begun.append(Forked(args, environment(config.parent, env), ROOT, pipes=pipes))
    return StdioServerParameters(command="sh", args=["-c", SHELL, *map(str, pipes)])


@pytest.mark.parametrize("mode", PROTOCOLS)
async def test_both_protocols_use_the_tools(config: Path, mode: str) -> None:
    sentences: list[str | None] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        sentences.append(message)

    async with Client(command(config, "--user", "ann"), mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS
        assert (await called(client, "memory_upsert", notes={"a": "1"}))["user_id"] == "ann"
        result = await client.call_tool("ask", {"question": "Hello"}, progress_callback=progress)
        answer: Any = result.structured_content
        assert answer["answer"] == "one two three"
        assert "glm is answering." in sentences
        assert "model_not_found" in await refused(client, "ask", question="x", model="nope")


@pytest.mark.parametrize("mode", PROTOCOLS)
async def test_a_cancelled_question_stops_the_model(config: Path, upstream: ScriptedUpstream, mode: str) -> None:
    upstream.on("glm", Hang())
    async with Client(command(config), mode=mode) as client:
        async with anyio.create_task_group() as group:
            group.start_soon(client.call_tool, "ask", {"question": "Hello"})
            await upstream.wait_requests(1, model="glm", timeout=30)
            group.cancel_scope.cancel()
        await upstream.wait_idle()
        assert upstream.calls("glm")[0].was_cancelled
        assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS


async def test_it_shares_the_memory_of_a_server_with_the_same_store(config: Path) -> None:
    with ServerProcess(args=["serve", "--config", str(config)], env={"CHORUS_LOG": "error"}) as server:
        async with Client(command(config, "--user", "ann")) as client:
            await called(client, "memory_upsert", notes={"a": "1"})
        async with connected(server.base, **{"X-User-ID": "ann"}) as client:
            assert (await called(client, "memory_get"))["notes"] == {"a": "1"}


@pytest.fixture
def key(config: Path, tmp_path: Path) -> str:
    """A client's key, without which `config` lets nobody in."""
    keys = KeyFile(tmp_path / "keys.json")
    text, _ = keys.create("one", role="client", models=(), expires=None)
    settings = f'[server]\nrequire_auth = true\nkeys_file = "{tmp_path / "keys.json"}"\n'
    config.write_text(settings + config.read_text(encoding="utf-8"), encoding="utf-8")
    return text


async def test_where_keys_are_asked_for_it_needs_one_too(config: Path, key: str) -> None:
    without = process("mcp", "--config", str(config), home=config.parent)
    assert (without.returncode, without.stdout) == (1, "")
    assert "key" in without.stderr
    async with Client(command(config, "--user", "ann", CHORUS_API_KEY=key)) as client:
        await called(client, "memory_upsert", notes={"a": "1"})
    with ServerProcess(args=["serve", "--config", str(config)], env={"CHORUS_LOG": "error"}) as server:
        async with connected(server.base, **{"X-User-ID": "ann"}, Authorization=f"Bearer {key}") as client:
            assert (await called(client, "memory_get"))["notes"] == {"a": "1"}


def run(config: Path, given: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run the command with this input to its end."""
    args = [sys.executable, "-m", "chorus", "mcp", "--config", str(config)]
    env = environment(config.parent, {"CHORUS_LOG": "debug"})
    return subprocess.run(args, input=given, capture_output=True, env=env, cwd=ROOT, timeout=60, check=False)


def test_nothing_but_the_protocol_is_on_standard_output(config: Path) -> None:
    listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    lines = [b"garbage", json.dumps(INITIALIZE).encode(), b'{"jsonrpc": "2.0"}', json.dumps(listing).encode()]
    done = run(config, b"".join(line + b"\n" for line in lines))
    assert done.returncode == 0, done.stderr
    replies = [json.loads(line) for line in done.stdout.splitlines()]
    assert {reply["jsonrpc"] for reply in replies} == {"2.0"}
    assert 1 in {reply["id"] for reply in replies}


def test_a_signal_ends_it(config: Path) -> None:
    args = [sys.executable, "-m", "chorus", "mcp", "--config", str(config)]
    env = environment(config.parent, {})
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(INITIALIZE).encode() + b"\n")
        process.stdin.flush()
        assert b'"chorus"' in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
