"""Forms of many bytes: streamed, written to a temporary file, cut off, and refused (A4, S3)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpx
import pytest

from chorus.server.http.spool import SpoolRoom
from tests.kit import ScriptedUpstream, ServerProcess
from tests.kit.fixtures import connected
from tests.kit.providers.relayed import MODEL, Received, form, relayed
from tests.server.relay.raw import RawUpstream, forget_peak, head, peak_bytes, raw_client, resident_bytes
from tests.server.running import running

pytestmark = [pytest.mark.requirement("A4"), pytest.mark.requirement("S3")]
PATH = "/v1/audio/transcriptions"
MEGABYTE = 1_000_000
FORM_TYPE = "multipart/form-data; boundary=b0undary"
CONFIG = """
[[model]]
name = "m"
model = "upstream-name"
api_base = "{base}/v1"
retries = 0
"""


def two_orders(file: bytes) -> list[tuple[bytes, dict[str, str]]]:
    return [form(("model", "m", None), ("file", file, "a")), form(("file", file, "a"), ("model", "m", None))]


@pytest.mark.parametrize("is_first", [True, False], ids=["model first", "file first"])
@pytest.mark.parametrize("is_chunked", [True, False], ids=["chunked", "with its length"])
@pytest.mark.parametrize("size", [0, 100_000, 300_000, 2_900_000])
async def test_a_form_of_any_size_arrives(
    client: httpx.AsyncClient,
    scripted: ScriptedUpstream,
    taken: list[Received],
    size: int,
    is_first: bool,
    is_chunked: bool,
) -> None:
    file = os.urandom(size)
    body, headers = two_orders(file)[not is_first]

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 70_001):
            yield body[start : start + 70_001]

    response = await client.post(PATH, content=pieces() if is_chunked else body, headers=headers)
    assert response.json()["text"] == "two words"
    assert taken[0].files["file"] == file
    assert taken[0].fields == {"model": MODEL}
    if size != 300_000 or not is_chunked:  # else its pieces decide
        has_length = "content-length" in scripted.requests[-1].headers
        assert has_length is (not is_chunked or not is_first or size < 200_000)


async def test_a_form_begins_to_arrive_before_it_has_ended() -> None:
    body, _ = form(("model", "m", None), ("file", b"x" * MEGABYTE, "a"))
    with RawUpstream() as upstream, running(CONFIG.format(base=upstream.base)) as served:
        async with raw_client(served.base) as client:
            await client.send(head(PATH, FORM_TYPE, len(body)) + body[:300_000])
            other = await upstream.accept()
            begun = await other.until(b"\r\n\r\nupstream-name\r\n")
            assert f"content-length: {len(body) + len(MODEL) - 1}" in begun.decode().lower()
            assert b"form-data; boundary=b0undary" in begun
            await client.send(body[300_000:])
            await other.until(b"--b0undary--\r\n")
            await other.send(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            assert b" 200 OK" in await client.until(b"{}")


@pytest.mark.parametrize("is_first", [True, False], ids=["streamed", "spooled"])
async def test_a_client_that_leaves_in_mid_upload(is_first: bool) -> None:
    body, _ = two_orders(b"x" * MEGABYTE)[not is_first]
    with RawUpstream() as upstream, running(CONFIG.format(base=upstream.base)) as served:
        async with raw_client(served.base) as client:
            await client.send(head(PATH, FORM_TYPE, len(body)) + body[:500_000])
            if is_first:
                other = await upstream.accept()
                await other.until(b"upstream-name")
            client.close()
        if is_first:
            # the upstream sees that the end is missing
            assert b"--b0undary--" not in await other.until_closed()
        await _until(lambda: not served.chorus.live_runs.live_counts())
        async with connected(served.base) as http:
            traces = (await http.get("/api/v1/workflows")).json()
    assert [trace["status"] for trace in traces["workflows"]] == (["cancelled"] if is_first else [])


async def test_a_client_that_leaves_while_the_upstream_takes_nothing() -> None:
    """The event loop does not read from this client then, and gets no event when it leaves."""
    body, _ = form(("model", "m", None), ("file", b"x" * (40 * MEGABYTE), "a"))
    with RawUpstream(receive_buffer=4096) as upstream, running(CONFIG.format(base=upstream.base)) as served:
        async with raw_client(served.base) as client:
            sending = asyncio.create_task(client.send(head(PATH, FORM_TYPE, len(body)) + body))
            await upstream.accept()
            await _until(lambda: any(connection.flow.read_paused for connection in served.connections))
            sending.cancel()
            client.reset()  # the end of a stream would stand behind all that it has not sent
        await _until(lambda: not served.chorus.live_runs.live_counts())


@pytest.mark.parametrize("is_early", [True, False], ids=["before the form has ended", "after it"])
async def test_an_upstream_that_refuses(is_early: bool) -> None:
    body, _ = form(("model", "m", None), ("file", b"x" * (3 * MEGABYTE), "a"))
    with RawUpstream() as upstream, running(CONFIG.format(base=upstream.base)) as served:
        async with raw_client(served.base) as client:
            sending = asyncio.create_task(client.send(head(PATH, FORM_TYPE, len(body)) + body))
            other = await upstream.accept()
            await other.until(b"upstream-name" if is_early else b"--b0undary--\r\n")
            refusal = b'{"error": {"message": "audio of this length is not taken"}}'
            await other.send(b"HTTP/1.1 413 No\r\ncontent-length: %d\r\n\r\n%b" % (len(refusal), refusal))
            answer = await client.until(b"}}")
            await sending
    assert b" 400 Bad Request" in answer
    assert b"audio of this length is not taken" in answer


async def test_an_upstream_that_ends_in_mid_upload() -> None:
    body, _ = form(("model", "m", None), ("file", b"x" * (3 * MEGABYTE), "a"))
    with RawUpstream() as upstream, running(CONFIG.format(base=upstream.base)) as served:
        async with raw_client(served.base) as client:
            sending = asyncio.create_task(client.send(head(PATH, FORM_TYPE, len(body)) + body))
            other = await upstream.accept()
            await other.until(b"upstream-name")
            other.close()
            answer = await client.until(b"}}")
            await sending
    assert b" 502 Bad Gateway" in answer
    assert b"closed the connection without an answer" in answer


async def test_a_model_that_is_named_twice_is_not_asked() -> None:
    """The upstream could read the second one; keys are limited to models."""
    body, _ = form(("model", "m", None), ("file", b"x" * MEGABYTE, "a"), ("model", "other", None))
    with RawUpstream() as upstream, running(CONFIG.format(base=upstream.base)) as served:
        async with raw_client(served.base) as client:
            await client.send(head(PATH, FORM_TYPE, len(body)) + body)
            other = await upstream.accept()
            assert b"other" not in await other.until_closed()
            answer = await client.until(b"}}")
    assert b" 400 Bad Request" in answer
    assert b"twice" in answer


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_form_that_is_too_large(client: httpx.AsyncClient, taken: list[Received], is_first: bool) -> None:
    body, headers = two_orders(b"x" * 3_100_000)[not is_first]

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), 70_001):
            yield body[start : start + 70_001]

    for content in (body, pieces()):
        response = await client.post(PATH, content=content, headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")
    assert taken == []


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (form(("file", "x", "a"))[0], FORM_TYPE, 400),
        (form(("file", b"x" * 500_000, "a"))[0], FORM_TYPE, 400),
        (form(("model", "m", None))[0][:-20], FORM_TYPE, 400),
        (b"", FORM_TYPE, 400),
        (b"x", "multipart/form-data", 400),
        (form(("model", "none", None))[0], FORM_TYPE, 404),
    ],
)
async def test_what_is_no_form(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, body: bytes, content_type: str, status: int
) -> None:
    response = await client.post(PATH, content=body, headers={"content-type": content_type})
    assert response.status_code == status, response.text
    assert scripted.requests == []


async def test_a_compressed_form_is_refused(client: httpx.AsyncClient, taken: list[Received]) -> None:
    body, headers = form(("model", "m", None))
    response = await client.post(PATH, content=body, headers={**headers, "content-encoding": "gzip"})
    assert response.status_code == 415


async def test_there_is_a_bound_on_all_temporary_files_together(monkeypatch: pytest.MonkeyPatch) -> None:
    body, headers = form(("file", b"x" * MEGABYTE, "a"), ("model", "m", None))
    room = SpoolRoom(2 * MEGABYTE)
    monkeypatch.setattr("chorus.server.api.relay.endpoints.SpoolRoom", lambda: room)
    with ScriptedUpstream.in_thread() as upstream, running(CONFIG.format(base=upstream.base)) as served:
        relayed(upstream)
        async with connected(served.base) as http, raw_client(served.base) as holder:
            await holder.send(head(PATH, FORM_TYPE, len(body)) + body[:900_000])
            await _until(lambda: room.used > 800_000)
            assert (await http.post(PATH, content=body, headers=headers)).status_code == 200
            room.most = MEGABYTE
            refused = await http.post(PATH, content=body, headers=headers)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        await _until(lambda: room.used == 0)
        async with connected(served.base) as http:
            room.most = 2 * MEGABYTE
            assert (await http.post(PATH, content=body, headers=headers)).status_code == 200
        await _until(lambda: room.used == 0)


@pytest.fixture(scope="module")
def large(upstream: ScriptedUpstream) -> Iterator[ServerProcess]:
    """A server of its own: what others have left in the memory of a process hides what it needs."""
    with ServerProcess(CONFIG.format(base=upstream.base), env={"CHORUS_LOG": "error"}) as process:
        yield process


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("is_first", [True, False], ids=["streamed", "spooled"])
async def test_25_mb_take_little_memory(large: ServerProcess, upstream: ScriptedUpstream, is_first: bool) -> None:
    taken = relayed(upstream)
    small, headers = two_orders(b"x" * 500_000)[not is_first]
    whole, _ = two_orders(b"x" * (25 * MEGABYTE))[not is_first]
    async with connected(large.base) as http:
        for _ in range(3):
            assert (await http.post(PATH, content=small, headers=headers)).status_code == 200
        forget_peak(large.pid)
        before = resident_bytes(large.pid)
        for _ in range(2):
            assert (await http.post(PATH, content=whole, headers=headers)).status_code == 200
    assert len(taken[-1].files["file"]) == 25 * MEGABYTE
    grown = peak_bytes(large.pid) - before
    assert grown < 8 * MEGABYTE, f"{grown / MEGABYTE:.1f} MB"


async def _until(condition: Any) -> None:
    with anyio.fail_after(15):
        while not condition():  # noqa: ASYNC110
            await anyio.sleep(0.01)  # polling with a deadline; nothing relies on its length
