"""How upstreams are reached: one pool per origin, proxies of the environment, names of instances
(L1).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.abc import SocketStream
from yarl import URL

from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Call, context_headers
from chorus.llm.registry import build
from chorus.llm.transport.clients import Clients, UpstreamEndpoint
from chorus.llm.transport.proxies import proxy_for
from chorus.types import ChatRequest, Message

pytestmark = pytest.mark.requirement("L1")
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@asynccontextmanager
async def proxy(seen: list[bytes]) -> AsyncIterator[str]:
    """A proxy that answers everything itself, and remembers what it was asked."""
    answer = b'{"choices": [{"message": {"content": "by proxy"}, "finish_reason": "stop"}]}'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"

    async def serve(stream: SocketStream) -> None:
        async with stream:
            seen.append(await stream.receive())
            await stream.send(head % len(answer) + answer)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        group.cancel_scope.cancel()


async def test_an_upstream_is_reached_through_the_proxy_of_the_environment(environment: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    async with proxy(seen) as address:
        environment.setenv("HTTP_PROXY", address)
        clients = Clients()
        address_of_model = ModelAddress("m", "openai", (ReplicaAddress("http://glm.test/v1", "sk-1"),), "m", attempts=1)
        upstream = build(address_of_model, clients).upstream
        request = ChatRequest("m", (Message("user", "How?"),))
        async with upstream.open(Call(request, context_headers("req-1"), stream=False)) as chunks:
            assert [chunk.text async for chunk in chunks] == ["by proxy"]
        await clients.aclose()
    assert seen[0].startswith(b"POST http://glm.test/v1/chat/completions HTTP/1.1\r\n")


@pytest.mark.parametrize("is_proxied", [True, False])
async def test_the_headers_of_a_call_go_out_beside_those_of_its_model(
    environment: pytest.MonkeyPatch, *, is_proxied: bool
) -> None:
    seen: list[bytes] = []
    async with proxy(seen) as address:
        if is_proxied:
            environment.setenv("HTTP_PROXY", address)
        base = "http://glm.test/v1" if is_proxied else address
        clients = Clients()
        of_model = ModelAddress("m", replicas=(ReplicaAddress(base, "sk-1"),), headers={"x-team": "blue"}, attempts=1)
        headers = {**context_headers("req-1"), "traceparent": "00-aa-bb-01"}
        request = ChatRequest("m", (Message("user", "How?"),))
        async with build(of_model, clients).upstream.open(Call(request, headers, stream=False)) as chunks:
            assert [chunk.text async for chunk in chunks] == ["by proxy"]
        await clients.aclose()
    lines = seen[0].lower().split(b"\r\n")
    for line in (b"x-request-id: req-1", b"traceparent: 00-aa-bb-01", b"x-team: blue", b"authorization: bearer sk-1"):
        assert lines.count(line) == 1


@pytest.mark.parametrize(
    ("url", "is_proxied"),
    [
        ("https://api.example.com/v1", True),
        ("http://10.0.0.5:8000/v1", True),
        ("http://inside.lan/v1", False),
        ("http://127.0.0.1:11434", False),
        ("http://localhost:11434", False),
        ("http://[::1]:11434", False),
    ],
)
def test_this_machine_and_what_no_proxy_names_are_reached_without(
    environment: pytest.MonkeyPatch, url: str, is_proxied: bool
) -> None:
    environment.setenv("HTTPS_PROXY", "http://proxy.lan:3128")
    environment.setenv("HTTP_PROXY", "http://proxy.lan:3128")
    environment.setenv("NO_PROXY", ".lan")
    assert proxy_for(URL(url)) == (URL("http://proxy.lan:3128") if is_proxied else None)


@pytest.mark.parametrize(
    ("base", "instance_id"),
    [
        ("http://10.0.0.5:8000/v1", "glm@10.0.0.5:8000"),
        ("https://api.example.com/v1", "glm@api.example.com"),
        ("https://user:secret@api.example.com:443/v1", "glm@api.example.com"),
        ("http://[::1]:8000/v1", "glm@[::1]:8000"),
    ],
)
def test_an_instance_is_named_by_its_address_without_secrets(base: str, instance_id: str) -> None:
    assert UpstreamEndpoint(Clients(), name="glm", base=base, api_key=None, headers=None).instance_id == instance_id
