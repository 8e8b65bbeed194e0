"""A worker in Consul: registered, checked, registered again, gone (I4)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import grpc
import pytest
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from chorus.discovery.agent import Agent
from chorus.discovery.registration import Registration, registered
from tests.kit import free_port
from tests.kit.consul import FakeConsul

pytestmark = pytest.mark.requirement("I4")
GLM = Registration("glm", "127.0.0.1", 50051, tags=("gpu",), meta={"engine": "echo"})


async def test_what_is_registered() -> None:
    async with FakeConsul() as consul:
        async with registered(Agent(consul.address, token="t"), GLM) as kept:
            with anyio.fail_after(5):
                await kept.known.wait()
            (body,) = consul.registered("llm-glm")
            assert body == {
                "ID": "llm-glm-127.0.0.1-50051",
                "Name": "llm-glm",
                "Address": "127.0.0.1",
                "Port": 50051,
                "Tags": ["gpu"],
                "Meta": {"engine": "echo", "model": "glm"},
                "Check": {
                    "Status": "passing",
                    "GRPC": "127.0.0.1:50051/glm",
                    "GRPCUseTLS": False,
                    "Interval": "5s",
                    "Timeout": "2s",
                    "DeregisterCriticalServiceAfter": "60s",
                },
            }
            assert consul.passing("llm-glm") == ["llm-glm-127.0.0.1-50051"]
            assert consul.questions[-1].token == "t"
        assert consul.registered("llm-glm") == []


async def test_it_leaves_before_the_block_ends_and_only_once() -> None:
    async with FakeConsul() as consul:
        async with registered(Agent(consul.address), GLM) as kept:
            await kept.known.wait()
            await kept.leave()
            assert consul.registered("llm-glm") == []
        assert len(consul.asked("/v1/agent/service/deregister/")) == 1


async def test_an_agent_that_was_started_again_gets_it_again() -> None:
    async with FakeConsul() as consul, registered(Agent(consul.address), GLM, look_secs=0.05) as kept:
        await kept.known.wait()
        await consul.stop()
        await consul.start()
        await consul.until_passing("llm-glm", 1)


async def test_an_agent_that_comes_later_gets_it_then_and_nobody_waits() -> None:
    consul = FakeConsul()
    consul.port = free_port()
    with structlog.testing.capture_logs() as lines:
        async with registered(Agent(consul.address), GLM) as kept:
            with anyio.move_on_after(0.3):
                await kept.known.wait()
            assert not kept.known.is_set()
            await consul.start()
            await consul.until_passing("llm-glm", 1)
    assert lines[0]["event"] == "the worker is not registered, and tries again"
    assert "cannot be reached" in lines[0]["reason"]
    await consul.stop()


async def test_a_refusal_is_logged_once() -> None:
    async with FakeConsul(token="right") as consul:
        with structlog.testing.capture_logs() as lines:
            async with registered(Agent(consul.address), GLM):
                await consul.until_asked(3, "/v1/agent/service/register")
        refusals = [line for line in lines if line["event"].startswith("the worker is not registered")]
        assert len(refusals) == 1
        assert "403" in refusals[0]["reason"]


async def test_a_worker_that_checks_itself_says_so_in_time_and_registers_again() -> None:
    glm = Registration("glm", "127.0.0.1", 50051, check="ttl", interval_secs=0.2)
    async with FakeConsul() as consul, registered(Agent(consul.address), glm, look_secs=0.05):
        await consul.until_asked(4, "/v1/agent/check/pass/service:llm-glm-127.0.0.1-50051")
        assert consul.registered("llm-glm")[0]["Check"]["TTL"] == "0.6s"
        consul.remove("llm-glm-127.0.0.1-50051")
        await consul.until_passing("llm-glm", 1)


async def test_an_agent_that_hangs_holds_no_worker_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chorus.discovery.registration._LEAVE_SECS", 0.2)
    async with FakeConsul() as consul:
        with anyio.fail_after(5):
            async with registered(Agent(consul.address), GLM) as kept:
                await kept.known.wait()
                consul.faults.hangs = True


@asynccontextmanager
async def healthy(port: int = 0) -> AsyncIterator[tuple[int, health.aio.HealthServicer]]:
    server, checks = grpc.aio.server(), health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    await checks.set("glm", health_pb2.HealthCheckResponse.SERVING)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield bound, checks
    finally:
        await server.stop(0)


async def test_the_agent_checks_by_grpc_and_forgets_what_stays_critical() -> None:
    async with FakeConsul() as consul:
        consul.reap_secs = 0.0
        async with healthy() as (port, checks):
            glm = Registration("glm", "127.0.0.1", port, interval_secs=0.05, deregister_after_secs=0.3)
            async with registered(Agent(consul.address), glm, look_secs=600) as kept:
                await kept.known.wait()
                await checks.set("glm", health_pb2.HealthCheckResponse.NOT_SERVING)
                await consul.until_passing("llm-glm", 0)
                assert consul.registered("llm-glm")
                await checks.set("glm", health_pb2.HealthCheckResponse.SERVING)
                await consul.until_passing("llm-glm", 1)
                await checks.set("glm", health_pb2.HealthCheckResponse.NOT_SERVING)
                await consul.until_gone("llm-glm")
