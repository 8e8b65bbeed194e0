"""By which names a server may be called (S1): `allowed_hosts` holds wherever it listens, and a Host
is one name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from chorus.errors import ForbiddenHost
from chorus.server.http.context import RequestContext, attach
from chorus.server.http.hosts import check_host, is_loopback
from tests.kit.peer import Answer, Peer
from tests.server.running import Running, running

pytestmark = [pytest.mark.requirement("S1")]

SERVERS = {
    "loopback": '[server]\nhost = "127.0.0.1"\n',
    "loopback, named": '[server]\nhost = "127.0.0.1"\nallowed_hosts = ["Chorus.lan", "other.lan:8080", "[fe80::1]"]\n',
    "everywhere": '[server]\nhost = "0.0.0.0"\n',
    "everywhere, named": '[server]\nhost = "0.0.0.0"\nallowed_hosts = ["Chorus.lan", "other.lan:8080", "[fe80::1]"]\n',
    "everywhere, named, IPv6": '[server]\nhost = "::"\nallowed_hosts = ["chorus.lan", "other.lan:8080", "[fe80::1]"]\n',
    "one address, named": '[server]\nhost = "10.0.0.5"\nallowed_hosts = ["chorus.lan", "other.lan:8080", "[fe80::1]"]\n',
}
NAMED = [name for name in SERVERS if "named" in name]
STRICT = [name for name in SERVERS if name != "everywhere"]
"""Those that serve some names only."""


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Running]]:
    model = '[[model]]\nname = "demo"\nprovider = "demo"\n'
    with ExitStack() as stack:
        yield {name: stack.enter_context(running(text + model)) for name, text in SERVERS.items()}


async def ask(server: Running, hosts: bytes, version: str = "1.1") -> Answer:
    """The answer to a request with these Host lines."""
    async with Peer(server.base) as peer:
        await peer.send(f"GET /v1/models HTTP/{version}\r\nconnection: close\r\n".encode() + hosts + b"\r\n")
        return (await peer.until_closed())[0]


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:11435",
        "127.0.0.1",
        "127.9.9.9:80",
        "[::1]:11435",
        "a.localhost",
        "localhost.",
        "localhost.:80",
    ],
)
async def test_loopback_names_are_served_everywhere(servers: dict[str, Running], name: str, host: str) -> None:
    assert (await ask(servers[name], f"host: {host}\r\n".encode())).status == 200


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("host", ["chorus.lan", "CHORUS.LAN:1", "other.lan:8080", "[fe80::1]", "[fe80::1]:80"])
async def test_listed_names_are_served(servers: dict[str, Running], name: str, host: str) -> None:
    assert (await ask(servers[name], f"host: {host}\r\n".encode())).status == 200


@pytest.mark.parametrize("name", STRICT)
@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "rebound.evil.example:11435",
        "chorus.lan.evil.com",
        "other.lan",
        "other.lan:80",
        "localhost.evil.com",
        "127.0.0.1.evil.com",
        "10.9.8.7",
        "[2001:db8::1]",
    ],
)
async def test_all_others_are_refused(servers: dict[str, Running], name: str, host: str) -> None:
    assert (await ask(servers[name], f"host: {host}\r\n".encode())).status == 403


async def test_without_a_list_other_machines_may_use_any_name(servers: dict[str, Running]) -> None:
    for host in (b"evil.example.com", b"10.0.0.1:11435", b"[2001:db8::1]"):
        assert (await ask(servers["everywhere"], b"host: " + host + b"\r\n")).status == 200


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(
    "hosts",
    [
        b"",
        b"host:\r\n",
        b"host:  \r\n",
        b"host: localhost\r\nhost: localhost\r\n",
        b"host: localhost\r\nHost: evil.example.com\r\n",
        b"host: localhost, evil.example.com\r\n",
        b"host: localhost evil.example.com\r\n",
        b"host: http://localhost\r\n",
        b"host: evil.example.com@localhost\r\n",
        b"host: localhost/evil\r\n",
        b"host: localhost:80:evil.example.com\r\n",
        b"host: localhost:http\r\n",
        b"host: :11435\r\n",
        b"host: [::1\r\n",
        b"host: [::1]evil.example.com\r\n",
        b"host: \xe4.example.com\r\n",
    ],
)
async def test_a_host_is_one_name_and_a_port(servers: dict[str, Running], name: str, hosts: bytes) -> None:
    answer = await ask(servers[name], hosts)
    assert answer.status == 400
    assert b"Host" in answer.body


async def test_programs_of_http_1_0_need_not_name_one(servers: dict[str, Running]) -> None:
    for server in servers.values():
        assert (await ask(server, b"", version="1.0")).status == 200


@pytest.mark.parametrize("name", NAMED)
async def test_a_rebound_page_is_refused_though_its_origin_fits(servers: dict[str, Running], name: str) -> None:
    lines = b"host: rebound.evil.example\r\norigin: http://rebound.evil.example\r\n"
    assert (await ask(servers[name], lines)).status == 403


def scope(host: str, server: tuple[str, int | None] | None) -> dict[str, Any]:
    headers = [(b"host", host.encode())]
    scope: dict[str, Any] = {"headers": headers, "http_version": "1.1", "server": server}
    attach(scope, RequestContext("req_1", "1", 0, dict(headers)))
    return scope


@pytest.mark.parametrize(
    ("host", "server"),
    [
        ("10.0.0.5", ("10.0.0.5", 80)),
        ("10.0.0.5:11435", ("::ffff:10.0.0.5", 11435)),
        ("[2001:db8::1]", ("2001:0db8::1", 80)),
        ("[fe80::1%25eth0]:80", ("fe80::1%25eth0", 80)),
    ],
)
def test_the_address_that_a_request_came_in_at_is_served(host: str, server: tuple[str, int]) -> None:
    """Health probes and scrapers send it."""
    check_host(scope(host, server), frozenset({"chorus.lan"}))


@pytest.mark.parametrize("server", [("10.0.0.5", 80), ("evil.example.com", 80), ("/run/chorus.sock", None), None])
@pytest.mark.parametrize("host", ["10.0.0.6", "evil.example.com", "[::ffff:10.0.0.6]"])
def test_another_address_is_not(host: str, server: tuple[str, int | None] | None) -> None:
    with pytest.raises(ForbiddenHost):
        check_host(scope(host, server), frozenset({"chorus.lan"}))


def test_what_reaches_this_machine_only() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.1.2.3", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "chorus.lan", "")))
