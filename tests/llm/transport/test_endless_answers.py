"""Upstreams that never come to an end, or send more than anybody wants: bounded in bytes, count and
time (L3).
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from chorus.errors import LLMError, UpstreamProtocol, UpstreamStatus
from chorus.llm.embed import EmbedCall
from chorus.llm.providers import openai
from chorus.llm.providers.ollama_reading import LineReader
from chorus.llm.providers.openai_reading import ChunkReader, read_whole
from chorus.llm.transport import clients as http
from chorus.llm.transport.clients import Clients
from chorus.llm.transport.connector import MAX_INTERIM
from tests.kit import Raw, ScriptedUpstream
from tests.llm.answers import DONE, FINE, delta, message
from tests.llm.reaching import PROVIDERS, ask, reach, reached, text_of

pytestmark = pytest.mark.requirement("L3")
Answer = Callable[[SocketStream], Awaitable[None]]
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
FIRST = b"data: " + delta(content=FINE).encode() + b"\n\n"
FINISH = b"data: " + delta('"stop"').encode() + b"\n\n"
ROUTES = ("direct", "proxied")
PATIENCE_SECS = 60
"""Ten times what anything here takes on a machine with a load of ten."""
INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\n"


@asynccontextmanager
async def answering(answer: Answer) -> AsyncIterator[str]:
    """The address of a server that answers each request by `answer`, in whatever bytes."""

    async def serve(stream: SocketStream) -> None:
        async with stream:
            try:
                while True:
                    request = b""
                    while b"\r\n\r\n" not in request:
                        request += await stream.receive()
                    await answer(stream)
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/v1"
        group.cancel_scope.cancel()


def endless(head: bytes, block: bytes) -> Answer:
    """`head`, then `block` again and again for as long as it is read."""

    async def answer(stream: SocketStream) -> None:
        await stream.send(head)
        while True:
            await stream.send(block)

    return answer


def once(*pieces: bytes, closes: bool = True) -> Answer:
    """`pieces`, then the end of the connection, or silence."""

    async def answer(stream: SocketStream) -> None:
        for piece in pieces:
            await stream.send(piece)
        if closes:
            raise anyio.ClosedResourceError
        await anyio.sleep_forever()

    return answer


def routed(clients: Clients, base: str, route: str) -> Clients:
    """`clients` that reach `base` directly, or through a proxy: the same server, since a proxy
    answers for an upstream.
    """
    return clients.through(base.removesuffix("/v1")) if route == "proxied" else clients


async def asked(answer: Answer, clients: Clients, *, stream: bool = True, route: str = "direct") -> str:
    """The text that comes of `answer`, or the error: it is not waited for without end."""
    failed: LLMError | None = None
    async with answering(answer) as base:
        with anyio.fail_after(PATIENCE_SECS):
            try:
                text = text_of(await ask(reached(base, routed(clients, base, route)).upstream, stream=stream))
            except LLMError as error:
                failed = error  # raised in there, it would be one of a group
    if failed is not None:
        raise failed
    return text


# --- before the answer


@pytest.mark.parametrize("route", ROUTES)
async def test_a_few_interim_responses_are_passed_over(clients: Clients, route: str) -> None:
    answer = once(INTERIM * 3, b"HTTP/1.1 100 Continue\r\n\r\n", STREAM + FIRST + DONE)
    assert await asked(answer, clients, route=route) == "fine"


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "answer",
    [
        endless(b"", INTERIM * 1000),
        once(INTERIM * (MAX_INTERIM + 1), STREAM + FIRST + DONE),
        once(*[INTERIM] * (MAX_INTERIM + 1), closes=False),
        endless(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 1000),
        endless(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 100),
        endless(b"HTTP/1.1 200 ", b"OK " * 1000),
        endless(STREAM.replace(b"connection: close", b"transfer-encoding: chunked") + b"0\r\n", b"x: y\r\n" * 100),
    ],
)
async def test_a_response_that_never_begins_is_given_up(clients: Clients, answer: Answer, route: str) -> None:
    with pytest.raises(UpstreamProtocol):
        await asked(answer, clients, route=route)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("more", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_a_response_to_no_request_is_nobodys_answer(clients: Clients, more: bytes, route: str) -> None:
    asked_for = 0

    async def answer(stream: SocketStream) -> None:
        nonlocal asked_for
        asked_for += 1
        for text in (f'"answer {asked_for}"', '"somebody else\'s"'):
            body = message(content=text).encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            await stream.send(head.encode() + body)
            # the first one is read, and its connection kept, before the second one comes
            await anyio.sleep(0.05)
            await stream.send(more)

    async with answering(answer) as base:
        upstream = reached(base, routed(clients, base, route)).upstream
        # a connection that fails as it is used again is replaced: no answer has a certain number
        for _ in range(3):
            assert text_of(await ask(upstream, stream=False)).startswith("answer ")
            await anyio.sleep(0.1)


# --- after the answer


@pytest.mark.parametrize(
    "answer",
    [
        once(STREAM + FIRST + FINISH, closes=False),
        endless(STREAM + FIRST + FINISH, b": ping\n\n" * 1000),
        endless(STREAM + FIRST + FINISH, b"data: {}\n\n" * 1000),
        once(STREAM.replace(b"connection: close", b"content-length: 9999") + FIRST + FINISH),
        once(STREAM + FIRST + FINISH + b"data: {garbage"),
    ],
)
async def test_what_follows_the_finish_reason_is_not_waited_for_long(
    clients: Clients, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai, "LINGER_SECS", 0.2)
    assert await asked(answer, clients) == "fine"


async def test_what_follows_the_end_is_not_waited_for_at_all(clients: Clients) -> None:
    assert await asked(endless(STREAM + FIRST + FINISH + DONE, b"data: {}\n\n" * 1000), clients) == "fine"


# --- in the middle


@pytest.mark.parametrize("noise", [b": ping\n\n", b"\n", b"\r", b"event: ping\n\n", b"id: 7\n"])
async def test_signs_of_life_are_passed_over(clients: Clients, noise: bytes) -> None:
    block = noise * (1_000_000 // len(noise))
    assert await asked(once(STREAM, block, FIRST, block, b"\n\n" + FINISH + DONE), clients) == "fine"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_body_beyond_the_limit_is_an_error_and_not_the_beginning_of_an_answer(
    clients: Clients, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_BODY", 100_000)
    if provider == "openai":
        with pytest.raises(UpstreamProtocol, match="longer than"):
            await asked(endless(WHOLE + b'{"x": "', b"x" * 50_000), clients, stream=False)
        assert await asked(once(WHOLE, message(content=FINE).encode() + b" " * 90_000), clients, stream=False) == "fine"
    async with answering(endless(WHOLE + b'{"x": "', b"x" * 50_000)) as base:
        embedder = reached(base, clients, provider).embedder
        assert embedder is not None
        with anyio.fail_after(PATIENCE_SECS), pytest.raises(UpstreamProtocol, match="longer than"):
            await embedder.embed(EmbedCall(["a"]))


async def test_an_error_text_without_an_end_is_cut(clients: Clients) -> None:
    head = b"HTTP/1.1 500 Oh\r\nconnection: close\r\n\r\n"
    with pytest.raises(UpstreamStatus, match="status 500: it broke") as failed:
        await asked(endless(head + b"it broke", b" and broke" * 1000), clients)
    assert len(failed.value.message) < 400


async def test_a_list_of_models_without_an_end_is_a_sign_of_life(clients: Clients) -> None:
    async with answering(endless(WHOLE + b'{"data": [', b'{"id": "m"},' * 1000)) as base:
        [replica] = reached(base, clients).pool.replicas
        with anyio.fail_after(PATIENCE_SECS):
            await replica.upstream.check(5)  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_others_have_their_turn_while_an_upstream_sends_all_it_can(
    scripted: ScriptedUpstream, clients: Clients, provider: str
) -> None:
    event = b"data:{}\n\n" if provider == "openai" else b"{}\n"
    end = FINISH + DONE if provider == "openai" else b'{"done": true}\n'
    scripted.on("m", Raw([event * 100_000 + end]))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await anyio.lowlevel.checkpoint()
            turns += 1

    async with anyio.create_task_group() as group:
        group.start_soon(others)
        await ask(reach(scripted, clients, provider))
        group.cancel_scope.cancel()
    assert turns > 100_000 * len(event) // (64 * 1024)


# --- one event, line or body of any shape

SIZE = 8 << 20
SHAPES: dict[str, tuple[bytes, bytes, bytes]] = {
    # what is repeated, between what
    "text": (b'"', b"a", b'"'),
    "characters": (b'"', "好".encode(), b'"'),
    "escapes": (b'"', b"\\ud83d\\ude00", b'"'),
    "halves": (b'"', b"\\ud83d", b'"'),
    "halves and letters": (b'"', b"\\ude00a", b'"'),
    "no UTF-8": (b'"', b"\xff", b'"'),
    "CESU-8": (b'"', b"\xed\xa0\xbd", b'"'),
    "lists": (b"[", b"[],", b"0]"),
    "objects": (b"[", b'{"text":""},', b"0]"),
    "names": (b"{", b'"a":1,', b'"b":1}'),
    "numbers": (b"[", b"1,", b"0]"),
    "strings": (b"[", b'"",', b"0]"),
    "no numbers": (b"[", b"NaN,", b"0]"),
    "brackets in a text": (b'"', b"[,{", b'"'),
    "depth": (b"", b"[", b""),
    "quotes": (b"", b'"', b""),
    "a string without an end": (b'"', b'\\"', b""),
    "digits": (b"", b"1", b""),
    "blanks": (b"", b" ", b"1"),
}
PLACES = {
    "content": b'{"choices":[{"delta":{"content":%s},"message":{"content":%s}}],"message":{"content":%s}}',
    "arguments": b'{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":%s}}]}}],'
    b'"message":{"tool_calls":[{"function":{"name":"f","arguments":%s}}]},"x":%s}',
    "logprobs": b'{"choices":[{"delta":{"content":"x"},"logprobs":{"content":%s}}],"x":[%s,%s]}',
    "nowhere": b'{"choices":[{"delta":{"content":"x"}}],"message":{"content":"x"},"x":[%s,%s,%s]}',
}


def read(raw: bytes) -> None:
    """Let each of the readers have `raw`."""
    chunks = ChunkReader("m", prompt_estimate=lambda: 0, logprobs=True)
    for reading in (
        chunks.read,
        lambda data: read_whole(data, "m", prompt_estimate=lambda: 0, logprobs=True),
        LineReader("m", prompt_estimate=lambda: 0).read,
    ):
        began = time.process_time()
        with suppress(LLMError):
            reading(raw)
        assert time.process_time() - began < 1, "it takes a fifth of that on a quiet machine"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("place", PLACES)
def test_reading_costs_little_whatever_the_shape(place: str, shape: str) -> None:
    before, unit, after = SHAPES[shape]
    for size in (SIZE,) if place == "content" else (SIZE // 8, 100_000):
        value = before + unit * (size // 3 // len(unit)) + after
        read(PLACES[place] % (value, value, value))


def test_depth_that_can_be_read_can_be_written() -> None:
    for depth in (100, 127, 500, 900, 960, 990, 1100):
        nested = b"[" * depth + b"]" * depth
        for place in PLACES.values():
            read(place % (nested, nested, nested))
