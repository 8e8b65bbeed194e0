"""Every state of a connection, what its client does there, and how and when it ends: nothing holds
a connection, or a slot, for ever (S3, K2, W13).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import anyio
import httpx
import pytest

from chorus.server.http.connections import Bounds
from tests.kit import Gate, Hang, Say, ScriptedUpstream
from tests.kit.peer import Answer, Peer
from tests.server.running import Running, running

pytestmark = [pytest.mark.requirement("S3")]

REQUEST, IDLE, WRITE = 2.0, 2.5, 0.5
BOUNDS = Bounds(request_secs=REQUEST, idle_secs=IDLE, write_secs=WRITE, max_write_bytes=64_000_000)
LATE = 5.0
"""Seconds that a busy machine may need beyond a clock."""
LARGE = ["word " * 2000] * 700
"""Pieces of an answer of 7 MB: more than the kernel keeps for a client that does not read."""

CONFIG = """
[[model]]
name = "glm"
api_base = "{base}"
retries = 0
"""
ONE_SLOT = "[server]\nmax_concurrency = 1\n"


def post(*, stream: bool = True, version: str = "1.1", headers: str = "") -> bytes:
    """A whole request."""
    body = json.dumps({"model": "glm", "stream": stream, "messages": [{"role": "user", "content": "How?"}]})
    head = f"POST /v1/chat/completions HTTP/{version}\r\nhost: localhost\r\ncontent-length: {len(body)}\r\n{headers}"
    return f"{head}\r\n{body}".encode()


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
GET = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
CLOSING = {"connection": "close"}
CHUNKED = HEAD + b"transfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class State:
    """What a client sends at once, and again and again (`drips`) until it is closed.

    The statuses that it gets, and the clock that ends it.
    """

    sends: bytes
    gets: tuple[int, ...] = ()
    clock: Literal["request", "idle"] = "request"
    drips: bytes = b""


# fmt: off
STATES = {
    # name                     the client sends                         it gets     the clock   and goes on with
    "silent":            State(b""),
    "line ends":         State(b"\r\n\r\n",                             drips=b"\r\n"),
    "half a line":       State(b"GET /hea",                             (408,)),
    "half a header":     State(HEAD + b"x-half: ",                      (408,)),
    "dripping header":   State(HEAD + b"x-slow: ",                      (408,),     drips=b"a"),
    "dripping headers":  State(HEAD,                                    (408,),     drips=b"a: b\r\n"),
    "no body":           State(HEAD + b"content-length: 9\r\n\r\n",     (408,)),
    "half a body":       State(HEAD + b"content-length: 9\r\n\r\n{",    (408,)),
    "dripping body":     State(HEAD + b"content-length: 9999\r\n\r\n",  (408,),     drips=b"{"),
    "half a chunk":      State(CHUNKED + b"9\r\n{",                     (408,)),
    "dripping chunks":   State(CHUNKED,                                 (408,),     drips=b"1\r\n{\r\n"),
    "dripping extension": State(CHUNKED + b"9;a=",                      (408,),     drips=b"a"),
    "no end of trailers": State(CHUNKED + b"2\r\n{}\r\n0\r\nx: y\r\n",  (408,)),
    "awaits 100":        State(HEAD + b"expect: 100-continue\r\ncontent-length: 9\r\n\r\n", (100, 408)),
    "answered early":    State(HEAD.replace(b"/v1/", b"/nowhere/") + b"content-length: 9\r\n\r\n", (404,)),
    "idle":              State(GET,                                     (200,),     "idle"),
    "idle, line ends":   State(GET,                                     (200,),     "idle", drips=b"\r\n"),
    "idle after early":  State(HEAD.replace(b"/v1/", b"/nowhere/") + b"content-length: 2\r\n\r\n{}", (404,), "idle"),
    "half a second":     State(GET + b"GET /hea",                       (200, 408)),
    "half a third":      State(GET + GET + b"GET /hea",                 (200, 200, 408)),
    "half a second body": State(GET + HEAD + b"content-length: 9\r\n\r\n{", (200, 408)),
}
# fmt: on


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as scripted:
        yield scripted


@pytest.fixture
def scripted(upstream: ScriptedUpstream) -> ScriptedUpstream:
    upstream.forget()
    return upstream.on("glm", Say("one two three"))


@pytest.fixture(scope="module")
def served(upstream: ScriptedUpstream) -> Iterator[Running]:
    with running(CONFIG.format(base=upstream.api_base), bounds=BOUNDS) as server:
        yield server


@pytest.fixture(scope="module")
def ends(served: Running, upstream: ScriptedUpstream) -> dict[str, tuple[list[Answer], float]]:
    """What came of each state, and after how many seconds.

    All of them side by side, since each takes its clock's time.
    """
    found: dict[str, tuple[list[Answer], float]] = {}

    async def take(name: str, state: State) -> None:
        async with Peer(served.base) as peer:
            if state.sends:
                await peer.send(state.sends)
            answers = await peer.until_closed(dripping=state.drips)
            assert peer.closed_at is not None
            found[name] = answers, peer.closed_at - peer.opened_at

    async def take_all() -> None:
        async with anyio.create_task_group() as group:
            for name, state in STATES.items():
                group.start_soon(take, name, state)

    upstream.forget()
    anyio.run(take_all)
    assert upstream.requests == []  # nothing incomplete went on
    return found


@pytest.mark.parametrize("name", STATES)
def test_each_state_ends_by_its_clock(ends: dict[str, tuple[list[Answer], float]], name: str) -> None:
    state, (answers, secs) = STATES[name], ends[name]
    assert tuple(answer.status for answer in answers) == state.gets
    assert all(answer.is_whole for answer in answers)
    clock = REQUEST if state.clock == "request" else IDLE
    assert 0.9 * clock <= secs <= clock + LATE


async def test_a_connection_that_is_used_outlives_its_clocks(served: Running, scripted: ScriptedUpstream) -> None:
    async with Peer(served.base) as peer:
        for number in range(1, 6):
            await peer.send(GET)
            await peer.answer(number)
            await anyio.sleep(IDLE / 4)  # a client that takes its time
        assert time.monotonic() - peer.opened_at > IDLE
        assert peer.closed_at is None


async def test_a_body_that_keeps_coming_is_waited_for(scripted: ScriptedUpstream) -> None:
    bounds = Bounds(request_secs=0.3, body_rate=100)
    padding = b" " * 200
    whole = post(stream=False)
    head, body = whole.split(b"\r\n\r\n")
    head = head.replace(b"content-length: %d" % len(body), b"content-length: %d" % (len(body) + 20 * len(padding)))
    with running(CONFIG.format(base=scripted.api_base), bounds=bounds) as served:
        async with Peer(served.base) as peer:
            await peer.send(head + b"\r\n\r\n")
            for _ in range(20):
                await peer.send(padding)
                await anyio.sleep(0.03)
            await peer.send(body)
            assert (await peer.answer()).status == 200
            assert time.monotonic() - peer.opened_at > 0.6


async def clocks_have_run(served: Running) -> None:
    """Return when whatever had a clock before has come to its end."""
    async with Peer(served.base) as other:
        await other.send(GET)
        await other.until_closed()  # the idle clock is the longest


# fmt: off
BEHIND = {
    # name            what comes behind a request that is being answered          what it gets
    "half a header":  (HEAD + b"x-half: ",                                         [408]),
    "half a body":    (HEAD + b"content-length: 9\r\n\r\n{",                       [408]),
    "no HTTP":        (b"this is no HTTP\r\n\r\n",                                 [400]),
    "a bad chunk":    (CHUNKED + b"no number\r\n",                                 [400]),
    "large headers":  (HEAD + (b"x-long: " + b"a" * 9000 + b"\r\n") * 9,           [431]),
    "an endless line": (HEAD + b"x-long: " + b"a" * 200_000,                       [431]),
    "a whole one":    (GET,                                                        [200]),
    "many":           (GET * 50,                                                   [200] * 50),
    "one, then half": (GET + b"GET /hea",                                          [200, 408]),
}
# fmt: on


@pytest.fixture(scope="module")
def behind(served: Running, upstream: ScriptedUpstream) -> dict[tuple[str, bool], list[Answer]]:
    """The answers of each case, in one packet with the first request and behind it.

    All of them side by side.
    """
    found: dict[tuple[str, bool], list[Answer]] = {}
    gate = Gate()
    upstream.forget()
    upstream.on("glm", Say("one two three", gate=gate, gate_at=1))

    async def take(name: str, at_once: bool) -> None:
        data = BEHIND[name][0]
        async with Peer(served.base) as peer, anyio.create_task_group() as group:
            if at_once:
                group.start_soon(peer.send, post() + data)
            else:
                await peer.send(post())
                await peer.begins()
                group.start_soon(peer.send, data)
            found[name, at_once] = await peer.until_closed()

    async def take_all() -> None:
        async with anyio.create_task_group() as group:
            for name in BEHIND:
                group.start_soon(take, name, True)
                group.start_soon(take, name, False)
            await upstream.wait_requests(2 * len(BEHIND))
            await clocks_have_run(served)
            gate.open()

    anyio.run(take_all)
    return found


@pytest.mark.parametrize("at_once", [True, False], ids=["in one packet", "later"])
@pytest.mark.parametrize("name", BEHIND)
def test_what_comes_behind_an_answer_never_gets_into_it(
    behind: dict[tuple[str, bool], list[Answer]], name: str, at_once: bool
) -> None:
    answers = behind[name, at_once]
    assert [answer.status for answer in answers] == [200, *BEHIND[name][1]]
    assert all(answer.is_whole for answer in answers)
    assert answers[0].body.endswith(b"data: [DONE]\n\n")
    for answer in answers[1:]:
        if answer.status != 200:
            assert json.loads(answer.body)["error"]["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("behind", [b"", GET, GET + b"GET /half", b"no HTTP\r\n\r\n"])
@pytest.mark.requirement("W13")
async def test_a_client_that_leaves_with_requests_behind_is_noticed_at_once(
    served: Running, scripted: ScriptedUpstream, behind: bytes
) -> None:
    scripted.on("glm", Hang("body"))
    async with Peer(served.base) as peer:
        await peer.send(post() + behind)
        await scripted.wait_requests(1)
        await peer.begins()
        await peer.send(behind or b"\r\n")
    left_at = time.monotonic()
    await scripted.wait_idle()
    (request,) = scripted.calls("glm")
    assert request.closed_by_peer_at is not None
    assert request.closed_by_peer_at - left_at < 1.0


async def test_requests_without_end_behind_an_answer_are_not_read(served: Running, scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("glm", Say("one two three", gate=gate, gate_at=1))
    async with Peer(served.base) as peer, anyio.create_task_group() as group:
        await peer.send(post())
        await peer.begins()
        group.start_soon(peer.send, GET * 1_000_000)
        await served.until(lambda: any(connection.flow.read_paused for connection in list(served.connections)))
        group.cancel_scope.cancel()
    gate.open()
    await served.until(lambda: not served.connections)


# --- writing


@pytest.fixture(scope="module")
def one_slot(upstream: ScriptedUpstream) -> Iterator[Running]:
    with running(ONE_SLOT + CONFIG.format(base=upstream.api_base), bounds=BOUNDS) as server:
        yield server


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("headers", ["", "connection: close\r\n"], ids=["kept", "closing"])
@pytest.mark.requirement("K2")
@pytest.mark.requirement("W13")
async def test_a_client_that_takes_nothing_is_cut_and_frees_its_slot(
    one_slot: Running, scripted: ScriptedUpstream, stream: bool, headers: str
) -> None:
    scripted.on("glm", Say(pieces=LARGE, burst=True), Say("one"))
    async with (
        Peer(one_slot.base, receive_buffer=4096) as peer,
        httpx.AsyncClient(base_url=one_slot.base, timeout=20, verify=False, headers=CLOSING) as other,
    ):
        await peer.send(post(stream=stream, headers=headers))
        await scripted.wait_requests(1)
        body = {"model": "glm", "messages": [{"role": "user", "content": "How?"}]}
        response = await other.post("/v1/chat/completions", json=body)  # waits for the only slot
        assert response.status_code == 200
        await one_slot.until(lambda: not one_slot.connections)
        answers = await peer.until_closed()
        assert len(answers) == 1
        assert not answers[0].is_whole
        metrics = (await other.get("/metrics")).text
    assert 'connections_aborted_total{reason="write_timeout"}' in metrics
    await scripted.wait_idle()


async def test_a_client_that_reads_slowly_gets_all_of_it(served: Running, scripted: ScriptedUpstream) -> None:
    """Slower than the kernel's buffers empty: a megabyte of them has to be free before this process
    can write on.
    """
    scripted.on("glm", Say(pieces=LARGE, burst=True))
    async with Peer(served.base) as peer:
        await peer.send(post(headers="connection: close\r\n"))
        began = time.monotonic()
        while await peer.read(size=20_000):  # noqa: ASYNC110 - its pace
            await anyio.sleep(WRITE / 50)
        assert time.monotonic() - began > 2 * WRITE
        answer = await peer.answer()
    assert answer.is_whole
    assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_a_client_that_pauses_for_less_than_the_clock_gets_all_of_it(
    served: Running, scripted: ScriptedUpstream
) -> None:
    scripted.on("glm", Say(pieces=LARGE, burst=True))
    async with Peer(served.base, receive_buffer=4096) as peer:
        await peer.send(post(stream=False, headers="connection: close\r\n"))
        await scripted.wait_requests(1)
        for _ in range(3):
            await anyio.sleep(WRITE / 2)
            for _ in range(20):
                await peer.read(size=100_000)
        (answer,) = await peer.until_closed()
    assert answer.is_whole


async def test_a_client_that_waits_for_the_server_is_not_cut(served: Running, scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("glm", Say("one two three", gate=gate, gate_at=1))
    async with Peer(served.base) as peer:
        await peer.send(post())
        await scripted.wait_requests(1)
        await clocks_have_run(served)
        await clocks_have_run(served)
        gate.open()
        answer = await peer.answer()
    assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_the_buffers_of_all_have_one_bound(scripted: ScriptedUpstream) -> None:
    """Those who take nothing lose their connections, those who read do not."""
    bounds = Bounds(request_secs=8, idle_secs=8, write_secs=8, max_write_bytes=4_000_000)
    scripted.on("glm", Say(pieces=LARGE, burst=True))
    with running(CONFIG.format(base=scripted.api_base), bounds=bounds) as served:
        async with (
            Peer(served.base, receive_buffer=4096) as first,
            Peer(served.base, receive_buffer=4096) as second,
            Peer(served.base, receive_buffer=4096) as third,
            Peer(served.base) as reader,
            httpx.AsyncClient(base_url=served.base, timeout=20, verify=False, headers=CLOSING) as other,
        ):
            for stalled in (first, second, third):
                await stalled.send(post(stream=False))
            await reader.send(post(stream=False))
            answer = await reader.answer()
            assert len(answer.body) > sum(map(len, LARGE))
            # at least one went: two of them hold no more than may wait
            await served.until(lambda: len(served.connections) <= 4)
            metrics = (await other.get("/metrics")).text
    assert 'connections_aborted_total{reason="write_buffers"}' in metrics
    assert "write_timeout" not in metrics
