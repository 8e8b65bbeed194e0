"""Consul as Chorus speaks it: instances followed by blocking queries, through every fault (D2)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from random import Random

import pytest

from chorus.discovery.agent import Agent, agent_of
from chorus.discovery.consul import open_consul
from chorus.discovery.consul_source import Bucket, ConsulSource, next_index
from chorus.discovery.instance import MAX_INSTANCES, Instance, in_order
from chorus.discovery.source import Pauses, SourceError
from tests.discovery.watching import watched
from tests.kit.consul import FakeConsul

pytestmark = pytest.mark.requirement("D2")
NAME = "llm-glm"


def source(consul: FakeConsul, **options: object) -> ConsulSource:
    return ConsulSource(Agent(consul.address), NAME, **{"wait_secs": 30, **options})  # type: ignore[arg-type]


async def look(consul: FakeConsul, agent: Agent | None = None) -> tuple[Instance, ...]:
    return await ConsulSource(agent or Agent(consul.address), NAME).look()


async def test_a_change_is_known_at_once() -> None:
    async with FakeConsul() as consul, watched(source(consul)) as answers:
        assert await answers.until(1) == ()
        first = consul.add(NAME, "127.0.0.1", 50051, weight=3)
        assert await answers.until(2) == (Instance("127.0.0.1", 50051, 3.0),)
        consul.add(NAME, "127.0.0.1", 50052)
        await answers.until(3)
        assert answers.ports == [50051, 50052]
        consul.set_status(first, "critical")
        await answers.until(4)
        assert answers.ports == [50052]
        consul.set_status(first, "passing")
        await answers.until(5)
        assert answers.ports == [50051, 50052]
        consul.remove(first)
        await answers.until(6)
        assert answers.ports == [50052]
        asked = consul.asked()
        assert [question.query.get("index") is None for question in asked][:2] == [True, False]
        assert all(question.query["passing"] == "true" for question in asked)
        assert asked[-1].query["wait"] == "30s"


async def test_an_instance_without_an_address_is_at_its_node_and_a_warning_does_not_pass() -> None:
    async with FakeConsul(node_address="10.1.2.3") as consul:
        consul.add(NAME, "", 50051)
        consul.add(NAME, "127.0.0.1", 50052, status="warning")
        assert await look(consul) == (Instance("10.1.2.3", 50051),)
        consul.node_status = "critical"
        assert await look(consul) == ()


async def test_only_instances_with_the_tag() -> None:
    async with FakeConsul() as consul:
        consul.add(NAME, "127.0.0.1", 1, tags=("gpu",))
        consul.add(NAME, "127.0.0.1", 2)
        assert [each.port for each in await ConsulSource(Agent(consul.address), NAME, tag="gpu").look()] == [1]


async def test_an_index_that_moves_without_a_change_is_no_change() -> None:
    async with FakeConsul() as consul:
        consul.add(NAME, "127.0.0.1", 1)
        async with watched(source(consul)) as answers:
            await answers.until(1)
            for count in (2, 3):
                await consul.until_asked(count)
                consul.touch(NAME)
            consul.add(NAME, "127.0.0.1", 2)
            await answers.until(2)
            assert answers.ports == [1, 2]


async def test_an_index_that_goes_backwards_begins_anew() -> None:
    async with FakeConsul() as consul:
        consul.add(NAME, "127.0.0.1", 1)
        async with watched(source(consul)) as answers:
            await answers.until(1)
            await consul.until_asked(2)
            consul.rewind()
            await consul.until_asked(3)
            assert "index" not in consul.asked()[2].query
            await consul.until_asked(4)
            consul.add(NAME, "127.0.0.1", 2)
            await answers.until(2)
            assert answers.ports == [1, 2]


async def test_an_agent_that_answers_at_once_without_a_change_is_not_asked_in_a_loop() -> None:
    async with FakeConsul() as consul:
        consul.add(NAME, "127.0.0.1", 1)
        consul.faults.unchanged_at_once = True
        async with watched(source(consul)) as answers:
            await answers.until(1)
            await consul.until_asked(2)
            await look(consul)  # time in which a loop would have asked many times
            await look(consul)
            assert len(consul.asked()) <= 5


def test_the_bucket_slows_a_loop_down_to_15_seconds_and_lets_changes_through() -> None:
    bucket, now = Bucket(0.0), 0.0
    waits = []
    for _ in range(5):
        secs = bucket.secs(now, changed=False)
        waits.append(secs)
        now += secs
    assert waits == pytest.approx([0, 0, 15, 15, 15])
    fresh = Bucket(0.0)
    assert [fresh.secs(0.0, changed=True) for _ in range(15)] == [0.0] * 15
    idle = Bucket(0.0)
    assert [idle.secs(60.0 * minute, changed=False) for minute in range(1, 6)] == [0.0] * 5


@pytest.mark.parametrize(("asked", "answered", "following"), [(0, 7, 7), (7, 9, 9), (9, 9, 9), (9, 4, 0), (0, 0, 1)])
def test_the_next_index(asked: int, answered: int, following: int) -> None:
    assert next_index(asked, answered) == following


def test_pauses_grow_to_15_seconds_with_jitter() -> None:
    pauses = Pauses(Random(1))
    secs = [pauses.secs() for _ in range(12)]
    assert 0.125 <= secs[0] <= 0.25
    assert all(7.5 <= each <= 15 for each in secs[7:])
    assert len(set(secs)) == len(secs)
    pauses.reset()
    assert pauses.secs() <= 0.25


FAULTS = {
    "no leader": ({"status": 500}, "status 500: No cluster leader"),
    "garbage": ({"garbage": True}, "sends no list of instances"),
    "too long": ({"huge": True}, "more than 8 MiB"),
    "rate": ({"status": 429, "text": "slow down"}, "status 429: slow down"),
}


@pytest.mark.parametrize("case", FAULTS)
async def test_a_fault_is_a_sentence_and_the_list_is_back_after_it(case: str) -> None:
    faults, sentence = FAULTS[case]
    async with FakeConsul() as consul:
        consul.add(NAME, "127.0.0.1", 1)
        async with watched(source(consul)) as answers:
            await answers.until(1)
            for name, value in faults.items():
                setattr(consul.faults, name, value)
            with pytest.raises(SourceError, match=sentence):
                await look(consul)
            seen = len(consul.asked())
            consul.touch(NAME)
            await consul.until_asked(seen + 1)
            consul.faults = type(consul.faults)()
            consul.add(NAME, "127.0.0.1", 2)
            await answers.until(2)
            assert answers.ports == [1, 2]
            assert answers.status.errors >= 1
            assert answers.status.problem is None


async def test_a_refused_token_is_said_plainly_and_a_right_one_is_sent() -> None:
    async with FakeConsul(token="s3cret-token") as consul:
        consul.add(NAME, "127.0.0.1", 1)
        with pytest.raises(SourceError, match=r"refuses a client without a token \(status 403: Permission denied"):
            await look(consul)
        with pytest.raises(SourceError, match="refuses its token") as refusal:
            await look(consul, Agent(consul.address, token="wrong-token"))
        assert "wrong-token" not in str(refusal.value)
        assert await look(consul, Agent(consul.address, token="s3cret-token", datacenter="dc7"))
        assert consul.asked()[-1].query["dc"] == "dc7"


async def test_an_agent_that_is_killed_and_comes_back_without_its_state() -> None:
    async with FakeConsul() as consul:
        for port in range(1, 6):
            consul.add(NAME, "127.0.0.1", port)  # the index is higher than after the restart
        async with watched(source(consul)) as answers:
            await answers.until(1)
            await consul.until_asked(2)
            await consul.stop()
            with pytest.raises(SourceError, match="cannot be reached"):
                await look(consul)
            await consul.start()
            consul.add(NAME, "127.0.0.1", 9)
            while answers.ports != [9]:
                await answers.until(len(answers.all) + 1)
            assert answers.status.errors >= 1


async def test_an_agent_that_hangs_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chorus.discovery.consul.ANSWER_SECS", 0.2)
    async with FakeConsul() as consul:
        consul.faults.hangs = True
        async with open_consul(Agent(consul.address)) as client:
            with pytest.raises(SourceError, match=r"does not answer within 0\.2 s"):
                await client.instances(NAME)
            # wait + wait / 16 and more
            with pytest.raises(SourceError, match=r"does not answer within 0\.4125 s"):
                await client.instances(NAME, index=5, wait_secs=0.2)


async def test_names_with_slashes_and_spaces_are_names() -> None:
    async with FakeConsul() as consul:
        consul.add("llm-org/model 1:7b", "127.0.0.1", 1)
        found = await ConsulSource(Agent(consul.address), "llm-org/model 1:7b").look()
        assert [each.port for each in found] == [1]


def test_what_cannot_be_an_address_is_left_out_and_lists_are_bounded() -> None:
    odd = ["", "a b", "a/b", "a@b", "a?b", "-a", "[::1]", "a\n", "x" * 300]
    assert in_order([Instance(host, 1) for host in odd] + [Instance("a", 0), Instance("a", 70000)]) == ()
    good = in_order([Instance("b", 1), Instance("::1", 2), Instance("a.example", 3), Instance("b", 1, 5.0)])
    assert [each.address("grpc://{host}:{port}") for each in good] == [
        "grpc://[::1]:2",
        "grpc://a.example:3",
        "grpc://b:1",
    ]
    assert len(in_order(Instance(f"h{number}", 1) for number in range(MAX_INSTANCES + 5))) == MAX_INSTANCES


def test_the_environment_of_consul() -> None:
    assert agent_of(None, environ={}).address == "http://127.0.0.1:8500"
    named = {"CONSUL_HTTP_ADDR": "consul.lan:8501", "CONSUL_HTTP_SSL": "true", "CONSUL_HTTP_TOKEN": "t"}
    agent = agent_of(None, environ=named)
    assert (agent.address, agent.token) == ("https://consul.lan:8501", "t")
    assert agent_of("http://a:1/", environ=named).address == "http://a:1"
    assert "t'" not in repr(agent)
    for wrong in ("unix:///var/run/consul.sock", "http://", "http://u:p@h", "http://h:x"):
        with pytest.raises(ValueError, match="expected the http or https address"):
            agent_of(wrong, environ={})


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of localhost, signed by itself, with its key; without it beside."""
    path = tmp_path / "localhost.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(["openssl", *options.split(), *names], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


async def test_an_agent_behind_tls_is_believed_by_its_certificate(certificate: Path) -> None:
    async with FakeConsul(certificate=certificate) as consul:
        consul.add(NAME, "127.0.0.1", 1)
        assert len(await look(consul, Agent(consul.address, ca_file=f"{certificate}.crt"))) == 1
        with pytest.raises(SourceError, match="CERTIFICATE_VERIFY_FAILED"):
            await look(consul)
        with pytest.raises(SourceError, match="cannot be read"):
            await look(consul, Agent(consul.address, ca_file=f"{certificate}.missing"))
