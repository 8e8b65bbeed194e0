"""Stopping and losing a replica while many are being served (A8, D1)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import anyio.to_thread
import httpx
import pytest

from tests.kit import Gate, Say, ScriptedUpstream, ServerProcess, free_port

CHAT = "/v1/chat/completions"
BODY = {"model": "m-0-0-8", "stream": True, "messages": [{"role": "user", "content": "How?"}]}
STREAMS = 200
START_SECS = 60


@pytest.mark.requirement("A8")
async def test_sigterm_under_200_live_streams_loses_none() -> None:
    gate, begun, whole = Gate(), 0, 0
    async with ScriptedUpstream() as upstream:
        upstream.on("m-0-0-8", Say("one two three", gate=gate, gate_at=1))
        config = f'[[model]]\nname = "m-0-0-8"\napi_base = "{upstream.api_base}"\n'
        with ServerProcess(config, env={"CHORUS_LOG": "warning"}) as server:
            all_begun = anyio.Event()

            async def follow(client: httpx.AsyncClient) -> None:
                nonlocal begun, whole
                async with client.stream("POST", CHAT, json=BODY) as response:
                    lines = response.aiter_lines()
                    await anext(lines)
                    begun += 1
                    if begun == STREAMS:
                        all_begun.set()
                    rest = [line async for line in lines]
                    whole += "data: [DONE]" in rest

            limits = httpx.Limits(max_connections=STREAMS)
            async with (
                httpx.AsyncClient(base_url=server.base, timeout=30, verify=False, limits=limits) as client,
                anyio.create_task_group() as group,
            ):
                for _ in range(STREAMS):
                    group.start_soon(follow, client)
                with anyio.fail_after(20):
                    await all_begun.wait()
                server.terminate()
                gate.open()
            assert whole == STREAMS
            assert await anyio.to_thread.run_sync(server.stop) == 0


@contextmanager
def replica() -> Iterator[tuple[str, int]]:
    """An upstream in a process of its own, which can be killed; its address and process id."""
    port = free_port()
    command = [sys.executable, "-m", "tests.kit", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=False) as client:
                deadline = time.monotonic() + START_SECS
                while True:
                    try:
                        client.get("/v1/models")
                        break
                    except httpx.TransportError:
                        assert time.monotonic() < deadline, "the upstream does not start"
            yield f"http://127.0.0.1:{port}/v1", process.pid
        finally:
            process.kill()


@pytest.mark.requirement("D1")
async def test_sigkill_of_a_replica_under_load_fails_nobody_who_was_not_being_answered() -> None:
    with replica() as (first, victim), replica() as (second, _):
        config = f'[[model]]\nname = "m-0-0-8"\nreplicas = ["{first}", "{second}"]\n'
        with ServerProcess(config, env={"CHORUS_LOG": "error"}) as server:
            asked, broken = 0, 0

            async def load(client: httpx.AsyncClient) -> None:
                nonlocal asked, broken
                while asked < 250:
                    response = await client.post(CHAT, json=BODY)
                    asked += 1
                    if asked == 100:
                        os.kill(victim, signal.SIGKILL)
                    # a status would mean that nothing had been answered
                    assert response.status_code == 200
                    broken += '"error"' in response.text

            async with httpx.AsyncClient(base_url=server.base, timeout=20, verify=False) as client:
                async with anyio.create_task_group() as group:
                    for _ in range(16):
                        group.start_soon(load, client)
                states = (await client.get("/api/v1/upstreams")).json()["upstreams"][0]["replicas"]
            assert broken <= 16  # those that were in mid-answer at that moment
            assert states[0]["errors"] > 0
            assert states[1]["errors"] == 0
