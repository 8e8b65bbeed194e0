"""deploy/compose without Docker: its services as processes of network namespaces, by the commands,
the environment, the files and the health checks of the compose file. Sessions stay and balance, and
go on when a worker or a gateway is gone.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from tests.kit.compose import Services
from tests.kit.consul_process import AgentProcess
from tests.kit.machines import Machines, can_make_machines

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.requirement("I5"),
    pytest.mark.very_slow,  # 26 s of CPU, 90 s with its waiting: `make test-deploy` runs it, too
    pytest.mark.skipif(not can_make_machines(), reason="network namespaces need root on Linux"),
    pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not on this machine"),
]
FILE = Path(__file__).resolve().parents[2] / "deploy" / "compose" / "compose.yaml"
MODEL = "glm"
SESSIONS = 16
WORKERS, GATEWAYS = ("worker-1", "worker-2"), ("gateway-1", "gateway-2")
SLOW = {"CHORUS_WORKER_OPTION": "delay_secs=0.02"}
"""The time of a word of the engine echo."""
NAMES = ("redis", "consul", "balancer", "prometheus", *WORKERS, *GATEWAYS)


class Cluster:
    """The services that run, as a client on another machine sees them."""

    def __init__(self, network: Machines, services: Services, agent: AgentProcess) -> None:
        self.network, self.services, self.agent = network, services, agent
        self.base = f"http://{network.address('balancer')}:8080"
        # what is looked up, past the balancer
        self._aside = f"http://{network.address('gateway-2')}:11435"
        # the balancer chooses anew for each request
        once = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.AsyncClient(base_url=self.base, limits=once, timeout=30, trust_env=False)
        self.client.headers["host"] = "localhost:8080"

    async def ask(self, session: str | None = None, gateway: str | None = None) -> tuple[str, str]:
        """Ask within a session, or begin one, past the balancer where a `gateway` is named.

        The session's id, and the worker that answered.
        """
        text, place = "How are you?", "" if gateway is None else f"http://{self.network.address(gateway)}:11435"
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "session": True}
        if session is not None:
            body["session_id"] = session
        response = await self.client.post(f"{place}/v1/chat/completions", json=body)
        assert response.status_code == 200, response.text
        assert response.json()["choices"][0]["message"]["content"] == text
        return response.headers["x-session-id"], await self._worker_of(response.headers["x-chorus-workflow-id"])

    async def _worker_of(self, id: str) -> str:
        """The worker that answered a run: its trace, which is stored when the answer has been sent,
        says so.
        """
        with anyio.fail_after(20):
            while True:
                response = await self.client.get(f"{self._aside}/api/v1/workflows/{id}")
                if response.status_code == 200:
                    [worker] = set(re.findall(r'"instance_id":"glm@(worker-\d):50051"', response.text))
                    return worker
                await anyio.sleep(0.02)

    async def turns(self, session: str, count: int) -> None:
        """Wait until a session has so many turns."""
        with anyio.fail_after(20):
            while (await self.client.get(f"{self._aside}/api/v1/sessions/{session}")).json().get("turns") != count:  # noqa: ASYNC110
                await anyio.sleep(0.02)

    async def counted(self, place: str, name: str, **labels: str) -> float:
        """A counter of a service's own page of metrics."""
        page = (await self.client.get(f"http://{place}/metrics", headers={"host": place})).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def busy_gateway(self) -> str:
        """The gateway that calls a model now.

        What is looked up is asked of the other one from now on.
        """
        places = {name: f"{self.network.address(name)}:11435" for name in GATEWAYS}
        [busy] = [name for name, place in places.items() if await self.counted(place, "active_concurrency")]
        [self._aside] = [f"http://{place}" for name, place in places.items() if name != busy]
        return busy

    async def answers_of(self, gateway: str) -> float:
        """How many chat requests a gateway has answered."""
        place = f"{self.network.address(gateway)}:11435"
        return await self.counted(place, "http_requests_total", route="/v1/chat/completions", status="200")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """Everything of the file that a request goes through, started in the order in which compose
    starts it; in the place of Consul, the agent of the test kit.
    """
    tmp_path = tmp_path_factory.mktemp("cluster")
    with Machines(NAMES) as network, AgentProcess(network.at("consul"), network.address("consul")) as agent:
        services = Services(FILE, network, tmp_path, {"MODEL_NAME": MODEL})
        try:
            await anyio.to_thread.run_sync(services.up, "redis")
            async with anyio.create_task_group() as group:
                for name in WORKERS + GATEWAYS:
                    group.start_soon(anyio.to_thread.run_sync, services.up, name, SLOW if name in WORKERS else None)
            await anyio.to_thread.run_sync(services.up, "balancer")
            cluster = Cluster(network, services, agent)
            async with cluster.client:
                yield cluster
        finally:
            services.down()


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(made: Cluster) -> Cluster:
    """The services, with what an earlier test has ended started again."""
    for name, service in list(made.services.running.items()):
        if service.process.poll() is not None:
            await anyio.to_thread.run_sync(made.services.up, name, SLOW if name in WORKERS else None)
    await made.agent.until_passing(f"llm-{MODEL}", 2)
    return made


async def test_sessions_stay_and_balance_and_go_on_without_a_worker_and_a_gateway(cluster: Cluster) -> None:
    first = dict([await cluster.ask() for _ in range(SESSIONS)])
    balance = Counter(first.values())
    assert min(balance[worker] for worker in WORKERS) >= SESSIONS // 8, balance
    for session, worker in first.items():
        for gateway in GATEWAYS:
            assert await cluster.ask(session, gateway) == (session, worker)
    for worker in WORKERS:
        place = f"{cluster.network.address(worker)}:8001"
        assert await cluster.counted(place, "llm_requests_total", model=MODEL, code="OK") == 3 * balance[worker]
    for gateway in GATEWAYS:
        assert await cluster.answers_of(gateway) > SESSIONS, "the balancer has sent some of them to each gateway"

    cluster.services.running["worker-1"].kill()
    for session in first:
        for gateway in GATEWAYS:
            assert await cluster.ask(session, gateway) == (session, "worker-2")
    await anyio.to_thread.run_sync(cluster.services.up, "worker-1", SLOW)
    await cluster.agent.until_passing(f"llm-{MODEL}", 2)
    settled = dict([await cluster.ask(session, "gateway-2") for session in first])
    with anyio.fail_after(30):
        while (await cluster.ask())[1] != "worker-1":
            pass

    before = await cluster.answers_of("gateway-2")
    cluster.services.running["gateway-1"].kill()
    for session in first:
        assert await cluster.ask(session) == (session, settled[session])
        await cluster.turns(session, 7)
    assert await cluster.answers_of("gateway-2") == before + SESSIONS


async def test_machines_that_are_gone_without_a_word_hold_nobody_for_long(cluster: Cluster) -> None:
    """The cable of a worker is pulled, then that of a gateway: what waits for them is noticed, and
    asked elsewhere.
    """
    sessions: dict[str, str] = {}
    # a worker that an earlier test has ended may be quarantined for a while
    with anyio.fail_after(30):
        while Counter(sessions.values())["worker-1"] < 3:
            sessions |= [await cluster.ask()]
    cluster.network.unplug("worker-1")
    try:
        with anyio.fail_after(40):
            async with anyio.create_task_group() as group:
                for session in sessions:
                    group.start_soon(_moves_to, cluster, session, "worker-2")
    finally:
        cluster.network.plug("worker-1")
    await cluster.agent.until_passing(f"llm-{MODEL}", 2)

    try:
        with anyio.fail_after(60):
            await _cut_off(cluster)
            for session in sessions:
                await cluster.ask(session)
    finally:
        for gateway in GATEWAYS:
            cluster.network.plug(gateway)


async def _cut_off(cluster: Cluster) -> None:
    """Pull the cable of the gateway that answers a stream, which ends before its time and does not
    hang.
    """
    text = " ".join(["word"] * 1000)
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": text}]}
    async with cluster.client.stream("POST", "/v1/chat/completions", json=body) as response:
        pieces = response.aiter_bytes()
        await anext(pieces)
        cluster.network.unplug(await cluster.busy_gateway())
        with pytest.raises(httpx.RemoteProtocolError):
            await _rest(pieces)


async def _rest(pieces: AsyncIterator[bytes]) -> None:
    async for _ in pieces:
        pass


async def _moves_to(cluster: Cluster, session: str, worker: str) -> None:
    assert await cluster.ask(session) == (session, worker)


async def test_a_restart_of_each_service_loses_no_request(cluster: Cluster) -> None:
    """What compose does with `restart`: SIGTERM, the file's grace, and the same command again.

    Prometheus scrapes all.
    """
    services, asked = cluster.services, Counter[str]()
    await anyio.to_thread.run_sync(services.up, "prometheus")

    async def keep_asking() -> None:
        text = " ".join(["word"] * 40)
        body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": text}]}
        while True:
            async with cluster.client.stream("POST", "/v1/chat/completions", json=body) as response:
                assert response.status_code == 200, await response.aread()
                answer = await response.aread()
            assert answer.count(b"word") == 40
            assert answer.endswith(b"data: [DONE]\n\n")
            asked[response.headers["x-chorus-workflow-id"]] += 1

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(keep_asking)
        for name in WORKERS + GATEWAYS:
            assert await anyio.to_thread.run_sync(services.running[name].stop) == 0
            await anyio.to_thread.run_sync(services.up, name, SLOW if name in WORKERS else None)
            await cluster.agent.until_passing(f"llm-{MODEL}", 2)
        await _until_scraped(cluster)
        group.cancel_scope.cancel()
    assert len(asked) >= 3 * 4
    assert services.running["balancer"].process.poll() is None


async def _until_scraped(cluster: Cluster) -> None:
    """Wait until Prometheus says that every target of its file is up."""
    place = f"http://{cluster.network.address('prometheus')}:9090/api/v1/targets"
    with anyio.fail_after(60):
        while True:
            targets = (await cluster.client.get(place)).json()["data"]["activeTargets"]
            if [target["health"] for target in targets] == ["up"] * 5:
                return
            await anyio.sleep(0.2)
