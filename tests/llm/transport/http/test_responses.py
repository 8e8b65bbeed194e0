"""How responses are read: every framing, every cut, bounds, and back-pressure (L3)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorus.llm.transport.http import (
    ClientPayloadError,
    ClientResponseError,
    ConnectionPool,
    Response,
    ServerDisconnectedError,
)
from chorus.llm.transport.http.connection import MAX_INTERIM, Connection
from chorus.llm.transport.http.head import MAX_HEAD_LINES
from chorus.llm.transport.http.response import MAX_BUFFERED
from tests.llm.transport.http.listener import Accepted, Listener

pytestmark = [
    pytest.mark.requirement("L3"),
    pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy"),
]
HEAD = b"POST / HTTP/1.1\r\nHost: upstream\r\nContent-Length: 2\r\n\r\n"
STATUS = b"HTTP/1.1 200 OK\r\n"
CHUNKED = STATUS + b"transfer-encoding: chunked\r\n\r\n"

# fmt: off
WHOLE = {
    # what                  the bytes                                                                      its body     kept
    "length":              (STATUS + b"content-length: 4\r\n\r\nfine",                                     b"fine",     True),
    "length and close":    (STATUS + b"content-length: 4\r\nconnection: close\r\n\r\nfine",                b"fine",     False),
    "no body":             (STATUS + b"content-length: 0\r\n\r\n",                                         b"",         True),
    "204":                 (b"HTTP/1.1 204 No Content\r\n\r\n",                                            b"",         True),
    "chunked":             (CHUNKED + b"2\r\nfi\r\n2\r\nne\r\n0\r\n\r\n",                                  b"fine",     True),
    "chunk extensions":    (CHUNKED + b"2;a=b\r\nfi\r\n2 ;c\r\nne\r\n0;d\r\n\r\n",                         b"fine",     True),
    "spaces after a size": (CHUNKED + b"4  \r\nfine\r\n0\r\n\r\n",                                         b"fine",     True),
    "trailers":            (CHUNKED + b"4\r\nfine\r\n0\r\ncontent-type: x/y\r\n\r\n",                      b"fine",     True),
    "to the end":          (STATUS + b"\r\nfine",                                                          b"fine",     False),
    "HTTP/1.0":            (b"HTTP/1.0 200 OK\r\n\r\nfine",                                                b"fine",     False),
    "gzip, chunked":       (STATUS + b"transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n1\r\nf\r\n0\r\n\r\n", b"f", True),
    "other coding":        (STATUS + b"transfer-encoding: identity\r\n\r\nfine",                           b"fine",     False),
    "interim":             (b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 3 + STATUS + b"content-length: 1\r\n\r\nf", b"f", True),
    "offers an upgrade":   (STATUS + b"upgrade: h2c\r\nconnection: upgrade\r\ncontent-length: 1\r\n\r\nf", b"f",        True),
    "no reason":           (b"HTTP/1.1 200\r\ncontent-length: 1\r\n\r\nf",                                 b"f",        True),
    "bare line feeds":     (b"HTTP/1.1 200 OK\ncontent-length: 1\n\nf",                                    b"f",        True),
    "odd header value":    (STATUS + b"x: a\x01b\xff\r\ncontent-length: 1\r\n\r\nf",                       b"f",        True),
    "line ends before":    (b"\r\n\r\n" + STATUS + b"content-length: 1\r\n\r\nf",                          b"f",        True),
}

BROKEN = {
    # what                  the bytes, and then the end                                                    what they come to
    "nothing":             (b"",                                                                           ServerDisconnectedError),
    "half a head":         (STATUS + b"content-le",                                                        ServerDisconnectedError),
    "interim only":        (b"HTTP/1.1 100 Continue\r\n\r\n",                                              ServerDisconnectedError),
    "half a length":       (STATUS + b"content-length: 5\r\n\r\nfine",                                     ClientPayloadError),
    "half a chunk":        (CHUNKED + b"5\r\nfine",                                                        ClientPayloadError),
    "no last chunk":       (CHUNKED + b"4\r\nfine\r\n",                                                    ClientPayloadError),
    "half a trailer":      (CHUNKED + b"4\r\nfine\r\n0\r\nx",                                              ClientPayloadError),
    "chunk of no size":    (CHUNKED + b"4\r\nfine\r\nzz\r\n",                                              ClientPayloadError),
    "chunk too long":      (CHUNKED + b"2\r\nfine\r\n0\r\n\r\n",                                           ClientPayloadError),
    "garbage":             (b"SSH-2.0-OpenSSH_9.6\r\n\r\n",                                                ClientResponseError),
    "a request":           (b"GET / HTTP/1.1\r\n\r\n",                                                     ClientResponseError),
    "HTTP/2":              (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00",                                       ClientResponseError),
    "TLS":                 (b"\x15\x03\x03\x00\x02\x02\x46",                                               ClientResponseError),
    "a header of nothing": (STATUS + b": x\r\n\r\n",                                                       ClientResponseError),
    "two lengths":         (STATUS + b"content-length: 4\r\ncontent-length: 5\r\n\r\nfine!",               ClientResponseError),
    "length of letters":   (STATUS + b"content-length: four\r\n\r\nfine",                                  ClientResponseError),
    "negative length":     (STATUS + b"content-length: -4\r\n\r\nfine",                                    ClientResponseError),
    "endless length":      (STATUS + b"content-length: %d\r\n\r\nfine" % 10**30,                           ClientResponseError),
    "101":                 (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", ClientResponseError),
    "status 99":           (b"HTTP/1.1 099 What\r\ncontent-length: 1\r\n\r\nf",                            ClientResponseError),
    "many interim":        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * (MAX_INTERIM + 1),                       ClientResponseError),
    "many headers":        (STATUS + b"x: y\r\n" * (MAX_HEAD_LINES + 1) + b"\r\n",                         ClientResponseError),
}

ENDLESS = {
    # what                  begins with                           and goes on with
    "line ends":           (b"",                                  b"\r\n" * 1000),
    "reason":              (b"HTTP/1.1 200 ",                     b"OK " * 1000),
    "header name":         (STATUS,                               b"x" * 1000),
    "header value":        (STATUS + b"x: ",                      b"y" * 1000),
    "spaces before value": (STATUS + b"x: ",                      b" " * 1000),
    "headers":             (STATUS,                               b"x: y\r\n" * 100),
    "headers of nothing":  (STATUS,                               b"x:\r\n" * 100),
    "interim":             (b"",                                  b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100),
    "chunk size":          (CHUNKED,                              b"0" * 1000),
    "chunk extension":     (CHUNKED + b"5;a=",                    b"a" * 1000),
    "trailer name":        (CHUNKED + b"4\r\nfine\r\n0\r\n",      b"x" * 1000),
    "trailer value":       (CHUNKED + b"4\r\nfine\r\n0\r\nx: ",   b"y" * 1000),
    "trailers":            (CHUNKED + b"4\r\nfine\r\n0\r\n",      b"x: y\r\n" * 100),
}
# fmt: on


async def body_of(response: Response) -> bytes:
    """The body, to its end."""
    body = b""
    while part := await response.readany():
        body += part
    return body


async def asked(pool: ConnectionPool, listener: Listener) -> tuple[Accepted, asyncio.Task[Response]]:
    """A request that has been received, and its answer to come."""
    asking = asyncio.ensure_future(pool.request(HEAD, b"{}", connect_secs=5))
    accepted = await listener.accept()
    await accepted.request()
    return accepted, asking


@pytest.mark.parametrize("name", WHOLE)
async def test_a_response_of_any_framing_is_read(pool: ConnectionPool, listener: Listener, name: str) -> None:
    answer, body, is_kept = WHOLE[name]
    accepted, asking = await asked(pool, listener)
    await accepted.send(answer)
    if not is_kept:
        accepted.finish_sending()
    response = await asking
    assert (response.status // 100, await body_of(response)) == (2, body)
    assert response.headers.get("content-type") is None
    assert repr(pool).endswith("1 open, 1 idle>") == is_kept
    if not is_kept:
        await accepted.until_closed()


@pytest.mark.parametrize("name", BROKEN)
async def test_a_response_that_is_none_is_an_error(pool: ConnectionPool, listener: Listener, name: str) -> None:
    answer, error = BROKEN[name]
    accepted, asking = await asked(pool, listener)
    await accepted.send(answer)
    accepted.finish_sending()
    with pytest.raises(error):
        await body_of(await asking)
    await accepted.until_closed()


@pytest.mark.parametrize("size", [1, 40], ids=["in pieces", "in one packet"])
@pytest.mark.parametrize("name", ENDLESS)
async def test_what_never_ends_is_given_up(pool: ConnectionPool, listener: Listener, name: str, size: int) -> None:
    begins, goes_on = ENDLESS[name]
    accepted, asking = await asked(pool, listener)

    async def send() -> int:
        await accepted.send(begins)
        for sent in count():
            try:
                await accepted.send(goes_on * size)
            except ConnectionError:
                return sent * size * len(goes_on)
        return 0

    sending = asyncio.ensure_future(send())
    with pytest.raises((ClientResponseError, ClientPayloadError)):
        await body_of(await asking)
    assert await sending < 16 * 1024 * 1024  # what the kernel takes
    assert repr(pool).endswith("0 open, 0 idle>") or not await accepted.receive(1)


async def test_what_of_a_body_has_come_is_read_before_its_error(pool: ConnectionPool, listener: Listener) -> None:
    accepted, asking = await asked(pool, listener)
    await accepted.send(CHUNKED + b"4\r\nfine\r\nzz")
    accepted.finish_sending()
    response = await asking
    await accepted.until_closed()
    assert await response.readany() == b"fine"
    for _ in range(2):
        with pytest.raises(ClientPayloadError):
            await response.readany()


async def test_a_body_that_nobody_reads_is_not_taken(pool: ConnectionPool, listener: Listener) -> None:
    """The upstream waits, for as long as the reader does; then all of it comes."""
    accepted, asking = await asked(pool, listener)
    size = 32_000_000  # more than the kernel takes
    await accepted.send(STATUS + b"content-length: %d\r\n\r\n" % size)
    response = await asking
    sending = asyncio.ensure_future(accepted.send(bytes(size)))
    (connection,) = pool._open
    while not connection._is_reading_paused:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    assert MAX_BUFFERED < response._buffered <= MAX_BUFFERED + 512 * 1024
    assert not sending.done()
    received = 0
    while part := await response.readany():
        received += len(part)
    assert received == size
    await sending
    assert repr(pool).endswith("1 open, 1 idle>")


# --- without sockets: any cut, any bytes


class Wire(asyncio.Transport):
    """A transport whose other end is a test."""

    def __init__(self) -> None:
        super().__init__()
        self.is_aborted = False

    def write(self, data: object) -> None:
        pass

    def abort(self) -> None:
        self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_aborted

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


class Nobody:
    """An owner that keeps no connection."""

    def __init__(self) -> None:
        self.was_released = False

    def opened(self, connection: Connection) -> None:
        pass

    def released(self, connection: Connection) -> None:
        self.was_released = True

    def lost(self, connection: Connection) -> None:
        pass


async def outcome(pieces: Sequence[bytes]) -> tuple[object, ...]:
    """Status, headers, body and end of the response that comes in `pieces`, and whether its
    connection is kept.
    """
    owner, wire = Nobody(), Wire()
    connection = Connection(owner, asyncio.get_running_loop())
    connection.connection_made(wire)
    response = connection.exchange(HEAD, b"{}")
    for piece in pieces:
        if not wire.is_aborted:
            connection.data_received(piece)
    is_kept = owner.was_released and not wire.is_aborted
    if not wire.is_aborted:
        connection.eof_received()
    connection.connection_lost(None)
    try:
        await response.begun()
    except (OSError, ValueError) as problem:
        return type(problem), is_kept
    body = b""
    try:
        while part := await response.readany():
            body += part
    except ValueError as problem:
        return response.status, response.headers, body, type(problem), is_kept
    return response.status, response.headers, body, is_kept


def pieces_of(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(ends)]


def answers() -> Iterator[bytes]:
    yield from (answer for answer, _, _ in WHOLE.values())
    yield from (answer for answer, _ in BROKEN.values() if len(answer) < 1000)
    yield from (answer + b"HTTP/1.1 200 OK\r\n\r\n" for answer, _, is_kept in WHOLE.values() if is_kept)


@given(st.sampled_from(list(answers())), st.lists(st.integers(0, 1000), max_size=12))
def test_a_cut_changes_nothing(answer: bytes, cuts: list[int]) -> None:
    """A piece that comes behind the end closes the connection as well."""
    assert asyncio.run(outcome([answer])) == asyncio.run(outcome(pieces_of(answer, cuts)))


@given(st.binary(max_size=2000), st.lists(st.integers(0, 2000), max_size=6), st.sampled_from([b"", STATUS, CHUNKED]))
@settings(deadline=1000)
def test_foreign_bytes_come_to_an_end(data: bytes, cuts: list[int], begins: bytes) -> None:
    asyncio.run(outcome(pieces_of(begins + data, cuts)))
