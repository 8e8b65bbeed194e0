"""The clocks of connections and the bound on what waits in all of them, on a clock of the test's
own (S3).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from chorus.server.http.connections import AbortReason, Bounds, Connections
from chorus.server.http.progress import Progress, bytes_acked
from chorus.telemetry.metrics import Metrics

pytestmark = [pytest.mark.requirement("S3")]

BOUNDS = Bounds(request_secs=60, idle_secs=75, write_secs=60, max_write_bytes=100)


class Loop:
    """An event loop that has only a clock; `pass_time` turns it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, Callable[..., object], tuple[object, ...]]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[..., object], *args: object) -> object:
        self._timers.append((self.now + delay, callback, args))
        return object()

    @property
    def is_quiet(self) -> bool:
        return not self._timers

    def pass_time(self, secs: float) -> None:
        end = self.now + secs
        while self._timers and (timer := min(self._timers, key=lambda timer: timer[0]))[0] <= end:
            self._timers.remove(timer)
            self.now, callback, args = timer
            callback(*args)
        self.now = end


class Transport:
    """A transport of which `waiting` bytes have not been taken."""

    def __init__(self, connection: socket.socket) -> None:
        self.waiting = 0
        self._socket = connection

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def get_extra_info(self, name: str) -> socket.socket:
        return self._socket


@dataclass(eq=False)
class Client:
    """One connection, and what became of it."""

    transport: Transport
    progress: Progress
    due: float = float("inf")
    aborted: AbortReason | None = None
    overdue_at: list[float] = field(default_factory=list)
    loop: Any = None
    is_broken: bool = False

    def overdue(self) -> None:
        self.due = float("inf")
        self.overdue_at.append(self.loop.time())
        if self.is_broken:
            raise RuntimeError("this connection is broken")

    def check_held_back(self) -> None:
        """Nothing is held back here."""

    def abort(self, reason: AbortReason) -> None:
        self.aborted = reason


@pytest.fixture
def loop() -> Any:
    return Loop()


@pytest.fixture
def connections() -> Connections:
    return Connections(BOUNDS, Metrics(list, list))


@pytest.fixture
def connect(connections: Connections, loop: Any) -> Iterator[Callable[..., Client]]:
    with socket.socket() as unconnected:

        def made(waiting: int = 0, **more: Any) -> Client:
            transport: Any = Transport(unconnected)
            transport.waiting = waiting
            client = Client(transport, Progress(transport), loop=loop, **more)
            connections.add(client, loop)
            return client

        yield made


def test_a_clock_runs_out_once_and_at_most_a_second_late(connect: Callable[..., Client], loop: Any) -> None:
    client, other = connect(due=1060.0), connect(due=1075.0)
    loop.pass_time(59.9)
    assert client.overdue_at == []
    loop.pass_time(60)
    assert len(client.overdue_at) == len(other.overdue_at) == 1
    assert 1060 <= client.overdue_at[0] <= 1061
    assert 1075 <= other.overdue_at[0] <= 1076


def test_one_broken_connection_stops_no_clock(connect: Callable[..., Client], loop: Any) -> None:
    connect(due=1010.0, is_broken=True)
    client, stalled = connect(due=1020.0), connect(waiting=9)
    loop.pass_time(120)
    assert client.overdue_at
    assert stalled.aborted == "write_timeout"


def test_nothing_runs_while_nobody_is_connected(
    connect: Callable[..., Client], connections: Connections, loop: Any
) -> None:
    client = connect()
    loop.pass_time(5)
    connections.discard(client)
    loop.pass_time(5)
    assert loop.is_quiet
    late = connect(due=1020.0)
    loop.pass_time(20)
    assert late.overdue_at


def test_who_takes_nothing_is_aborted(connect: Callable[..., Client], loop: Any) -> None:
    client = connect(waiting=9)
    loop.pass_time(60)
    assert client.aborted is None
    loop.pass_time(2)
    assert client.aborted == "write_timeout"


def test_who_takes_a_byte_now_and_then_is_not(connect: Callable[..., Client], loop: Any) -> None:
    client = connect(waiting=99)
    for _ in range(9):
        loop.pass_time(50)
        client.transport.waiting -= 1
    assert client.aborted is None


def test_who_has_taken_all_has_all_the_time(connect: Callable[..., Client], loop: Any) -> None:
    client = connect(waiting=9)
    loop.pass_time(50)
    client.transport.waiting = 0
    loop.pass_time(500)
    client.transport.waiting = 9
    loop.pass_time(50)
    assert client.aborted is None


def test_where_too_much_waits_the_largest_that_takes_nothing_goes(connect: Callable[..., Client], loop: Any) -> None:
    small, large, reading = connect(waiting=10), connect(waiting=30), connect(waiting=60)
    loop.pass_time(5)
    reading.transport.waiting = 59
    loop.pass_time(0.5)
    late = connect(waiting=25)
    loop.pass_time(0.5)
    assert (small.aborted, large.aborted, reading.aborted, late.aborted) == (None, "write_buffers", None, None)


def test_where_all_read_the_largest_goes(connect: Callable[..., Client], loop: Any) -> None:
    first, second, third = connect(waiting=50), connect(waiting=60), connect(waiting=40)
    loop.pass_time(1)
    assert (first.aborted, second.aborted, third.aborted) == (None, "write_buffers", None)


def test_a_buffer_that_fills_up_is_counted_at_once(
    connect: Callable[..., Client], connections: Connections, loop: Any
) -> None:
    stalled = connect(waiting=90)
    loop.pass_time(5)
    client = connect(waiting=20)
    connections.buffer_changed(client, loop)
    assert (stalled.aborted, client.aborted) == ("write_buffers", None)


def test_one_that_fills_up_again_and_again_is_counted_once(
    connect: Callable[..., Client], connections: Connections, loop: Any
) -> None:
    stalled, client = connect(waiting=60), connect(waiting=30)
    loop.pass_time(1)
    for waiting in (30, 5, 30, 5, 30):
        client.transport.waiting = waiting
        connections.buffer_changed(client, loop)
    assert (stalled.aborted, client.aborted) == (None, None)


def test_what_has_gone_is_not_counted(connect: Callable[..., Client], connections: Connections, loop: Any) -> None:
    gone, client = connect(waiting=90), connect()
    loop.pass_time(1)
    connections.discard(gone)
    connections.discard(gone)
    client.transport.waiting = 95
    connections.buffer_changed(client, loop)
    assert client.aborted is None
    client.transport.waiting = 101
    connections.buffer_changed(client, loop)
    assert client.aborted == "write_buffers"


def test_what_a_closed_connection_has_acknowledged_is_unknown() -> None:
    connection = socket.socket()
    connection.close()
    assert bytes_acked(connection) is None
    here, there = socket.socketpair()  # not TCP
    with here, there:
        assert bytes_acked(here) is None


def test_what_was_acknowledged_is_counted() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as client,
    ):
        server, _ = listening.accept()
        with server:
            before = bytes_acked(server)
            if before is None:
                pytest.skip("this system does not tell")
            server.sendall(b"a" * 1000)
            assert client.recv(1000)
            after = bytes_acked(server)
            assert after is not None
            assert after - before == 1000
