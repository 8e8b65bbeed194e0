"""A server that is configured by its environment, as in a container: no file, overrides that
outlive a reload, secrets in files.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import httpx
import pytest

from tests.kit import Say, ScriptedUpstream, ServerProcess
from tests.kit.command import chorus

SERVE = ("serve", "--host", "127.0.0.1")


def variables(scripted: ScriptedUpstream, folder: Path) -> dict[str, str]:
    (folder / "key").write_text("first-key-0123\n")
    return {
        "CHORUS_LOG": "info",
        "CHORUS__MODEL__0__NAME": "glm",
        "CHORUS__MODEL__0__API_BASE": scripted.api_base,
        "CHORUS__MODEL__0__API_KEY_FILE": str(folder / "key"),
        "CHORUS__STORAGE__URL": "memory:",
        "CHORUS__WORKFLOWS__PANEL__WORKERS": '["glm", "glm"]',
        "CHORUS__WORKFLOWS__PANEL__SELECTOR": "glm",
    }


async def until(holds: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not holds():  # noqa: ASYNC110 - what a process writes
            await anyio.sleep(0.02)


async def ask(server: ServerProcess, model: str = "glm") -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "How?"}]}
    async with httpx.AsyncClient(base_url=server.base, timeout=20) as client:
        return await client.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one", "two"])
async def test_a_server_needs_no_file(scripted: ScriptedUpstream, tmp_path: Path, workers: Sequence[str]) -> None:
    scripted.on("glm", Say("Well."))
    with ServerProcess(args=[*SERVE, *workers], env=variables(scripted, tmp_path)) as server:
        assert (await ask(server)).json()["choices"][0]["message"]["content"] == "Well."
        assert scripted.requests[-1].headers["authorization"] == "Bearer first-key-0123"
        assert (await ask(server, "chorus/panel")).status_code == 200
    assert "first-key" not in server.log


async def test_a_reload_keeps_the_environment_and_reads_its_files_again(
    scripted: ScriptedUpstream, tmp_path: Path
) -> None:
    scripted.on("kimi", Say("Well."))
    text = f'[[model]]\nname = "kimi"\napi_base = "{scripted.api_base}"\n'
    (tmp_path / "key").write_text("first-key-0123\n")
    env = {"CHORUS_LOG": "info", "CHORUS__MODEL__KIMI__API_KEY_FILE": str(tmp_path / "key")}
    with ServerProcess(text, env=env) as server:
        assert (await ask(server, "kimi")).status_code == 200
        (tmp_path / "key").write_text("second-key-4567\n")
        server.reload(text + "[timeouts]\nidle_timeout_secs = 77\n")
        await until(lambda: "the configuration was reloaded" in server.log)
        assert (await ask(server, "kimi")).status_code == 200
        (tmp_path / "key").unlink()
        os.kill(server.pid, signal.SIGHUP)
        await until(lambda: "the configuration was not reloaded" in server.log)
        assert f"CHORUS__MODEL__KIMI__API_KEY_FILE: the file {tmp_path / 'key'} does not exist" in server.log
        assert (await ask(server, "kimi")).status_code == 200
    keys = [request.headers["authorization"] for request in scripted.requests]
    assert keys == ["Bearer first-key-0123", "Bearer second-key-4567", "Bearer second-key-4567"]


def test_check_says_where_values_come_from_and_shows_no_secret(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret-key-0123\n")
    path = tmp_path / "config.toml"
    path.write_text('[[model]]\nname = "glm-4.6"\napi_base = "http://127.0.0.1:9/v1"\n')
    done = chorus(
        "check",
        str(path),
        home=tmp_path,
        CHORUS__SERVER__PORT="8080",
        CHORUS__MODEL__GLM_4_6__API_KEY_FILE=str(tmp_path / "key"),
        CHORUS__MODEL__GLM_4_6__HEADERS__X_TEAM="hidden-team",
    )
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        f"{path}: ok, 1 model",
        '  [[model]] "glm-4.6" api_key from CHORUS__MODEL__GLM_4_6__API_KEY_FILE',
        '  [[model]] "glm-4.6" headers.x-team from CHORUS__MODEL__GLM_4_6__HEADERS__X_TEAM',
        "  [server] port from CHORUS__SERVER__PORT",
    ]
    assert "secret-key" not in done.stdout + done.stderr


def test_check_without_a_file_names_every_variable_that_is_wrong(tmp_path: Path) -> None:
    done = chorus("check", home=tmp_path, CHORUS__MODLE__0__NAME="glm", CHORUS__SERVER__PORT="x")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "CHORUS__MODLE__0__NAME: unknown key; did you mean `CHORUS__MODEL`?",
        "the environment: [[model]]: missing; expected at least one [[model]] table",
        'CHORUS__SERVER__PORT: found "x", expected a port, a whole number from 1 to 65535',
    ]


def test_the_demo_reads_no_variables(tmp_path: Path) -> None:
    assert chorus("ask", "--demo", "What is 17 * 23?", home=tmp_path, CHORUS__SERVER__PRT="x").returncode == 0
