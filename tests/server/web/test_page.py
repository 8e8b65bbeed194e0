"""The page's files at `/ui/`: their addresses, their headers, and that nothing else is read
(O4).
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import AsyncIterator, Iterator
from importlib.resources import files
from pathlib import Path

import httpx
import pytest

from chorus.server.web.assets import Body, read_assets
from chorus.server.web.page import accepts_gzip, has_current
from tests.kit.fixtures import connected
from tests.kit.peer import Peer
from tests.server.running import Running, running

pytestmark = [pytest.mark.requirement("O4")]

MODEL = '[[model]]\nname = "demo"\nprovider = "demo"\n'
STATIC = Path(str(files("chorus.server.web") / "static"))
NAMES = [path.relative_to(STATIC).as_posix() for path in STATIC.rglob("*") if path.is_file()]
INDEX = (STATIC / "index.html").read_bytes()


@pytest.fixture(scope="module")
def page() -> Iterator[Running]:
    with running(MODEL) as server:
        yield server


@pytest.fixture
async def client(page: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(page.base) as client:
        yield client


async def test_the_page_and_its_headers(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ui/")
    assert (answer.status_code, answer.content) == (200, INDEX)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-opener-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["vary"].lower() == "accept-encoding"


@pytest.mark.parametrize("path", ["/ui/", "/ui/icon.svg"])
async def test_the_policy_lets_nothing_in_from_elsewhere(client: httpx.AsyncClient, path: str) -> None:
    policy = (await client.get(path)).headers["content-security-policy"]
    assert {name: rest for name, _, rest in (part.partition(" ") for part in policy.split("; "))} == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "'self' data:",
        "frame-ancestors": "'none'",
        "form-action": "'none'",
        "base-uri": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "chorus-html",
    }


def test_the_page_itself_keeps_to_the_policy() -> None:
    text = INDEX.decode()
    assert re.findall(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\sstyle=|\son\w+=", text) == []
    assert re.findall(r'(?:src|href)="(?:[a-z]+:|/)[^"]*"', text) == [], "all of its addresses are relative"


@pytest.mark.parametrize("path", ["/ui", "/%75i"])
async def test_without_the_slash_it_leads_there(page: Running, path: str) -> None:
    async with Peer(page.base) as peer:
        await peer.send(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
        answer = (await peer.until_closed())[0]
    assert (answer.status, answer.headers["location"]) == (307, "ui/"), "relative, for a proxy that has a prefix"


@pytest.mark.parametrize("path", ["//ui/", "/ui//"])
async def test_slashes_too_many_are_no_loop(page: Running, path: str) -> None:
    async with Peer(page.base) as peer:
        await peer.send(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
        answer = (await peer.until_closed())[0]
    assert answer.status == 200
    assert b"<!doctype html>" in answer.body


async def test_every_file_is_served_with_a_type_of_its_own(client: httpx.AsyncClient) -> None:
    assert "index.html" in NAMES
    types = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "html": "text/html"}
    for name in NAMES:
        answer = await client.get(f"/ui/{name}")
        assert (answer.status_code, answer.content) == (200, (STATIC / name).read_bytes()), name
        assert answer.headers["content-type"].startswith(types[name.rpartition(".")[2]]), name


@pytest.mark.parametrize(
    "path",
    [
        "/ui/none.js",
        "/ui/lib",
        "/ui/lib/",
        "/ui/./index.html",
        "/ui/../page.py",
        "/ui/../../app.py",
        "/ui/%2e%2e/page.py",
        "/ui/..%2fpage.py",
        "/ui/%2e%2e%2fpage.py",
        "/ui/%252e%252e%252fpage.py",
        "/ui/..%5cpage.py",
        "/ui/..%c0%afpage.py",
        "/ui/%2fetc/passwd",
        "/ui//etc/passwd",
        "/ui/etc/passwd",
        "/ui/index.html%00",
        "/ui/%00",
        "/ui/%ff",
        "/ui/INDEX.HTML",
        "/ui/index.html.gz",
        "/ui/assets.py",
        "/ui/__init__.py",
        "/ui/" + "a/" * 1000,
        "/UI/",
        "/uix",
        "/ui.html",
    ],
)
async def test_nothing_else_is_there(page: Running, path: str) -> None:
    async with Peer(page.base) as peer:
        await peer.send(f"GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode())
        answer = (await peer.until_closed())[0]
    assert answer.status == 404
    error = json.loads(answer.body)["error"]
    assert error.keys() == {"message", "type", "param", "code", "request_id"}
    assert error["code"] == "not_found"


async def test_what_a_client_has_is_not_sent_again(client: httpx.AsyncClient) -> None:
    tag = (await client.get("/ui/")).headers["etag"]
    for sent in (tag, f"W/{tag}", f'"other", {tag}', f'"a,b" ,W/{tag}', "*"):
        for method in ("GET", "HEAD"):
            answer = await client.request(method, "/ui/", headers={"if-none-match": sent})
            assert (answer.status_code, answer.content) == (304, b""), sent
            assert answer.headers["etag"] == tag
            assert "content-security-policy" in answer.headers
    for sent in ('"other"', tag.strip('"'), "", '"*"'):
        assert (await client.get("/ui/", headers={"if-none-match": sent})).status_code == 200, sent


async def test_one_connection_goes_on_after_a_304_and_a_head(page: Running) -> None:
    async with httpx.AsyncClient(base_url=page.base, limits=httpx.Limits(max_connections=1)) as client:
        tag = (await client.get("/ui/")).headers["etag"]
        assert (await client.head("/ui/")).content == b""
        assert (await client.get("/ui/", headers={"if-none-match": tag})).status_code == 304
        assert (await client.get("/ui/")).content == INDEX


async def test_head_has_the_headers_of_get(client: httpx.AsyncClient) -> None:
    got, head = await client.get("/ui/"), await client.head("/ui/")
    own = {"date", "x-request-id"}
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in head.headers if name not in own} == {
        name: got.headers[name] for name in got.headers if name not in own
    }


async def test_gzip_for_those_who_take_it(client: httpx.AsyncClient) -> None:
    plain = await client.get("/ui/", headers={"accept-encoding": "identity"})
    packed = await client.get("/ui/", headers={"accept-encoding": "br, gzip"})
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content == INDEX
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    assert packed.headers["etag"] != plain.headers["etag"], "strong tags of different bytes differ"
    taken = {"accept-encoding": "gzip", "if-none-match": packed.headers["etag"]}
    assert (await client.get("/ui/", headers=taken)).status_code == 304


@pytest.mark.parametrize(
    ("accepted", "does"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("gzip; q=0", False),
        ("gzip;q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("*, gzip;q=0", False),
        ("gzip, *;q=0", True),
        ("identity", False),
        ("br", False),
        ("gzipped", False),
        ("gzip;q=", False),
        ("gzip;level=9", False),
        (",,gzip,,", True),
    ],
)
def test_who_takes_gzip(accepted: str | None, does: bool) -> None:
    assert accepts_gzip(accepted) is does


def test_a_long_header_is_read_in_no_time() -> None:
    body = Body(b"", '"a"')
    assert not has_current('"' * 60_001, body)
    assert not accepts_gzip("gzip;" * 12_000)


def test_files_that_gzip_would_enlarge_stay_as_they_are() -> None:
    for name, asset in read_assets().items():
        if asset.compressed is not None:
            assert len(asset.compressed.data) < len(asset.plain.data), name
            assert gzip.decompress(asset.compressed.data) == asset.plain.data


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
async def test_it_is_only_read(client: httpx.AsyncClient, method: str) -> None:
    for path in ("/ui", "/ui/", "/ui/index.html"):
        answer = await client.request(method, path)
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET"


@pytest.mark.parametrize("host", ["evil.example.com", "rebound.example:11435"])
async def test_another_host_gets_no_page(client: httpx.AsyncClient, host: str) -> None:
    for path in ("/ui", "/ui/", "/ui/index.html"):
        answer = await client.get(path, headers={"host": host})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "forbidden_host"


async def test_a_page_of_elsewhere_does_not_read_it(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ui/", headers={"origin": "https://evil.example.com"})
    assert answer.status_code == 403
    assert (await client.get("/ui/", headers={"origin": str(client.base_url).rstrip("/")})).status_code == 200


async def test_it_can_be_switched_off() -> None:
    with running(f"[server]\nui = false\n{MODEL}") as server:
        async with connected(server.base) as client:
            for path in ("/ui", "/ui/", "/ui/index.html"):
                assert (await client.get(path)).status_code == 404
            assert (await client.get("/v1/models")).status_code == 200


async def test_the_document_of_the_api_says_nothing_of_it(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert [path for path in paths if path.startswith("/ui")] == []
