"""Defaults like those of the servers that Chorus stands in for: names, origins, encodings, paths
(S1, A6).
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from socket import gethostname

import httpx
import pytest

from chorus.errors import BodyTooLarge, InvalidRequest, UnsupportedEncoding
from chorus.server.http.decompression import decompressed
from chorus.server.http.routes import Paths, Route, nowhere
from tests.kit import Say, ScriptedUpstream
from tests.kit.fixtures import connected
from tests.server.conftest import MAX_BODY
from tests.server.running import Running, running

CHAT = "/v1/chat/completions"
ASKED = {"model": "glm", "messages": [{"role": "user", "content": "How?"}]}
PAGES = '[server]\ncors_origins = ["chrome-extension://*", "https://*.example.com", "moz-extension://abc"]\n'


@pytest.mark.parametrize(
    ("host", "is_served"),
    [
        ("host.docker.internal:11435", True),
        ("gateway.docker.internal", True),
        ("printer.local", True),
        ("0.0.0.0:11435", True),
        (gethostname(), True),
        ("evil.example.com", False),
        ("internal", False),
        ("local.example.com", False),
    ],
)
async def test_names_of_this_machine_and_its_network(client: httpx.AsyncClient, host: str, is_served: bool) -> None:
    response = await client.get("/v1/models", headers={"host": host})
    assert response.status_code == (200 if is_served else 403)


@pytest.fixture(scope="module")
def served() -> Iterator[Running]:
    with running(PAGES + '[[model]]\nname = "demo"\nprovider = "demo"\n') as server:
        yield server


@pytest.fixture
async def pages(served: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(served.base) as client:
        yield client


@pytest.mark.parametrize(
    ("origin", "is_allowed"),
    [
        ("http://tauri.localhost", True),
        ("https://tauri.localhost", True),
        ("tauri://localhost", True),
        ("app://obsidian.md", True),
        ("vscode-webview://1a2b", True),
        ("file://", True),
        ("capacitor://localhost", True),
        ("http://localhost:3000", True),
        ("chrome-extension://abcdef", True),
        ("moz-extension://abc", True),
        ("moz-extension://other", False),
        ("https://a.example.com", True),
        ("https://a.example.com.evil.net", False),
        ("https://evil.net/.example.com", False),
        ("https://localhost.evil.net", False),
    ],
)
@pytest.mark.parametrize("preflight", [True, False])
async def test_origins(pages: httpx.AsyncClient, origin: str, is_allowed: bool, preflight: bool) -> None:
    if preflight:
        headers = {
            "origin": origin,
            "access-control-request-method": "POST",
            "access-control-request-private-network": "true",
        }
        response = await pages.options(CHAT, headers=headers)
        assert (response.status_code == 200) == is_allowed
        assert response.headers["access-control-allow-private-network"] == "true"
    else:
        response = await pages.get("/v1/models", headers={"origin": origin})
        assert (response.status_code == 200) == is_allowed
    assert (response.headers.get("access-control-allow-origin") == origin) == is_allowed


def raw_deflate(data: bytes) -> bytes:
    made = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return made.compress(data) + made.flush()


ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP": lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:]),
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "gzip, gzip": lambda data: gzip.compress(gzip.compress(data)),
    "identity": bytes,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/v1/messages", "/api/chat"])
async def test_compressed_bodies(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str, encoding: str
) -> None:
    scripted.on("glm", Say("fine"))
    body = {**ASKED, "max_tokens": 9, "stream": False} if path != "/v1/responses" else {"model": "glm", "input": "How?"}
    content = ENCODINGS[encoding](json.dumps(body).encode())
    response = await client.post(path, content=content, headers={"content-encoding": encoding})
    assert response.status_code == 200
    assert "fine" in response.text


async def test_zstd_bodies_of_many_slices() -> None:
    zstd = pytest.importorskip("backports.zstd")
    text = json.dumps({"a": "b" * 3_000_000}).encode()
    assert await decompressed(zstd.compress(text), "zstd", 4_000_000) == text
    with pytest.raises(BodyTooLarge):
        await decompressed(zstd.compress(text), "zstd", 2_000_000)


@pytest.mark.parametrize("size", [MAX_BODY + 1, 3_000_000])
async def test_what_comes_out_is_bounded(client: httpx.AsyncClient, size: int) -> None:
    response = await client.post(CHAT, content=gzip.compress(b" " * size), headers={"content-encoding": "gzip"})
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


async def test_a_bomb_is_not_inflated_beyond_its_bound() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    with pytest.raises(BodyTooLarge):
        await decompressed(gzip.compress(bomb), "gzip, gzip", 1_000_000)
    many = gzip.compress(b"") * 100
    with pytest.raises(InvalidRequest):
        await decompressed(many, "gzip", 1_000_000)


@pytest.mark.parametrize(
    "content",
    [b"x", gzip.compress(b"{}" * 99)[:-9], gzip.compress(b"{}") + b"rest"],
    ids=["no gzip", "cut off", "more behind it"],
)
async def test_a_body_that_is_not_what_its_header_says_is_400(client: httpx.AsyncClient, content: bytes) -> None:
    response = await client.post(CHAT, content=content, headers={"content-encoding": "gzip"})
    assert response.status_code == 400
    assert "gzip" in response.json()["error"]["message"]


async def test_large_bodies_are_read_whole() -> None:
    text = json.dumps(list(range(700_000))).encode()
    assert await decompressed(gzip.compress(text), "gzip", 10_000_000) == text
    with pytest.raises(UnsupportedEncoding):
        await decompressed(text, "gzip, gzip, gzip", 10_000_000)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/chat/completions", CHAT),
        ("/v1/v1/chat/completions", CHAT),
        ("/v1/v1/v1/chat/completions/", CHAT),
        ("/v1/chat/completions/", CHAT),
        ("//v1//chat/completions", CHAT),
        ("/api/v1/chat/completions", CHAT),
        ("/messages", "/v1/messages"),
        ("/responses/", "/v1/responses"),
        ("/models", "/v1/models"),
        ("/models/glm", "/v1/models/glm"),
        ("/v1/models/", "/v1/models"),
        ("/embeddings", "/v1/embeddings"),
        ("/v1/api/chat", "/api/chat"),
        ("/api/api/tags", "/api/tags"),
        ("/api/tags/", "/api/tags"),
        ("/api/v1/workflows/", "/api/v1/workflows"),
        ("/", "/"),
        ("/nothing", "/nothing"),
        ("/v1", "/v1"),
        ("/v1/" * 900, "/v1/" * 900),
    ],
)
def test_paths_of_base_urls_that_are_almost_right(path: str, meant: str) -> None:
    served = [CHAT, "/v1/messages", "/v1/responses", "/v1/responses/{id}", "/v1/models", "/v1/models/{name:path}"]
    served += ["/v1/embeddings", "/api/chat", "/api/tags", "/api/v1/workflows", "/"]
    assert Paths([Route(each, nowhere, "") for each in served]).resolve(path) == meant


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/v1/chat/completions", "/v1/chat/completions/"])
async def test_an_almost_right_base_url_works(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.post(path, json=ASKED)).json()["object"] == "chat.completion"


async def test_errors_keep_the_shape_of_the_route_that_is_meant(client: httpx.AsyncClient) -> None:
    assert (await client.post("/messages", json={})).json()["type"] == "error"


@pytest.mark.parametrize("limit", [-1, -2, None])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        (CHAT, "max_tokens"),
        (CHAT, "max_completion_tokens"),
        ("/v1/responses", "max_output_tokens"),
        ("/v1/messages", "max_tokens"),
        ("/v1/completions", "max_tokens"),
    ],
)
async def test_minus_one_token_is_no_limit(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str, name: str, limit: int | None
) -> None:
    body = {"model": "glm", "input": "How?"} if path == "/v1/responses" else {**ASKED, "prompt": "How?"}
    body = {key: value for key, value in body.items() if key != ("messages" if path == "/v1/completions" else "prompt")}
    response = await client.post(path, json={**body, name: limit})
    assert response.status_code == 200
    assert not {"max_tokens", "max_completion_tokens"} & json.loads(scripted.calls("glm")[-1].body).keys()
