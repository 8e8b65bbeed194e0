"""Every status that a request can end with, in the shape that its client reads (A5, L3, S2).

What the parser and the edge refuse is in test_middleware.py, what is wrong with a body in
test_bodies.py, 499 and 503 in tests/faults.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from chorus.server.http.connections import Bounds
from tests.kit import Cut, Empty, ErrorInStream, Hang, Raw, Say, ScriptedUpstream, Status, free_port
from tests.kit.fixtures import connected
from tests.kit.peer import Peer
from tests.server.running import Running, running

CHAT = "/v1/chat/completions"
USER = {"role": "user", "content": "How?"}
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [USER]},
    "/v1/completions": {"prompt": "How?"},
    "/v1/responses": {"input": "How?"},
    "/v1/messages": {"messages": [USER], "max_tokens": 9},
    "/api/chat": {"messages": [USER]},
    "/api/generate": {"prompt": "How?"},
}
every_dialect = pytest.mark.parametrize("path", BODIES)
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])

CONFIG = """
[timeouts]
first_byte_timeout_secs = 0.6
idle_timeout_secs = 0.6

[workflow]
[workflow.timeouts]
worker_timeout_secs = 0.6  # a busy machine may well take half of it for an answer that comes at once

[workflow.domains."localhost"]
total_timeout_secs = 0.2
worker_timeout_secs = 30

[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
api_key = "sk-planted-0123456789abcdef"

[[model]]
name = "kimi"
api_base = "{base}/v1"
retries = 0

[[model]]
name = "short"
api_base = "http://localhost:{port}/v1"
retries = 0

[[model]]
name = "nobody"
api_base = "http://127.0.0.1:{closed}/v1"
retries = 0

[workflow-integration]
json = '''{{"workers": ["glm", "kimi"], "synthesizer": "glm"}}'''
"""


@pytest.fixture(scope="module")
def served(upstream: ScriptedUpstream) -> Iterator[Running]:
    with running(CONFIG.format(base=upstream.base, port=upstream.port, closed=free_port())) as server:
        yield server


@pytest.fixture
async def client(served: Running, scripted: ScriptedUpstream) -> Any:
    async with connected(served.base) as client:
        yield client


def check_shape(path: str, response: httpx.Response, code: str) -> str:
    """The message of an error that has its dialect's shape, its id and nothing that must stay
    inside.
    """
    assert response.headers["content-type"].startswith("application/json")
    body = response.json()
    request_id = response.headers["x-request-id"]
    if path.startswith("/api/"):
        assert body["code"] == code
        assert body["request_id"] == request_id
        message = body["error"]
        with pytest.raises(json.JSONDecodeError):  # what ollama's Python client does with it
            json.loads(message)
    else:
        error = body["error"]
        assert error.keys() >= {"message", "type", "param", "code", "request_id"}
        assert (error["code"], error["request_id"]) == (code, request_id)
        assert isinstance(error["type"], str)
        message = error["message"]
    assert "sk-planted" not in response.text
    assert "Traceback" not in response.text
    assert isinstance(message, str)
    return message


FAILURES = [
    (Status(400), 400, "upstream_refused"),
    (Status(401), 502, "upstream_status"),  # the client's own key is not to blame
    (Status(403), 502, "upstream_status"),
    (Status(404), 502, "upstream_status"),
    (Status(413), 400, "upstream_refused"),
    (Status(422), 400, "upstream_refused"),
    (Status(429), 429, "upstream_rate_limited"),
    (Status(500), 502, "upstream_status"),
    (Status(503), 502, "upstream_status"),
    (Status(500, "<html><h1>nginx</h1></html>"), 502, "upstream_status"),
    (Status(400, {"error": {"message": "key sk-planted-0123456789abcdef is bad"}}), 400, "upstream_refused"),
    (Status(200, "<html>a login page</html>"), 502, "upstream_protocol"),
    (Empty(), 502, "upstream_protocol"),
    (Cut(after_pieces=None), 502, "upstream_connect"),
    (ErrorInStream(after_pieces=0), 502, "upstream_error"),
    (Raw([b"data: {not json}\n\n"]), 502, "upstream_protocol"),
    (Hang("connect"), 504, "upstream_timeout"),
    (Hang("headers"), 504, "upstream_timeout"),
]


@every_dialect
@both_ways
@pytest.mark.parametrize(("behaviour", "status", "code"), FAILURES[:8], ids=str)
@pytest.mark.requirement("A5")
async def test_a_refusal_before_the_first_word_has_its_own_status_streamed_or_not(
    client: httpx.AsyncClient,
    scripted: ScriptedUpstream,
    path: str,
    stream: bool,
    behaviour: Status,
    status: int,
    code: str,
) -> None:
    scripted.on("glm", behaviour)
    response = await client.post(path, json={"model": "glm", "stream": stream, **BODIES[path]})
    assert response.status_code == status
    check_shape(path, response, code)


@both_ways
@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
@pytest.mark.parametrize(("behaviour", "status", "code"), FAILURES[8:], ids=str)
@pytest.mark.requirement("A5")
@pytest.mark.requirement("L3")
async def test_each_kind_of_failure_has_its_code(
    client: httpx.AsyncClient,
    scripted: ScriptedUpstream,
    path: str,
    stream: bool,
    behaviour: Any,
    status: int,
    code: str,
) -> None:
    scripted.on("glm", behaviour)
    response = await client.post(path, json={"model": "glm", "stream": stream, **BODIES[path]})
    assert response.status_code == status
    message = check_shape(path, response, code)
    assert "glm" in message
    assert message[0].isalpha()  # our own sentence leads, not the upstream's page or JSON


@every_dialect
@both_ways
@pytest.mark.requirement("A5")
async def test_nobody_there(client: httpx.AsyncClient, path: str, stream: bool) -> None:
    response = await client.post(path, json={"model": "nobody", "stream": stream, **BODIES[path]})
    assert response.status_code == 502
    check_shape(path, response, "upstream_connect")


@every_dialect
@both_ways
@pytest.mark.requirement("C7")
async def test_the_total_time_is_over(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str, stream: bool
) -> None:
    scripted.on("short", Hang("headers"))
    response = await client.post(path, json={"model": "short", "stream": stream, **BODIES[path]})
    assert response.status_code == 504
    check_shape(path, response, "deadline_exceeded")
    assert response.headers["x-should-retry"] == "false"


@every_dialect
@both_ways
@pytest.mark.requirement("W2")
async def test_no_worker_answered(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str, stream: bool
) -> None:
    scripted.on("glm", Status(500)).on("kimi", Status(429))
    response = await client.post(path, json={"model": "chorus", "stream": stream, **BODIES[path]})
    assert response.status_code == 502
    message = check_shape(path, response, "all_workers_failed")
    assert "glm: upstream_status" in message
    assert "kimi: upstream_rate_limited" in message
    assert response.headers["x-should-retry"] == "false"
    if not path.startswith("/api/"):
        workers = response.json()["error"]["workers"]
        assert [(worker["name"], worker["code"]) for worker in workers] == [
            ("glm", "upstream_status"),
            ("kimi", "upstream_rate_limited"),
        ]


@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
@pytest.mark.requirement("A5")
async def test_a_limit_names_its_time(client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str) -> None:
    for given, expected in (
        ("3", "3"),
        ("0.2", "1"),
        ("soon", None),
        ("1e300", "86400"),
        ("9" * 300, "86400"),
        ("-5", None),
        ("nan", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", "86400"),
        ("Thu, 01 Jan 1970 00:00:00 GMT", "1"),
    ):
        scripted.on("glm", Status(429, headers={"Retry-After": given}))
        response = await client.post(path, json={"model": "glm", **BODIES[path]})
        assert response.headers.get("retry-after") == expected
    for given, expected in (("1500", "2"), ("1e300", "86400"), ("9e99999", None), ("-1", "1")):
        scripted.on("glm", Status(429, headers={"Retry-After-Ms": given}))
        response = await client.post(path, json={"model": "glm", **BODIES[path]})
        assert response.headers.get("retry-after") == expected


@both_ways
@every_dialect
@pytest.mark.requirement("A5")
@pytest.mark.requirement("S2")
async def test_what_nobody_foresaw_is_500_with_an_id_and_no_internals(
    client: httpx.AsyncClient, served: Running, monkeypatch: pytest.MonkeyPatch, path: str, stream: bool
) -> None:
    def run(*_: Any, **__: Any) -> Any:
        raise RuntimeError("secret of the house in /etc/chorus")

    monkeypatch.setattr(served.chorus, "run", run)
    response = await client.post(path, json={"model": "glm", "stream": stream, **BODIES[path]})
    assert response.status_code == 500
    check_shape(path, response, "internal_error")
    assert "secret" not in response.text
    assert "RuntimeError" not in response.text


@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
@pytest.mark.requirement("A5")
async def test_a_body_that_does_not_come_is_408(upstream: ScriptedUpstream, path: str) -> None:
    config = CONFIG.format(base=upstream.base, port=upstream.port, closed=free_port())
    with running(config, bounds=Bounds(request_secs=0.05)) as impatient:
        async with Peer(impatient.base) as peer:
            await peer.send(f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 20\r\n\r\n{{".encode())
            (answer,) = await peer.until_closed()
    response = httpx.Response(answer.status, headers=answer.headers, content=answer.body)
    assert response.status_code == 408
    assert "0.05 s" in check_shape(path, response, "request_timeout")
    assert response.headers["x-request-id"].startswith("req_")


@every_dialect
@pytest.mark.requirement("A5")
async def test_the_trace_of_a_failed_run_comes_with_its_error(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    scripted.on("glm", Status(500)).on("kimi", Status(500))
    asked = {"model": "chorus", "stream": True, "include_workflow": True, **BODIES[path]}
    response = await client.post(path, json=asked)
    trace = response.json()["workflow"]
    assert trace["status"] == "failed"
    assert [worker["status"] for worker in trace["workers"]] == ["failed", "failed"]
    later = await client.get(f"/api/v1/workflows/{response.headers['x-chorus-workflow-id']}")
    assert later.json() == trace


@every_dialect
@pytest.mark.requirement("W2")
async def test_a_synthesizer_that_fails_before_its_first_word_is_no_error(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    """In one response: 200, a whole stream, and the answer of a worker."""
    scripted.on("glm", Say("the candidate"), Status(500)).on("kimi", Status(500))
    response = await client.post(path, json={"model": "chorus", "stream": True, **BODIES[path]})
    assert response.status_code == 200
    assert "candidate" in response.text
    assert not any(mark in response.text for mark in ('"error":{', '"error":"', "response.failed", "event: error"))
