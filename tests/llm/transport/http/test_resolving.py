"""Looking names up: once at a time for each host, and not for addresses (L3)."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from chorus.llm.transport.http import resolving
from chorus.llm.transport.http.resolving import Resolver

pytestmark = [
    pytest.mark.requirement("L3"),
    pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy"),
]
FOUND = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.5", 80))]


class Names:
    """A name server that answers when it is let, first with what `failures` holds."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked = 0
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()

    def getaddrinfo(self, host: str, port: int, **options: Any) -> Any:
        self.asked += 1
        self.is_asked.set()
        assert self.may_answer.wait(10)
        if self.failures:
            raise self.failures.pop(0)
        return FOUND


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(resolving.socket, "getaddrinfo", names.getaddrinfo)
    return names


async def test_many_who_wait_for_a_name_ask_once(names: Names) -> None:
    resolver = Resolver("glm.test", 80)
    waiting = [asyncio.ensure_future(resolver.addresses()) for _ in range(50)]
    await asyncio.to_thread(names.is_asked.wait, 10)
    waiting[0].cancel()
    names.may_answer.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [FOUND] * 49
    assert await resolver.addresses() == FOUND
    assert names.asked == 1


async def test_a_failure_is_not_kept(names: Names) -> None:
    names.failures = [socket.gaierror(socket.EAI_AGAIN, "try again")]
    names.may_answer.set()
    resolver = Resolver("glm.test", 80)
    with pytest.raises(socket.gaierror):
        await resolver.addresses()
    assert await resolver.addresses() == FOUND


async def test_addresses_are_looked_up_again_after_a_while(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolving, "KEPT_SECS", 0)
    names.may_answer.set()
    resolver = Resolver("glm.test", 80)
    for _ in range(2):
        assert await resolver.addresses() == FOUND
    assert names.asked == 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%lo"])
async def test_an_address_is_no_name(host: str) -> None:
    ((*_, address),) = await Resolver(host, 80).addresses()
    assert address[:2] == (host.partition("%")[0], 80)
