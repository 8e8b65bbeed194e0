"""Ids, hosts, origins, methods, and requests that are no HTTP (A5, A7, S1, S3)."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlsplit

import httpx
import pytest

from tests.kit import ScriptedUpstream, ServerProcess

CHAT = "/v1/chat/completions"
GOOD = {"model": "glm", "messages": [{"role": "user", "content": "How?"}]}


async def raw(server: ServerProcess, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are; the response's status, headers and body."""
    place = urlsplit(server.base)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(data)
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode()
    status, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    writer.close()
    await writer.wait_closed()
    return int(status.split()[1]), headers, body


@pytest.mark.requirement("A7")
async def test_the_clients_own_request_id_comes_back(client: httpx.AsyncClient) -> None:
    response = await client.post(CHAT, json=GOOD, headers={"x-request-id": "my-id.7"})
    assert response.headers["x-request-id"] == "my-id.7"


@pytest.mark.parametrize("hostile", ["x" * 500, "a b", "<script>", 'a"b', "\xe6\x97"])
@pytest.mark.requirement("A7")
async def test_a_hostile_request_id_is_replaced(client: httpx.AsyncClient, hostile: str) -> None:
    response = await client.get("/health", headers={"x-request-id": hostile.encode("latin-1")})
    assert response.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/v1/nowhere", 404),
        ("GET", "/api/nowhere", 404),
        ("GET", CHAT, 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/health", 405),
        ("GET", "/v1/models/none", 404),
        ("GET", "/api/v1/workflows/wf_none", 404),
        ("POST", "/api/pull", 501),
        ("DELETE", "/api/delete", 501),
    ],
)
@pytest.mark.requirement("A5")
async def test_every_response_has_an_id_and_errors_have_their_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    response = await client.request(method, path)
    assert response.status_code == status
    request_id = response.headers["x-request-id"]
    if status >= 400:
        body = response.json()
        ollama = path.startswith("/api/") and not path.startswith("/api/v1/")
        assert isinstance(body["error"], str if ollama else dict)
        assert (body if ollama else body["error"])["request_id"] == request_id
    if status == 405:
        assert response.headers["allow"]


@pytest.mark.parametrize("host", ["evil.example.com", "127.0.0.1.evil.com", "localhost.evil.com:11435", "10.0.0.1"])
@pytest.mark.requirement("S1")
async def test_a_rebound_name_is_refused(client: httpx.AsyncClient, host: str) -> None:
    response = await client.post(CHAT, json=GOOD, headers={"host": host})
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "forbidden_host"


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:1", "[::1]:11435", "LOCALHOST:80", "chorus.lan", "a.localhost"]
)
@pytest.mark.requirement("S1")
async def test_loopback_and_listed_names_are_served(client: httpx.AsyncClient, host: str) -> None:
    assert (await client.get("/health", headers={"host": host})).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example.com", "null", "http://localhost.evil.com"])
@pytest.mark.requirement("A7")
async def test_a_page_of_another_origin_cannot_spend_the_users_keys(client: httpx.AsyncClient, origin: str) -> None:
    response = await client.post(
        CHAT, content=json.dumps(GOOD), headers={"origin": origin, "content-type": "text/plain"}
    )
    assert response.status_code == 403
    assert response.json()["error"]["code"] == "forbidden_origin"
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://app.example.com", "app://obsidian.md"])
@pytest.mark.requirement("A7")
async def test_local_and_listed_pages_are_welcome(client: httpx.AsyncClient, origin: str) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type, x-stainless-os"}
    preflight = await client.options(CHAT, headers={"origin": origin, **asked})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == origin
    assert "x-stainless-os" in preflight.headers["access-control-allow-headers"]
    response = await client.post(CHAT, json=GOOD, headers={"origin": origin})
    assert response.headers["access-control-allow-origin"] == origin
    assert "x-request-id" in response.headers["access-control-expose-headers"].lower()
    wrong = await client.post(CHAT, json={}, headers={"origin": origin})
    assert wrong.status_code == 400
    assert wrong.headers["access-control-allow-origin"] == origin


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"this is not http\r\n\r\n", 400),
        (
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            400,
        ),
        (b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nhost: localhost\r\n\r\n", 431),
    ],
)
@pytest.mark.requirement("S3")
async def test_what_the_parser_refuses_is_an_error_like_any_other(
    server: ServerProcess, data: bytes, status: int
) -> None:
    found, headers, body = await raw(server, data)
    assert found == status
    assert json.loads(body)["error"]["request_id"] == headers["x-request-id"]


HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"


@pytest.mark.parametrize(
    "data",
    [
        HEAD + b"content-length: 3\r\ncontent-length: 5\r\n\r\nabcde",
        HEAD + b"content-length: -3\r\n\r\n",
        HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc",
        HEAD + b"transfer-encoding : chunked\r\n\r\n",
        HEAD + b"transfer-encoding: gzip\r\n\r\n",
        HEAD + b"x-folded: a\r\n b\r\n\r\n",
        HEAD + b"x-null: a\0b\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"CONNECT evil.example.com:443 HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\nhost: localhost\n\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS spoken to a port without it
    ],
    ids=lambda data: str(data[-30:]),
)
@pytest.mark.requirement("S3")
async def test_ambiguous_requests_are_refused_and_the_connection_closed(server: ServerProcess, data: bytes) -> None:
    status, headers, body = await raw(server, data)
    assert status == 400
    assert headers["connection"] == "close"
    assert json.loads(body)["error"]["request_id"] == headers["x-request-id"]


@pytest.mark.parametrize("method", ["HEAD", "TRACE", "PROPFIND", "PATCH", "PUT", "DELETE", "GET"])
@pytest.mark.requirement("A5")
async def test_other_methods_are_405_and_say_which_are_not(client: httpx.AsyncClient, method: str) -> None:
    response = await client.request(method, CHAT)
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"
    assert response.headers["x-request-id"]
    asked = await client.options(CHAT)
    assert (asked.status_code, asked.headers["allow"]) == (204, "POST, OPTIONS")
    assert asked.headers["x-request-id"]


@pytest.mark.parametrize("path", [CHAT, "/api/chat", "/v1/messages"])
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.requirement("A7")
async def test_answers_carry_the_id_too(client: httpx.AsyncClient, path: str, stream: bool) -> None:
    body = {**GOOD, "stream": stream, "max_tokens": 9}
    response = await client.post(path, json=body, headers={"x-request-id": "mine-1"})
    assert response.headers["x-request-id"] == "mine-1"
    assert response.headers["x-chorus-workflow-id"].startswith("wf_")


@pytest.mark.requirement("A7")
async def test_ids_of_our_own_differ(client: httpx.AsyncClient) -> None:
    ids = {(await client.get("/health")).headers["x-request-id"] for _ in range(20)}
    assert len(ids) == 20


@pytest.mark.requirement("S1")
async def test_the_checks_come_before_the_work(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    for headers in ({"host": "evil.example.com"}, {"origin": "https://evil.example.com"}):
        response = await client.post(CHAT, json=GOOD, headers=headers)
        assert response.status_code == 403
    ollama = await client.post("/api/chat", json=GOOD, headers={"host": "evil.example.com"})
    assert isinstance(ollama.json()["error"], str)
    assert scripted.requests == []


@pytest.mark.requirement("A7")
async def test_a_foreign_page_gets_no_leave_from_a_preflight(client: httpx.AsyncClient) -> None:
    asked = {"origin": "https://evil.example.com", "access-control-request-method": "POST"}
    response = await client.options(CHAT, headers=asked)
    assert response.status_code == 400
    assert "access-control-allow-origin" not in response.headers
    assert response.headers["x-request-id"]


@pytest.mark.requirement("A7")
async def test_an_origin_that_is_no_address_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post(CHAT, json=GOOD, headers={"origin": "http://["})
    assert response.status_code == 403


@pytest.mark.requirement("A5")
async def test_an_offer_of_http2_is_ignored(server: ServerProcess, scripted: ScriptedUpstream) -> None:
    """Java's HttpClient makes it with every request in clear text (RFC 9110, 7.8: a server may
    ignore it).
    """
    body = json.dumps(GOOD).encode()
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
    status, _, _ = await raw(server, HEAD + offer + b"content-length: %d\r\n\r\n" % len(body) + body)
    assert status == 200


@pytest.mark.requirement("A5")
async def test_what_the_parser_refuses_on_ollamas_routes_is_a_string(server: ServerProcess) -> None:
    long = b"POST /api/chat HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"x" * 70_000 + b"\r\n\r\n"
    status, _, body = await raw(server, long)
    assert status == 431
    assert isinstance(json.loads(body)["error"], str)


@pytest.mark.requirement("A5")
async def test_headers_that_are_too_large_are_the_clients_fault(server: ServerProcess) -> None:
    _, _, body = await raw(server, HEAD + b"x-long: " + b"x" * 70_000 + b"\r\n\r\n")
    assert json.loads(body)["error"]["type"] == "invalid_request_error"
