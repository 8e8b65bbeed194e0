"""Every route that would use the store, while a Redis is away, hangs, or is full (M2).

What can be answered without the store is answered, with a warning, a metric and a mark in the
trace; what cannot is a 503 that says when to try again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from tests.kit import Say, ScriptedUpstream
from tests.kit.programs import RedisServer
from tests.server.running import running

pytestmark = [pytest.mark.requirement("M2"), pytest.mark.slow]

CONFIG: Final = """
[storage]
url = "{url}"
[[model]]
name = "glm"
provider = "openai"
api_base = "{base}/v1"
"""
CHAT: Final[dict[str, Any]] = {"model": "glm", "messages": [{"role": "user", "content": "Hello"}]}
RESPOND: Final[dict[str, Any]] = {"model": "glm", "input": "Hello"}
ANN: Final = {"x-user-id": "ann"}
NEVER: Final = "0" * 24
AWAY: Final = "The storage is away"
UNREAD: Final = "The notes on the user could not be read"


unreadable = pytest.mark.parametrize("served", ["away", "hangs"], indirect=True)
"""A store that is full can be read."""


@dataclass
class Served:
    """A server whose store fails, and what it kept before that."""

    client: httpx.Client
    fault: str
    response: str
    session: str
    item: str
    output: str
    trace: str

    def filled(self, value: Any) -> Any:
        """`value` with the ids of what was kept."""
        if isinstance(value, dict):
            return {name: self.filled(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self.filled(inner) for inner in value]
        if not isinstance(value, str):
            return value
        for name in ("response", "session", "item", "output", "trace"):
            value = value.replace(f"<{name}>", getattr(self, name))
        return value

    def count(self, kind: str) -> float:
        """The metric of this kind of record."""
        line = f'storage_unavailable_total{{kind="{kind}"}} '
        text = self.client.get("/metrics").text
        return next((float(row.removeprefix(line)) for row in text.splitlines() if row.startswith(line)), 0.0)


@pytest.fixture(scope="module", params=["away", "hangs", "full"])
def served(request: pytest.FixtureRequest, upstream: ScriptedUpstream) -> Iterator[Served]:
    upstream.on("glm", Say("Hello"))
    with RedisServer() as redis, running(CONFIG.format(url=redis.url, base=upstream.base)) as server:
        with httpx.Client(base_url=server.base, trust_env=False, timeout=30) as client:
            made = client.post("/v1/responses", json=RESPOND)
            session = client.post("/v1/chat/completions", json={**CHAT, "session": True}).json()["session_id"]
            items = client.get(f"/v1/conversations/{session}/items").json()
            assert client.put("/api/v1/memory", json={"notes": {"name": "Ann"}}, headers=ANN).status_code == 200
            trace = made.headers["x-chorus-workflow-id"]
            output = made.json()["output"][0]["id"]
            client.get("/api/v1/usage")
            {"away": redis.stop, "hangs": redis.hang, "full": redis.fill}[request.param]()
            yield Served(client, request.param, made.json()["id"], session, items["first_id"], output, trace)
        if request.param == "hangs":
            redis.go_on()


def answered(served: Served, path: str, body: dict[str, Any], headers: dict[str, str]) -> httpx.Response:
    upstream_free = served.filled(body)
    response = served.client.post(path, json=upstream_free, headers=headers)
    assert response.status_code == 200, response.text
    assert "Hello" in response.text or body.get("background")
    return response


ANSWERED: Final[dict[str, tuple[str, dict[str, Any], dict[str, str], str]]] = {
    "session": ("/v1/chat/completions", {**CHAT, "session_id": "<session>"}, {}, "conversations"),
    "session by header": ("/v1/chat/completions", CHAT, {"x-session-id": "<session>"}, "conversations"),
    "new session": ("/v1/chat/completions", {**CHAT, "session": True}, {}, "conversations"),
    "session of Ollama": ("/api/chat", {**CHAT, "session_id": "<session>", "stream": False}, {}, "conversations"),
    "session of Anthropic": (
        "/v1/messages",
        {**CHAT, "max_tokens": 9, "session_id": "<session>"},
        {},
        "conversations",
    ),
    "response": ("/v1/responses", RESPOND, {}, "responses"),
    "previous response": ("/v1/responses", {**RESPOND, "previous_response_id": "<response>"}, {}, "responses"),
    "conversation": ("/v1/responses", {**RESPOND, "conversation": "<session>", "store": False}, {}, "conversations"),
    "background": ("/v1/responses", {**RESPOND, "background": True}, {}, "runs"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ANSWERED)
def test_what_can_do_without_it_is_answered(served: Served, name: str, stream: bool) -> None:
    path, body, headers, kind = ANSWERED[name]
    check_answered(served, path, {**body, "stream": stream}, headers, kind)


@unreadable
@pytest.mark.parametrize("stream", [False, True])
def test_what_can_do_without_notes_is_answered(served: Served, stream: bool) -> None:
    check_answered(served, "/v1/chat/completions", {**CHAT, "stream": stream}, ANN, "memory")


def check_answered(served: Served, path: str, body: dict[str, Any], headers: dict[str, str], kind: str) -> None:
    """The answer is there, with a warning, a mark in its trace and a metric."""
    before = served.count(kind)
    response = answered(served, path, body, served.filled(headers))
    id = response.headers["x-chorus-workflow-id"]
    deadline = time.monotonic() + 15
    # the mark of a background response comes at its end, that of a stream when its write has failed
    while True:
        trace = served.client.get(f"/api/v1/workflows/{id}")
        marks = [*trace.json().get("notes", ()), (trace.json().get("recall") or {}).get("error")]
        if any(marks) and served.count(kind) > before:
            break
        assert time.monotonic() < deadline, (trace.text, served.count(kind))
        time.sleep(0.05)
    # the status line of a stream has gone when its write fails
    if not (body["stream"] and served.fault == "full"):
        assert any(words in response.headers["x-chorus-warning"] for words in (AWAY, UNREAD))


def test_what_uses_nothing_of_it_says_nothing(served: Served) -> None:
    response = answered(served, "/v1/chat/completions", dict(CHAT), {})
    assert "x-chorus-warning" not in response.headers


def test_the_runs_of_this_process_are_read_listed_and_repeated(served: Served) -> None:
    assert served.client.get(f"/api/v1/workflows/{served.trace}").status_code == 200
    listed = served.client.get("/api/v1/workflows")
    assert served.trace in listed.text
    if served.fault != "full":
        assert AWAY in listed.headers["x-chorus-warning"]
        assert served.count("traces") >= 1
    again = served.client.post(f"/api/v1/workflows/{served.trace}/replay", json={"model": "glm"})
    assert again.json()["answers"] == ["Hello"]


RESULT: Final = {"type": "function_call_output", "call_id": "call_1", "output": "4"}
READS: Final[tuple[tuple[str, str, Any, str | None], ...]] = (
    ("GET", "/v1/responses/<response>", None, "responses"),
    ("GET", "/v1/responses/<response>/input_items", None, "responses"),
    ("GET", "/v1/conversations/<session>", None, "conversations"),
    ("GET", "/v1/conversations/<session>/items", None, "conversations"),
    ("GET", "/v1/conversations/<session>/items/<item>", None, "conversations"),
    ("GET", "/api/v1/sessions", None, "conversations"),
    ("GET", "/api/v1/sessions/<session>", None, "conversations"),
    ("DELETE", "/api/v1/sessions/<session>", None, "conversations"),
    ("GET", "/api/v1/memory", None, "memory"),
    ("GET", f"/api/v1/workflows/wf_{NEVER}", None, "traces"),
    ("POST", f"/api/v1/workflows/wf_{NEVER}/replay", {"model": "glm"}, "traces"),
    ("POST", "/v1/responses", {"model": "glm", "input": [{"type": "item_reference", "id": "<output>"}]}, None),
    ("POST", "/v1/responses", {"model": "glm", "input": [RESULT], "previous_response_id": "<response>"}, "responses"),
    ("DELETE", "/v1/responses/<response>", None, None),
    ("POST", "/v1/responses/<response>/cancel", None, "runs"),
    ("DELETE", "/v1/conversations/<session>/items/<item>", None, "conversations"),
    ("DELETE", "/v1/conversations/<session>", None, "conversations"),
    ("DELETE", "/api/v1/memory", None, "memory"),
    ("GET", "/v1/files", None, "files"),
    ("GET", f"/v1/files/file-{NEVER}", None, "files"),
    ("GET", "/v1/batches", None, "batches"),
    ("GET", f"/v1/batches/batch_{NEVER}", None, "batches"),
)
WRITES: Final[tuple[tuple[str, str, Any, str | None], ...]] = (
    ("POST", "/v1/conversations", {}, "conversations"),
    ("POST", "/v1/conversations/<session>", {"metadata": {"a": "b"}}, "conversations"),
    ("POST", "/v1/conversations/<session>/items", {"items": [{"role": "user", "content": "a"}]}, "conversations"),
    ("PUT", "/api/v1/memory", {"notes": {"a": "b"}}, "memory"),
    ("GET", "/api/v1/usage", None, "usage"),  # it writes what waits, so that the answer has it
)


@pytest.mark.parametrize(("method", "path", "body", "kind"), WRITES)
def test_what_writes_to_it_is_a_503_that_says_when_to_come_back(
    served: Served, method: str, path: str, body: Any, kind: str | None
) -> None:
    check_refused(served, method, path, body, kind)


@unreadable
@pytest.mark.parametrize(("method", "path", "body", "kind"), READS)
def test_what_reads_it_is_a_503_that_says_when_to_come_back(
    served: Served, method: str, path: str, body: Any, kind: str | None
) -> None:
    check_refused(served, method, path, body, kind)


def check_refused(served: Served, method: str, path: str, body: Any, kind: str | None) -> None:
    """The request is refused within 8 s, with the time to try again, and counted."""
    if kind == "usage":
        answered(served, "/v1/chat/completions", dict(CHAT), {})
    before = served.count(kind) if kind is not None else 0
    began = time.monotonic()
    response = served.client.request(method, served.filled(path), json=served.filled(body), headers=ANN)
    assert response.status_code == 503, response.text
    error = response.json()["error"]
    assert error["code"] == "storage_unavailable"
    assert error["message"].endswith(".")
    assert 1 <= int(response.headers["retry-after"]) <= 10
    assert time.monotonic() - began < 8
    if kind is not None:
        assert served.count(kind) > before


def test_a_store_that_hangs_delays_some_requests_and_not_all(served: Served) -> None:
    took = []
    for _ in range(20):
        began = time.monotonic()
        answered(served, "/v1/chat/completions", {**CHAT, "session_id": "<session>"}, ANN)
        took.append(time.monotonic() - began)
    assert sorted(took)[14] < 0.5, took
