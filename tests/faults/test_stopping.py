"""Stopping the server (A8), and what it has written by then (S2, S3, O1)."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.faults.conftest import PLANTED_KEY, config
from tests.kit import Gate, Hang, Say, ScriptedUpstream, ServerProcess, Status

SECRET_PROMPT = "the planted prompt of a private person"
SECRET_ANSWER = "the planted answer to that person"
CHAT = "/v1/chat/completions"


def asking(**more: object) -> dict[str, object]:
    return {"model": "single", "messages": [{"role": "user", "content": SECRET_PROMPT}], "stream": True, **more}


@pytest.mark.requirement("A8")
async def test_sigterm_lets_a_stream_finish_and_exits_0(scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("single", Say("one two three", gate=gate, gate_at=1))
    with ServerProcess(config(scripted.api_base)) as server:
        async with (
            httpx.AsyncClient(base_url=server.base, timeout=10) as client,
            client.stream("POST", CHAT, json=asking()) as response,
        ):
            lines = response.aiter_lines()
            assert "one" in await anext(lines)
            server.terminate()
            gate.open()
            rest = [line async for line in lines]
            assert rest[-2:] == ["data: [DONE]", ""]
        assert await anyio.to_thread.run_sync(server.stop) == 0


@pytest.mark.requirement("A8")
async def test_a_stream_that_outlives_the_drain_time_is_told_so(scripted: ScriptedUpstream) -> None:
    scripted.on("single", Hang("body"))
    text = "[server]\ndrain_timeout_secs = 1\n\n" + config(scripted.api_base)
    with ServerProcess(text) as server:
        async with (
            httpx.AsyncClient(base_url=server.base, timeout=10) as client,
            client.stream("POST", CHAT, json=asking()) as response,
        ):
            lines = response.aiter_lines()
            await anext(lines)
            server.terminate()
            rest = [line async for line in lines]
            assert any("server_stopping" in line for line in rest)
        assert await anyio.to_thread.run_sync(server.stop) == 0
    [request] = [json.loads(line) for line in server.log.splitlines() if f'"path":"{CHAT}"' in line]
    assert request["error"] == "server_stopping"  # and not that the client left


@pytest.mark.requirement("A8")
async def test_who_presses_ctrl_c_twice_waits_for_nobody_and_everybody_is_told(scripted: ScriptedUpstream) -> None:
    scripted.on("single", Hang("body"))
    with ServerProcess("[server]\ndrain_timeout_secs = 600\n\n" + config(scripted.api_base)) as server:
        async with (
            httpx.AsyncClient(base_url=server.base, timeout=10) as client,
            client.stream("POST", CHAT, json=asking()) as response,
        ):
            lines = response.aiter_lines()
            await anext(lines)
            os.kill(server.pid, signal.SIGINT)
            with anyio.fail_after(5), suppress(httpx.TransportError):
                async with httpx.AsyncClient(base_url=server.base, timeout=10) as another:
                    while True:  # until the door is closed
                        await another.get("/health", headers={"connection": "close"})
            os.kill(server.pid, signal.SIGINT)
            rest = [line async for line in lines]
            assert any("server_stopping" in line for line in rest)
        assert await anyio.to_thread.run_sync(server.wait) == 0
    await scripted.wait_idle()
    assert "Traceback" not in server.log
    assert "Unclosed" not in server.log


@pytest.mark.requirement("A8")
async def test_not_ready_at_once_and_open_until_those_in_front_have_seen_it(scripted: ScriptedUpstream) -> None:
    scripted.on("single", Say(SECRET_ANSWER))
    text = "[server]\nlame_duck_secs = 60\n\n" + config(scripted.api_base)
    with ServerProcess(text) as server:

        async def ask(method: str, path: str, **more: Any) -> httpx.Response:
            # each on a new connection
            async with httpx.AsyncClient(base_url=server.base, timeout=10) as client:
                return await client.request(method, path, **more)

        assert (await ask("GET", "/ready")).status_code == 200
        server.terminate()
        with anyio.fail_after(5):
            while (ready := await ask("GET", "/ready")).status_code == 200:
                pass
        assert (ready.status_code, ready.json()["status"]) == (503, "stopping")
        with anyio.fail_after(5):
            while "close" not in (answer := await ask("POST", CHAT, json=asking(stream=False))).headers.get(
                "connection", ""
            ):
                pass
        assert SECRET_ANSWER in answer.text
        assert (await ask("GET", "/health")).status_code == 200
        assert await anyio.to_thread.run_sync(server.stop) == 0  # a second SIGTERM does not wait


@pytest.mark.requirement("A8")
async def test_the_time_to_see_it_ends_by_itself(scripted: ScriptedUpstream) -> None:
    with ServerProcess("[server]\nlame_duck_secs = 0.5\n\n" + config(scripted.api_base)) as server:
        server.terminate()
        assert await anyio.to_thread.run_sync(server.wait) == 0


@pytest.mark.requirement("S2")
@pytest.mark.requirement("S3")
@pytest.mark.requirement("O1")
async def test_no_key_prompt_or_answer_is_in_anything_it_writes(scripted: ScriptedUpstream) -> None:
    written: list[str] = []
    with ServerProcess(config(scripted.api_base), env={"CHORUS_LOG": "debug"}) as server:
        async with httpx.AsyncClient(base_url=server.base, timeout=10) as client:
            for behaviour in (
                Say(SECRET_ANSWER),
                Status(500, {"error": {"message": f"bad key {PLANTED_KEY} for: {SECRET_PROMPT}"}}),
                Status(400, f"cannot read {SECRET_PROMPT} with Authorization: Bearer {PLANTED_KEY}"),
                Hang("headers"),
            ):
                for name in ("single", "w1", "w2", "synthesizer"):
                    scripted.on(name, behaviour)
                waits = isinstance(behaviour, Hang)
                for model in ("single",) if waits else ("single", "chorus"):
                    for stream in (True,) if waits else (True, False):
                        reply = await client.post(CHAT, json=asking(model=model, stream=stream, include_workflow=True))
                        written.append(reply.text.replace(SECRET_ANSWER, "").replace(SECRET_PROMPT, ""))
            for path in ("/v1/models", "/api/tags", "/openapi.json", "/health", "/ready", "/api/v1/workflows"):
                written.append((await client.get(path)).text)
            await client.post(CHAT, content=SECRET_PROMPT)
    log = server.log  # whole, now that the process has ended
    assert PLANTED_KEY not in log + "".join(written)
    assert SECRET_PROMPT not in log
    assert SECRET_ANSWER not in log
    summary = [json.loads(line) for line in log.splitlines() if '"event":"request"' in line and "workflow_id" in line]
    assert summary
    assert all({"request_id", "workflow_id", "model", "attempts"} <= line.keys() for line in summary)


@pytest.mark.requirement("S3")
async def test_sensitive_logging_is_opt_in_and_announced(scripted: ScriptedUpstream) -> None:
    scripted.on("single", Say(SECRET_ANSWER))
    env = {"CHORUS_LOG": "warning,chorus.workflow=debug", "CHORUS_LOG_SENSITIVE": "1"}
    with ServerProcess(config(scripted.api_base), env=env) as server:
        async with httpx.AsyncClient(base_url=server.base, timeout=10) as client:
            await client.post(CHAT, json=asking())
    log = server.log
    assert "CHORUS_LOG_SENSITIVE=1" in log
    assert SECRET_ANSWER in log
    assert '"event":"request"' not in log
