"""Answers that come in pieces: at once, to slow readers, without being held, and what happens where
they break off (A5, S3)."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator

import anyio
import httpx
import pytest

from tests.kit import Cut, Gate, Hang, Raw, Say, ScriptedUpstream, ServerProcess
from tests.kit.fixtures import connected
from tests.kit.providers.relayed import AUDIO, relayed
from tests.server.relay.raw import RawUpstream, forget_peak, head, peak_bytes, raw_client, resident_bytes
from tests.server.running import running

pytestmark = [pytest.mark.requirement("A5"), pytest.mark.requirement("S3")]
MEGABYTE = 1_000_000
CONFIG = """
[[model]]
name = "m"
model = "upstream-name"
api_base = "{base}/v1"
retries = 0
timeouts = {{ idle_timeout_secs = {idle} }}
"""
SPEECH = json.dumps({"model": "m", "input": "x", "voice": "y"}).encode()
EVENT = b'event: a.delta\ndata: {"type": "a.delta"}\n\n'


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as started:
        relayed(started)
        yield started


async def test_pieces_go_out_as_they_come() -> None:
    with RawUpstream() as upstream, running(CONFIG.format(base=upstream.base, idle=20)) as served:
        async with raw_client(served.base) as client:
            await client.send(head("/v1/audio/speech", "application/json", len(SPEECH)) + SPEECH)
            other = await upstream.accept()
            await other.until(b'"y"}')
            await other.send(b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n")
            for piece in (b"first", b"second", b"third"):
                await other.send(b"%x\r\n%b\r\n" % (len(piece), piece))
                await client.until(piece)
            await other.send(b"0\r\n\r\n")
            await client.until(b"0\r\n\r\n")


@pytest.mark.parametrize("has_length", [True, False])
async def test_an_answer_that_is_cut_is_cut_for_the_client(upstream: ScriptedUpstream, has_length: bool) -> None:
    length = {"content-length": "9999"} if has_length else {}
    head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\n"
    body = b"content-length: 9999\r\n\r\nsome" if has_length else b"transfer-encoding: chunked\r\n\r\n4\r\nsome\r\n"
    upstream.on("/v1/audio/speech", Raw([head + body], head=False))
    with running(CONFIG.format(base=upstream.base, idle=20)) as served:
        async with connected(served.base) as client:
            async with client.stream("POST", "/v1/audio/speech", content=SPEECH) as response:
                assert response.status_code == 200
                assert response.headers.get("content-length") == length.get("content-length")
                with pytest.raises(httpx.RemoteProtocolError):
                    await response.aread()
            page = (await client.get("/metrics")).text
            trace = (await client.get(f"/api/v1/workflows/{response.headers['x-chorus-workflow-id']}")).json()
    assert 'http_request_errors_total{code="upstream_protocol"} 1.0' in page
    assert trace["status"] == "failed"
    assert trace["workers"][0]["relayed"]["bytes_out"] == 4
    relayed(upstream)


async def test_a_stream_of_events_that_breaks_off_ends_with_an_error(upstream: ScriptedUpstream) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    upstream.on("/v1/audio/speech", Raw([head + b"%x\r\n%b\r\n" % (len(EVENT), EVENT)], head=False))
    with running(CONFIG.format(base=upstream.base, idle=20)) as served:
        async with connected(served.base) as client:
            response = await client.post("/v1/audio/speech", content=SPEECH)
    assert response.content.startswith(EVENT)
    error = json.loads(response.content.removeprefix(EVENT).removeprefix(b"data: "))["error"]
    assert error["code"] == "upstream_protocol"
    assert response.headers["cache-control"] == "no-cache"
    relayed(upstream)


async def test_one_that_breaks_off_within_an_event_is_cut(upstream: ScriptedUpstream) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    upstream.on("/v1/audio/speech", Raw([head + b'a\r\ndata: {"a"\r\n'], head=False))
    with running(CONFIG.format(base=upstream.base, idle=20)) as served:
        async with connected(served.base) as client:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post("/v1/audio/speech", content=SPEECH)
    relayed(upstream)


async def test_an_upstream_that_falls_silent() -> None:
    with RawUpstream() as upstream, running(CONFIG.format(base=upstream.base, idle=0.3)) as served:
        async with raw_client(served.base) as client:
            await client.send(head("/v1/audio/speech", "application/json", len(SPEECH)) + SPEECH)
            other = await upstream.accept()
            await other.until(b'"y"}')
            await other.send(
                b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n4\r\nsome\r\n"
            )
            assert b"0\r\n\r\n" not in await client.until_closed()
            assert await other.until_closed() == b""
        async with connected(served.base) as http:
            (trace,) = (await http.get("/api/v1/workflows")).json()["workflows"]
    assert trace["errors"][0]["message"] == "Model 'm' did not go on with its answer within 0.3 s"


async def test_a_slow_reader_is_not_the_upstreams_silence() -> None:
    """The client takes nothing for longer than the upstream may be silent."""
    size = 20 * MEGABYTE
    with RawUpstream() as upstream, running(CONFIG.format(base=upstream.base, idle=0.3)) as served:
        async with raw_client(served.base, receive_buffer=4096) as client:
            await client.send(head("/v1/audio/speech", "application/json", len(SPEECH)) + SPEECH)
            other = await upstream.accept()
            await other.until(b'"y"}')
            answer = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: %d\r\n\r\n" % size
            async with anyio.create_task_group() as group:
                group.start_soon(other.send, answer + b"x" * size)
                await client.until(b"\r\n\r\n")
                await asyncio.sleep(1)  # longer than the limit, which is what is tested
                while len(client.received) < size:
                    assert await client.receive()


async def test_a_client_that_leaves_in_mid_answer(upstream: ScriptedUpstream) -> None:
    upstream.on("/v1/audio/speech", Say("one two three", gate=Gate(), gate_at=1))
    body = json.dumps({"model": "m", "input": "x", "voice": "y", "stream": True}).encode()
    with running(CONFIG.format(base=upstream.base, idle=20)) as served:
        async with connected(served.base) as client:
            async with client.stream("POST", "/v1/audio/speech", content=body) as response:
                await anext(response.aiter_bytes())
            await upstream.wait_idle()
            assert upstream.requests[-1].was_cancelled
            with anyio.fail_after(5):
                while served.chorus.live_runs.live_counts():
                    await anyio.lowlevel.checkpoint()
    relayed(upstream)


async def test_an_answer_without_an_end_is_bounded(upstream: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chorus.relaying.MAX_ANSWER", 5000)
    with running(CONFIG.format(base=upstream.base, idle=20)) as served:
        async with connected(served.base) as client:
            assert len(AUDIO) > 5000
            with pytest.raises(httpx.RemoteProtocolError):
                await client.post("/v1/audio/speech", content=SPEECH)
            page = (await client.get("/metrics")).text
    assert 'llm_errors_total{code="answer_too_long",model="m"} 1.0' in page


async def test_the_upstreams_end_of_a_connection_is_kept(upstream: ScriptedUpstream) -> None:
    before = upstream.connections_opened
    with running(CONFIG.format(base=upstream.base, idle=20)) as served:
        async with connected(served.base) as client:
            for _ in range(3):
                assert (await client.post("/v1/audio/speech", content=SPEECH)).content == AUDIO
    assert upstream.connections_opened == before + 1


async def test_a_compressed_answer_is_read(upstream: ScriptedUpstream) -> None:
    import gzip

    packed = gzip.compress(b'{"usage": {"total_tokens": 3}}')
    headers = {"content-encoding": "gzip", "content-length": str(len(packed))}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + head + b"\r\n" + packed
    upstream.on("/v1/audio/speech", Raw([answer], head=False))
    with running(CONFIG.format(base=upstream.base, idle=20)) as served:
        async with connected(served.base) as client:
            response = await client.post("/v1/audio/speech", content=SPEECH)
    assert response.json() == {"usage": {"total_tokens": 3}}
    assert "content-encoding" not in response.headers
    relayed(upstream)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_25_mb_of_an_answer_take_little_memory(upstream: ScriptedUpstream) -> None:
    pieces = [b"x" * 65_536] * 400
    upstream.on("/v1/audio/speech", Raw(pieces, content_type="audio/mpeg", close=False))
    with ServerProcess(CONFIG.format(base=upstream.base, idle=20), env={"CHORUS_LOG": "error"}) as server:
        async with connected(server.base) as client:
            upstream.on("/v1/audio/speech", Raw(pieces[:10], content_type="audio/mpeg", close=False))
            for _ in range(3):
                assert (await client.post("/v1/audio/speech", content=SPEECH)).status_code == 200
            upstream.on("/v1/audio/speech", Raw(pieces, content_type="audio/mpeg", close=False))
            forget_peak(server.pid)
            before = resident_bytes(server.pid)
            for _ in range(2):
                assert len((await client.post("/v1/audio/speech", content=SPEECH)).content) == 400 * 65_536
            async with client.stream("POST", "/v1/audio/speech", content=SPEECH) as response:
                async for _ in response.aiter_raw():
                    await asyncio.sleep(0.001)  # a reader who is slower than the upstream
            grown = peak_bytes(server.pid) - before
    assert grown < 8 * MEGABYTE, f"{grown / MEGABYTE:.1f} MB"
    relayed(upstream)


@pytest.mark.parametrize(
    "step", [Cut(None), Cut(0), Raw([b"\x00\xff" * 50], head=False), Raw([b"HTTP/1.1 200 OK\r\n"], head=False)]
)
async def test_what_is_no_answer_is_an_error_of_ours(upstream: ScriptedUpstream, step: Cut | Raw) -> None:
    upstream.on("/v1/audio/speech", step)
    with running(CONFIG.format(base=upstream.base, idle=20)) as served:
        async with connected(served.base) as client:
            try:
                response = await client.post("/v1/audio/speech", content=SPEECH)
            except httpx.RemoteProtocolError:
                assert step == Cut(0)
            else:
                assert response.status_code == 502
                assert response.json()["error"]["code"] in ("upstream_protocol", "upstream_connect")
    relayed(upstream)


@pytest.mark.requirement("A8")
async def test_a_server_that_stops_says_so(upstream: ScriptedUpstream) -> None:
    upstream.forget()
    upstream.on("/v1/audio/speech", Hang("connect"))
    text = "[server]\ndrain_timeout_secs = 1\n" + CONFIG.format(base=upstream.base, idle=20)
    with ServerProcess(text, env={"CHORUS_LOG": "error"}) as server:
        async with connected(server.base) as client, anyio.create_task_group() as group:

            async def ask() -> None:
                response = await client.post("/v1/audio/speech", content=SPEECH)
                assert (response.status_code, response.json()["error"]["code"]) == (503, "server_stopping")

            group.start_soon(ask)
            await upstream.wait_requests(1)
            server.terminate()
        assert server.wait() == 0
    await upstream.wait_idle()
    assert upstream.requests[-1].was_cancelled
    relayed(upstream)
