"""Channels to workers: TLS with the certificates that are named, and what gRPC can send beside a
request (I1, L1).
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from chorus.errors import UpstreamConnect
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Call
from chorus.llm.providers import grpc_provider
from chorus.llm.transport.clients import Clients
from chorus.llm.transport.grpc_channels import channel_to, connected, metadata_of
from chorus.types import ChatRequest, Message
from tests.kit import free_port
from tests.kit.scripted_worker import Pieces, ScriptedWorker

pytestmark = [pytest.mark.requirement("I1"), pytest.mark.requirement("L1")]
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost, signed by itself; its key stands beside it."""
    path = tmp_path_factory.mktemp("tls") / "localhost.crt"
    options = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost", "-keyout", f"{path}.key", "-out", str(path)]
    subprocess.run(["openssl", *options.split(), *names], check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def worker(certificate: Path) -> Iterator[ScriptedWorker]:
    pair = Path(f"{certificate}.key").read_bytes(), certificate.read_bytes()
    with ScriptedWorker.in_thread(credentials=grpc.ssl_server_credentials([pair])) as worker:
        worker.on("m", Pieces(["Hello"]))
        yield worker


async def ask(api_base: str) -> str:
    clients = Clients()
    at = ReplicaAddress(api_base)
    upstream = grpc_provider.grpc(ModelAddress("m", "grpc", (at,)), at, clients).upstream
    try:
        async with upstream.open(Call(ChatRequest("m", (Message("user", "How?"),)), connect_timeout=5)) as chunks:
            return "".join([chunk.text async for chunk in chunks])
    finally:
        await clients.aclose()


@needs_openssl
async def test_a_worker_whose_certificate_is_named_is_believed(
    worker: ScriptedWorker, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert await ask(worker.api_base) == "Hello"
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_DIR", str(certificate.parent))
    assert await ask(worker.api_base) == "Hello"


@needs_openssl
@pytest.mark.parametrize("named", [None, os.devnull, "/no/such/file.pem"])
async def test_a_worker_whose_certificate_is_not_named_is_not(
    worker: ScriptedWorker, monkeypatch: pytest.MonkeyPatch, named: str | None
) -> None:
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if named is not None:
        monkeypatch.setenv("SSL_CERT_FILE", named)
    with pytest.raises(UpstreamConnect, match="Upstream 'm' cannot be reached"):
        await ask(worker.api_base)


async def test_an_address_has_one_channel() -> None:
    clients = Clients()
    address = f"grpc://127.0.0.1:{free_port()}"
    assert channel_to(clients, address) is channel_to(clients.through("none"), address)
    assert channel_to(clients, address) is not channel_to(clients, f"grpc://127.0.0.1:{free_port()}")
    await clients.aclose()


async def test_a_channel_that_is_closed_is_not_connected() -> None:
    clients = Clients()
    channel = channel_to(clients, f"grpc://127.0.0.1:{free_port()}")
    await clients.aclose()
    with pytest.raises(ConnectionError, match="was closed"):
        await connected(channel, 1)


def test_what_grpc_cannot_send_is_left_out() -> None:
    headers = {"X-Good": "a b", "x-é": "a", "": "a", "x-utf8": "é", "x-line": "a\nb", "grpc-timeout": "1", "te": "gzip"}
    assert metadata_of({**headers, "x-bin": "a"}) == (
        (("x-good", "a b"),),
        ("x-é", "", "x-utf8", "x-line", "grpc-timeout", "te", "x-bin"),
    )
