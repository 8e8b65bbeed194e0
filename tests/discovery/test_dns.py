"""DNS as a source of addresses: SRV and address records, their time to live, and what can go wrong
(D2).
"""

from __future__ import annotations

import socket
import sys

import pytest

from chorus.discovery import dns_source
from chorus.discovery.dns_source import DnsSource
from chorus.discovery.instance import Instance
from chorus.discovery.source import SourceError
from chorus.errors import ConfigError
from tests.discovery.watching import watched
from tests.kit.dns import NXDOMAIN, SERVFAIL, A, DnsServer, Srv

pytestmark = pytest.mark.requirement("D2")
NAME = "llm-glm.service.consul"


async def test_srv_records_with_their_weights_and_the_addresses_of_their_hosts() -> None:
    async with DnsServer() as dns:
        dns.records = [
            Srv(NAME, 1, 3, 50051, "w1.node.consul"),
            Srv(NAME, 1, 0, 50052, "w2.node.consul"),
            Srv(NAME, 2, 9, 50053, "spare.node.consul"),
            A("w1.node.consul", "10.0.0.1"),
            A("w2.node.consul", "fd00::2"),
        ]
        wanted = (Instance("10.0.0.1", 50051, 3.0), Instance("fd00::2", 50052, 1.0))
        assert await DnsSource(NAME, server=dns.address).look() == wanted
        assert [kind for _, kind, _ in dns.questions] == ["SRV"]
        dns.additional = False  # as Kubernetes' server may
        assert await DnsSource(NAME, server=dns.address).look() == wanted
        names = await DnsSource(NAME, server=dns.address, keeps_names=True).look()
        assert [each.host for each in names] == ["w1.node.consul", "w2.node.consul"]


async def test_address_records_with_a_port() -> None:
    async with DnsServer() as dns:
        dns.records = [A(NAME, "10.0.0.2"), A(NAME, "10.0.0.1"), A(NAME, "fd00::1")]
        found = await DnsSource(NAME, port=8000, server=dns.address).look()
        assert found == (Instance("10.0.0.1", 8000), Instance("10.0.0.2", 8000), Instance("fd00::1", 8000))


async def test_it_is_asked_again_when_the_time_to_live_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_source, "MIN_TTL_SECS", 0.05)
    async with DnsServer() as dns:
        dns.records = [Srv(NAME, 1, 1, 1, "w1", ttl=0), A("w1", "10.0.0.1", ttl=0)]
        async with watched(DnsSource(NAME, server=dns.address)) as answers:
            await answers.until(1)
            dns.records[0] = Srv(NAME, 1, 1, 2, "w1", ttl=3600)
            await answers.until(2)
            assert answers.ports == [2]
            count = len(dns.questions)
        assert count == len(dns.questions)  # an hour is not over


async def test_times_to_live_have_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(secs: float) -> None:
        slept.append(secs)
        raise RuntimeError("enough")

    async with DnsServer() as dns:
        for ttl in (0, 20, 86400):
            dns.records = [A(NAME, "10.0.0.1", ttl=ttl)]
            source = DnsSource(NAME, port=1, server=dns.address)
            with monkeypatch.context() as patch:
                patch.setattr("chorus.discovery.dns_source.anyio.sleep", sleep)
                with pytest.raises(ExceptionGroup):
                    async with watched(source) as answers:
                        await answers.until(2)
    assert slept == [1.0, 20.0, 300.0]


@pytest.mark.parametrize("case", ["no such name", "no such record"])
async def test_a_name_without_instances_is_an_empty_list(case: str) -> None:
    async with DnsServer() as dns:
        if case == "no such record":
            dns.records = [A(NAME, "10.0.0.1")]
        else:
            dns.status = NXDOMAIN
        assert await DnsSource(NAME, server=dns.address).look() == ()


async def test_a_server_that_fails_keeps_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_source, "MIN_TTL_SECS", 0.05)
    async with DnsServer() as dns:
        dns.records = [A(NAME, "10.0.0.1", ttl=0)]
        async with watched(DnsSource(NAME, port=1, server=dns.address)) as answers:
            await answers.until(1)
            dns.status = SERVFAIL
            with pytest.raises(SourceError, match="SERVFAIL"):
                await DnsSource(NAME, port=1, server=dns.address).look()
            await dns.until_asked(len(dns.questions) + 1)
            dns.status = None
            dns.records.append(A(NAME, "10.0.0.2", ttl=0))
            await answers.until(2)
            assert [len(each) for each in answers.all] == [1, 2]


async def test_a_server_that_says_nothing_is_left_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_source, "LOOK_SECS", 1.0)
    async with DnsServer() as dns:
        dns.hangs = True
        with pytest.raises(SourceError, match="does not answer for"):
            await DnsSource(NAME, server=dns.address).look()


async def test_a_cut_answer_is_asked_for_by_tcp() -> None:
    async with DnsServer() as dns:
        dns.truncates = True
        dns.records = [Srv(NAME, 1, 1, port, "w1") for port in range(1, 200)] + [A("w1", "10.0.0.1")]
        assert len(await DnsSource(NAME, server=dns.address).look()) == 199
        assert [transport for _, _, transport in dns.questions] == ["udp", "tcp"]


async def test_without_dnspython_the_system_answers_for_addresses_and_srv_records_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "dns", None)
    assert Instance("127.0.0.1", 7) in await DnsSource("localhost", port=7).look()
    with pytest.raises(ConfigError, match=r"SRV records need dnspython; install `chorus-llm\[dns\]`"):
        DnsSource(NAME)
    with pytest.raises(ConfigError, match="a `server` needs dnspython"):
        DnsSource(NAME, port=7, server="127.0.0.1")

    def fails(*args: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(SourceError, match="the system cannot look up"):
        await DnsSource("localhost", port=7).look()

    def is_unknown(*args: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    monkeypatch.setattr(socket, "getaddrinfo", is_unknown)
    assert await DnsSource("localhost", port=7).look() == ()
