"""Connections by TLS, to an upstream whose certificate this test makes with openssl (L1, L3)."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chorus.llm.transport.http import CannotConnect, ConnectionPool, Origin
from tests.llm.transport.http.listener import Listener

pytestmark = [
    pytest.mark.requirement("L1"),
    pytest.mark.requirement("L3"),
    pytest.mark.filterwarnings("ignore:Overriding the .event_loop_policy"),
    pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl"),
]
HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
LONG = bytes(3_000_000)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost, signed by itself, with its key."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(["openssl", *options.split(), *names], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


class Upstream:
    """Answers every request with the length of its body."""

    def __init__(self) -> None:
        self.connections = 0
        self.open = 0
        self.all_closed = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                await reader.readexactly(size)
                body = b"%d" % size
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
            self.open -= 1
            if not self.open:
                self.all_closed.set()


@pytest.fixture
async def served(certificate: Path) -> AsyncIterator[tuple[Upstream, int]]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    upstream = Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield upstream, server.sockets[0].getsockname()[1]


async def test_requests_go_through_tls(served: tuple[Upstream, int], certificate: Path) -> None:
    upstream, port = served
    pool = ConnectionPool(Origin("localhost", port, ssl.create_default_context(cafile=certificate)), keepalive_secs=30)
    for body in (b"{}", LONG, b""):
        response = await pool.request(HEAD % len(body), body, connect_secs=5)
        assert await response.readany() == b"%d" % len(body)
    assert upstream.connections == 1
    await pool.aclose()
    async with asyncio.timeout(5):
        await upstream.all_closed.wait()
    assert repr(pool).endswith("0 open, 0 idle>")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"], ids=["not trusted", "another name"])
async def test_a_certificate_that_does_not_hold_is_refused(
    served: tuple[Upstream, int], certificate: Path, host: str
) -> None:
    trusted = ssl.create_default_context(cafile=certificate if host == "127.0.0.1" else None)
    pool = ConnectionPool(Origin(host, served[1], trusted), keepalive_secs=30)
    with pytest.raises(CannotConnect, match="CERTIFICATE_VERIFY_FAILED"):
        await pool.request(HEAD % 2, b"{}", connect_secs=5)
    assert repr(pool).endswith("0 open, 0 idle>")


async def test_a_handshake_that_does_not_end_is_given_up(listener: Listener) -> None:
    pool = ConnectionPool(Origin("127.0.0.1", listener.port, ssl.create_default_context()), keepalive_secs=30)
    asking = asyncio.ensure_future(pool.request(HEAD % 2, b"{}", connect_secs=0.2))
    accepted = await listener.accept()
    with pytest.raises(TimeoutError):
        await asking
    await accepted.until_closed()


async def test_cancelling_a_handshake_closes_its_connection(listener: Listener) -> None:
    pool = ConnectionPool(Origin("127.0.0.1", listener.port, ssl.create_default_context()), keepalive_secs=30)
    asking = asyncio.ensure_future(pool.request(HEAD % 2, b"{}", connect_secs=5))
    accepted = await listener.accept()
    assert await accepted.receive(1)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await accepted.until_closed()
