"""Sessions in every dialect (M3): begun, gone on with, trimmed, appended once, listed per user."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from chorus.errors import StorageUnavailable
from tests.kit import Cut, Gate, Say, ScriptedUpstream, ServerProcess
from tests.kit.fixtures import connected
from tests.server.running import Running, running

pytestmark = pytest.mark.requirement("M3")

BODIES: dict[str, Any] = {
    "/v1/chat/completions": lambda text: {"messages": [{"role": "user", "content": text}]},
    "/v1/responses": lambda text: {"input": text},
    "/v1/completions": lambda text: {"prompt": text},
    "/v1/messages": lambda text: {"max_tokens": 100, "messages": [{"role": "user", "content": text}]},
    "/api/chat": lambda text: {"messages": [{"role": "user", "content": text}]},
    "/api/generate": lambda text: {"prompt": text},
}
CHAT = "/v1/chat/completions"
UNKNOWN = f"conv_{0:048x}"


def asking(path: str, text: str, **fields: Any) -> dict[str, Any]:
    return {"model": "glm", "stream": False, **BODIES[path](text), **fields}


def received(scripted: ScriptedUpstream) -> list[tuple[str, str]]:
    """The messages that the upstream got last."""
    return [(message["role"], message["content"]) for message in scripted.calls("glm")[-1].messages]


def last_event(text: str) -> dict[str, Any]:
    """The last JSON line or data event of a stream."""
    lines = [line.removeprefix("data: ") for line in text.splitlines()]
    body: dict[str, Any] = json.loads([line for line in lines if line.startswith("{")][-1])
    return body


async def begun(client: httpx.AsyncClient, text: str = "One?", **fields: Any) -> str:
    response = await client.post(CHAT, json=asking(CHAT, text, session=True, **fields))
    return response.headers["x-session-id"]


async def items_of(client: httpx.AsyncClient, session: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await client.get(f"/api/v1/sessions/{session}")).json()["items"]
    return items


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_session_goes_on_in_every_dialect(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str, stream: bool
) -> None:
    scripted.on("glm", Say("I am one."), Say("I am two."), Say("I am three."))
    first = await client.post(path, json=asking(path, "One?", session=True, stream=stream))
    assert first.status_code == 200, first.text
    session = first.headers["x-session-id"]
    assert last_event(first.text)["session_id"] == session
    assert not {"session", "session_id"} & scripted.calls("glm")[-1].json.keys()
    second = await client.post(path, json=asking(path, "Two?", stream=stream), headers={"X-Session-ID": session})
    assert second.headers["x-session-id"] == last_event(second.text)["session_id"] == session
    assert received(scripted) == [("user", "One?"), ("assistant", "I am one."), ("user", "Two?")]
    await client.post(CHAT, json=asking(CHAT, "Three?", session_id=session))
    assert received(scripted)[3:] == [("assistant", "I am two."), ("user", "Three?")]
    assert not {"session", "session_id"} & scripted.calls("glm")[-1].json.keys()
    items = await items_of(client, session)
    assert [(item["type"], item["role"], item["status"]) for item in items] == [
        ("message", "user", "completed"),
        ("message", "assistant", "completed"),
    ] * 3


async def test_a_workflow_has_sessions_too(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    session = await begun(client, model="chorus")
    await client.post(CHAT, json=asking(CHAT, "Two?", model="chorus", session_id=session))
    assert [item["role"] for item in await items_of(client, session)] == ["user", "assistant"] * 2


@pytest.mark.parametrize("named", ["my-session", UNKNOWN])
async def test_a_header_that_names_no_conversation_is_affinity_only(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, named: str
) -> None:
    response = await client.post(CHAT, json=asking(CHAT, "One?"), headers={"X-Session-ID": named})
    assert response.status_code == 200
    assert "x-session-id" not in response.headers
    assert "session_id" not in response.json()
    assert received(scripted) == [("user", "One?")]
    assert ("names no conversation" in response.headers.get("x-chorus-warning", "")) == (named == UNKNOWN)


async def test_a_body_that_names_no_conversation_is_404(client: httpx.AsyncClient) -> None:
    response = await client.post(CHAT, json=asking(CHAT, "One?", session_id=UNKNOWN))
    assert (response.status_code, response.json()["error"]["param"]) == (404, "session_id")


@pytest.mark.parametrize("path", [CHAT, "/v1/responses"])
async def test_an_answer_that_is_cut_is_kept_and_marked(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    scripted.on("glm", Cut(2, "I am one."))
    response = await client.post(path, json=asking(path, "One?", session=True, stream=True))
    session = response.headers["x-session-id"]
    assert last_event(response.text)["session_id"] == session
    asked, answered = await items_of(client, session)
    assert (asked["role"], asked["status"]) == ("user", "completed")
    assert (answered["role"], answered["status"]) == ("assistant", "incomplete")
    assert answered["content"][0]["text"].startswith("I am")


async def test_a_request_that_fails_is_kept_and_marked(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    session = await begun(client)
    scripted.on("glm", Cut(None))
    failed = await client.post(CHAT, json=asking(CHAT, "Two?", session_id=session))
    assert failed.status_code == 502
    assert failed.headers["x-session-id"] == session
    assert [item["status"] for item in await items_of(client, session)] == ["completed"] * 3 + ["incomplete"]


async def test_the_exchange_of_a_client_that_leaves_is_kept(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    session = await begun(client)
    scripted.on("glm", Say("one two three", gate=Gate(), gate_at=2))
    body = asking(CHAT, "Two?", session_id=session, stream=True)
    async with client.stream("POST", CHAT, json=body) as response:
        async for line in response.aiter_lines():
            if "one" in line:
                break
    with anyio.fail_after(10):
        while len(items := await items_of(client, session)) < 4:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert items[-1]["status"] == "incomplete"
    assert items[-1]["content"][0]["text"].startswith("one")


async def test_a_tool_is_called_within_a_session(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    call = {"id": "call_1", "name": "look", "arguments": "{}"}
    scripted.on("glm", Say(tool_calls=[call], finish="tool_calls"), Say("There it is."))
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    session = await begun(client, "Look!", tools=tools)
    result = {"role": "tool", "tool_call_id": "call_1", "content": "a bird"}
    await client.post(CHAT, json=asking(CHAT, "", messages=[result], tools=tools, session_id=session))
    asked, called, returned = scripted.calls("glm")[-1].messages
    assert asked["content"] == "Look!"
    assert called["tool_calls"][0]["function"]["name"] == "look"
    assert (returned["role"], returned["content"]) == ("tool", "a bird")
    kinds = [item["type"] for item in await items_of(client, session)]
    assert kinds == ["message", "function_call", "function_call_output", "message"]


async def test_a_system_message_is_stored_once_and_holds_until_another_comes(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    def with_system(system: str, text: str) -> list[dict[str, str]]:
        return [{"role": "system", "content": system}, {"role": "user", "content": text}]

    session = await begun(client, messages=with_system("Be kind.", "One?"))
    await client.post(CHAT, json=asking(CHAT, "Two?", session_id=session))
    assert received(scripted)[0] == ("system", "Be kind.")
    await client.post(CHAT, json=asking(CHAT, "", messages=with_system("Be brief.", "Three?"), session_id=session))
    assert [content for role, content in received(scripted) if role == "system"] == ["Be brief."]
    roles = [item["role"] for item in await items_of(client, session)]
    assert roles == ["system", *["user", "assistant"] * 3]


async def test_exchanges_at_the_same_time_are_never_interleaved(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    session = await begun(client)
    scripted.on("glm", Say(lambda request: f"answer to {request.last_user_text}"))
    async with anyio.create_task_group() as group:
        for number in range(8):
            body = asking(CHAT, f"question {number}", session_id=session, stream=bool(number % 2))
            group.start_soon(lambda body: client.post(CHAT, json=body), body)
    texts = [item["content"][0]["text"] for item in await items_of(client, session)][2:]
    assert len(texts) == 16
    assert all(answer == f"answer to {question}" for question, answer in zip(texts[::2], texts[1::2], strict=True))


async def test_sessions_are_listed_read_and_deleted_per_user(client: httpx.AsyncClient) -> None:
    ann, bob = {"X-User-ID": "ann-of-sessions"}, {"X-User-ID": "bob-of-sessions"}
    body = asking(CHAT, "Which birds are there?", session=True)
    session = (await client.post(CHAT, json=body, headers=ann)).headers["x-session-id"]
    [listed] = (await client.get("/api/v1/sessions", headers=ann)).json()["data"]
    assert listed.keys() == {"id", "created_at", "updated_at", "title", "turns"}
    assert (listed["id"], listed["title"], listed["turns"]) == (session, "Which birds are there?", 1)
    assert (await client.get("/api/v1/sessions", headers=bob)).json() == {"data": []}
    for method in ("GET", "DELETE"):
        assert (await client.request(method, f"/api/v1/sessions/{session}", headers=bob)).status_code == 404
    assert (await client.post(CHAT, json=asking(CHAT, "And?", session_id=session), headers=bob)).status_code == 404
    assert (await client.get(f"/api/v1/sessions/{session}", headers=ann)).json()["turns"] == 1
    deleted = await client.delete(f"/api/v1/sessions/{session}", headers=ann)
    assert deleted.json() == {"id": session, "deleted": True}
    assert (await client.get(f"/api/v1/sessions/{session}", headers=ann)).status_code == 404
    assert (await client.get("/api/v1/sessions", headers=ann)).json() == {"data": []}


@pytest.mark.parametrize("limit", ["0", "1001", "x", ""])
async def test_a_limit_out_of_range_is_named(client: httpx.AsyncClient, limit: str) -> None:
    response = await client.get(f"/api/v1/sessions?limit={limit}")
    assert (response.status_code, response.json()["error"]["param"]) == (400, "limit")


SMALL = """
[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
context_window = 400
"""


@pytest.fixture
def small(scripted: ScriptedUpstream) -> Iterator[Running]:
    """A server whose model has a small context window."""
    with running(SMALL.format(base=scripted.base)) as server:
        yield server


async def test_whole_turns_are_dropped_where_the_window_is_too_small(
    small: Running, scripted: ScriptedUpstream
) -> None:
    async with connected(small.base) as client:
        session = await begun(client, f"first {'word ' * 200}")
        await client.post(CHAT, json=asking(CHAT, f"second {'word ' * 50}", session_id=session))
        response = await client.post(CHAT, json=asking(CHAT, "third", session_id=session))
        assert [content.split()[0] for _, content in received(scripted)] == ["second", "one", "third"]
        sentence = "The oldest turn of the conversation did not fit into the context window."
        assert response.headers["x-chorus-warning"] == sentence
        trace = await client.get(f"/api/v1/workflows/{response.headers['x-chorus-workflow-id']}")
        assert trace.json()["notes"] == [sentence]
        assert len(await items_of(client, session)) == 6


async def test_a_store_that_is_away_is_a_warning(small: Running, scripted: ScriptedUpstream) -> None:
    class Away:
        def __getattr__(self, name: str) -> Any:
            async def fail(*_: object, **__: object) -> None:
                raise StorageUnavailable("The store is away.")

            return fail

    async with connected(small.base) as client:
        session = await begun(client)
        small.chorus.storage.conversations = Away()  # type: ignore[assignment]
        for fields in ({"session_id": session}, {"session": True}):
            response = await client.post(CHAT, json=asking(CHAT, "Two?", **fields))
            assert response.status_code == 200
            assert "storage is away" in response.headers["x-chorus-warning"]
        assert received(scripted) == [("user", "Two?")]
        metrics = (await client.get("/metrics")).text
        assert 'storage_unavailable_total{kind="conversations"} 2.0' in metrics


async def test_a_session_outlives_its_server(scripted: ScriptedUpstream, tmp_path: Path) -> None:
    config = SMALL.format(base=scripted.base) + f'[storage]\nurl = "sqlite:///{tmp_path}/chorus.db"\n'
    with running(config) as server:
        async with connected(server.base) as client:
            session = await begun(client)
    with running(config) as server:
        async with connected(server.base) as client:
            await client.post(CHAT, json=asking(CHAT, "Two?", session_id=session))
            assert len(await items_of(client, session)) == 4
    assert [content for _, content in received(scripted)] == ["One?", "one two three", "Two?"]


async def test_a_request_that_is_refused_begins_no_session(server: ServerProcess, client: httpx.AsyncClient) -> None:
    user = {"X-User-ID": "refused"}
    body = asking(CHAT, "One?", session=True, temperature="hot")
    assert (await client.post(CHAT, json=body, headers=user)).status_code == 400
    assert (await client.get("/api/v1/sessions", headers=user)).json() == {"data": []}


async def test_the_notes_on_the_user_take_their_part_of_the_window(small: Running, scripted: ScriptedUpstream) -> None:
    async with connected(small.base) as client:
        client.headers["x-user-id"] = "ann"
        session = await begun(client, f"first {'word ' * 100}")
        await client.post(CHAT, json=asking(CHAT, "second", session_id=session))
        assert received(scripted)[0][1].startswith("first"), "there is room for it"
        await client.put("/api/v1/memory", json={"notes": {"style": "long " * 150}})
        response = await client.post(CHAT, json=asking(CHAT, "third", session_id=session))
        assert "did not fit" in response.headers["x-chorus-warning"]
        assert not any(content.startswith("first") for _, content in received(scripted))


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/v1/messages", "/api/chat"])
async def test_a_request_that_failed_and_is_sent_again_asks_its_question_once(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    session = await begun(client)
    scripted.on("glm", Cut(None))
    for _ in range(2):
        assert (await client.post(path, json=asking(path, "Two?", session_id=session))).status_code == 502
    scripted.on("glm", Say("one two three"))
    for text, asked in (("Two?", ["One?", "Two?"]), ("Three?", ["One?", "Two?", "Three?"])):
        scripted.forget()
        scripted.on("glm", Say("one two three"))
        assert (await client.post(path, json=asking(path, text, session_id=session))).status_code == 200
        assert [content for role, content in received(scripted) if role == "user"] == asked
    items = await items_of(client, session)
    assert len(items) == 10, "the conversation has every exchange"


@pytest.mark.requirement("D3")
@pytest.mark.parametrize("path", BODIES)
async def test_a_session_stays_with_the_replica_that_began_it(path: str) -> None:
    with ScriptedUpstream.in_thread() as one, ScriptedUpstream.in_thread() as two:
        places = f'"{one.api_base}", "{two.api_base}"'
        text = f'[[model]]\nname = "glm"\nprovider = "openai"\nreplicas = [{places}]\n[storage]\nurl = "memory:"\n'
        with running(text) as served:
            async with connected(served.base) as client:
                # odd: the replicas take turns, and the first turn would be another one's
                for _ in range(5):
                    before = len(one.calls("glm"))
                    first = await client.post(path, json=asking(path, "One?", session=True))
                    by_one = len(one.calls("glm")) > before
                    for _ in range(2):
                        before = len(one.calls("glm"))
                        again = asking(path, "Two?")
                        await client.post(path, json=again, headers={"X-Session-ID": first.headers["x-session-id"]})
                        assert (len(one.calls("glm")) > before) == by_one
