"""Sessions with clients that are unlucky or mean (M3): tools and images across turns, deletion in
mid-exchange, many requests at once, fields that contradict each other."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import httpx
import pytest

from tests.kit import Cut, Gate, Recorded, Say, ScriptedUpstream
from tests.kit.fixtures import connected
from tests.server.api.test_sessions import BODIES, CHAT, SMALL, asking, begun, items_of, last_event, received
from tests.server.running import running

pytestmark = pytest.mark.requirement("M3")

RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
OLLAMA = "/api/chat"
PIXEL = "iVBORw0KGgo="
PARAMETERS = {"type": "object", "properties": {"at": {"type": "string"}}}
NESTED = [{"type": "function", "function": {"name": "look", "parameters": PARAMETERS}}]
TOOLS: dict[str, Any] = {
    CHAT: NESTED,
    RESPONSES: [{"type": "function", "name": "look", "parameters": PARAMETERS, "strict": False}],
    MESSAGES: [{"name": "look", "input_schema": PARAMETERS}],
    OLLAMA: NESTED,
}
RESULTS: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "tool", "tool_call_id": "call_2", "content": "a bird"}]},
    RESPONSES: {"input": [{"type": "function_call_output", "call_id": "call_2", "output": "a bird"}]},
    MESSAGES: {
        "messages": [
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_2", "content": "a bird"}]}
        ]
    },
    OLLAMA: {"messages": [{"role": "tool", "tool_name": "look", "content": "a bird"}]},
}
"""The second turn of a call: Ollama's clients know no ids."""


def calling(*numbers: int) -> Say:
    calls = [{"id": f"call_{number}", "name": "look", "arguments": '{"at": "it"}'} for number in numbers]
    return Say(tool_calls=calls, finish="tool_calls")


@pytest.mark.parametrize("path", RESULTS)
@pytest.mark.parametrize("stream", [False, True])
async def test_the_result_of_a_tool_comes_in_the_next_request(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str, stream: bool
) -> None:
    scripted.on("glm", calling(1), Say("There."), calling(2), Say("There again."))
    tools = TOOLS[path]
    first = await client.post(path, json=asking(path, "Look!", session=True, tools=tools))
    session = first.headers["x-session-id"]
    result = {"role": "tool", "tool_call_id": "call_1", "content": "a tree"}
    await client.post(CHAT, json=asking(CHAT, "", messages=[result], session_id=session))
    await client.post(path, json=asking(path, "Look again!", session_id=session, tools=tools))
    body = {"model": "glm", "max_tokens": 100, "stream": stream, **RESULTS[path], "tools": tools, "session_id": session}
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text
    assert last_event(response.text)["session_id"] == session
    messages = scripted.calls("glm")[-1].messages
    roles = [message["role"] for message in messages]
    assert roles == ["user", "assistant", "tool", "assistant", "user", "assistant", "tool"]
    assert messages[-2]["tool_calls"][0]["id"] == messages[-1]["tool_call_id"] == "call_2"
    assert messages[-1]["content"] == "a bird"
    kinds = [item["type"] for item in await items_of(client, session)]
    assert kinds == ["message", "function_call", "function_call_output", "message"] * 2


async def test_results_without_ids_go_to_the_calls_of_their_names(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    calls = [{"id": f"id of {name}", "name": name, "arguments": "{}"} for name in ("look", "hear")]
    scripted.on("glm", Say(tool_calls=calls, finish="tool_calls"), Say("Both."))
    session = await begun(client, "Look and hear!", tools=NESTED)
    results = [{"role": "tool", "tool_name": name, "content": f"{name}s well"} for name in ("hear", "look")]
    body = {"model": "glm", "stream": False, "messages": results, "session_id": session}
    assert (await client.post(OLLAMA, json=body)).status_code == 200
    returned = [(message["tool_call_id"], message["content"]) for message in scripted.calls("glm")[-1].messages[2:]]
    assert returned == [("id of hear", "hears well"), ("id of look", "looks well")]


async def test_a_result_of_no_call_is_still_refused(client: httpx.AsyncClient) -> None:
    session = await begun(client)
    body = {"model": "glm", "messages": [{"role": "tool", "tool_name": "look", "content": "a bird"}]}
    response = await client.post(OLLAMA, json={**body, "session_id": session})
    assert (response.status_code, len(await items_of(client, session))) == (400, 2)


@pytest.mark.parametrize("path", BODIES)
async def test_an_image_is_seen_in_later_turns(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    session = await begun(
        client, messages=[{"role": "user", "content": [{"type": "text", "text": "What is it?"}, image]}]
    )
    assert (await client.post(path, json=asking(path, "And?", session_id=session))).status_code == 200
    text, seen = scripted.calls("glm")[-1].messages[0]["content"]
    assert (text["text"], seen["image_url"]["url"]) == ("What is it?", image["image_url"]["url"])


async def test_reasoning_is_kept_apart_from_the_answer(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("Four.", reasoning="Two and two."), Say("Five."))
    session = await begun(client, "2 + 2?")
    asked, reasoned, answered = await items_of(client, session)
    assert [item["type"] for item in (asked, reasoned, answered)] == ["message", "reasoning", "message"]
    await client.post(MESSAGES, json=asking(MESSAGES, "2 + 3?", session_id=session))
    assert received(scripted) == [("user", "2 + 2?"), ("assistant", "Four."), ("user", "2 + 3?")]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("route", ["/v1/conversations", "/api/v1/sessions"])
async def test_a_session_that_is_deleted_in_mid_exchange_stays_deleted(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, route: str, stream: bool
) -> None:
    session = await begun(client)
    gate = Gate()
    scripted.on("glm", Say("one two three", gate=gate, gate_at=1))
    answers: list[httpx.Response] = []

    async def ask() -> None:
        answers.append(await client.post(CHAT, json=asking(CHAT, "Two?", session_id=session, stream=stream)))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await scripted.wait_requests(2, model="glm")
        assert (await client.delete(f"{route}/{session}")).json()["deleted"] is True
        gate.open()
    assert answers[0].status_code == 200
    assert "three" in answers[0].text
    for path in (f"/v1/conversations/{session}", f"/v1/conversations/{session}/items", f"/api/v1/sessions/{session}"):
        assert (await client.get(path)).status_code == 404
    assert (await client.post(CHAT, json=asking(CHAT, "Three?", session_id=session))).status_code == 404


async def test_twenty_requests_of_all_dialects_at_once_are_never_interleaved(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    session = await begun(client)

    def answer(request: Recorded) -> Say | Cut:
        number = int(request.last_user_text.split()[-1])
        if number % 7 == 3:
            return Cut(2, f"answer {number} breaks off")
        return Say(f"answer {number}", gap=0.002 * (number % 5))

    scripted.on("glm", answer)
    paths = [*BODIES]
    async with anyio.create_task_group() as group:
        for number in range(20):
            path = paths[number % len(paths)]
            body = asking(path, f"question {number}", session_id=session, stream=number % 3 > 0)
            group.start_soon(partial(client.post, path, json=body))
    items = (await items_of(client, session))[2:]
    assert [item["role"] for item in items] == ["user", "assistant"] * 20
    questions, answers = items[::2], items[1::2]
    numbers = [int(item["content"][0]["text"].split()[-1]) for item in questions]
    assert sorted(numbers) == [*range(20)]
    for number, item in zip(numbers, answers, strict=True):
        is_cut = number % 7 == 3
        assert item["status"] == ("incomplete" if is_cut else "completed")
        text = item["content"][0]["text"]
        assert text == f"answer {number}" or (is_cut and f"answer {number} ".startswith(text))
    assert (await client.get(f"/api/v1/sessions/{session}")).json()["turns"] == 21


@pytest.mark.parametrize("path", BODIES)
async def test_a_stream_that_breaks_off_names_its_session_at_its_end(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    scripted.on("glm", Cut(2, "one two three"))
    response = await client.post(path, json=asking(path, "One?", session=True, stream=True))
    session = response.headers["x-session-id"]
    assert last_event(response.text)["session_id"] == session
    assert [item["status"] for item in await items_of(client, session)] == ["completed", "incomplete"]


@pytest.mark.parametrize("path", BODIES)
async def test_session_false_begins_none_and_goes_to_no_upstream(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    response = await client.post(path, json=asking(path, "One?", session=False))
    assert response.status_code == 200
    assert "x-session-id" not in response.headers
    assert "session_id" not in response.json()
    assert "session" not in scripted.calls("glm")[-1].json


@pytest.mark.parametrize("named", ["conv_nope", "conv_", "conv_" + "f" * 5000, "conv_\u0000", "conv_好🙂"])
async def test_a_session_id_of_our_kind_that_names_none_is_404(client: httpx.AsyncClient, named: str) -> None:
    response = await client.post(CHAT, json=asking(CHAT, "One?", session_id=named))
    assert (response.status_code, response.json()["error"]["param"]) == (404, "session_id")


async def test_a_session_that_is_named_is_not_begun_anew(client: httpx.AsyncClient) -> None:
    session = await begun(client)
    user = {"X-User-ID": "nobody-begins"}
    for path, fields in ((CHAT, {"session_id": session}), (RESPONSES, {"conversation": session})):
        body = asking(path, "Two?", session=True, **fields)
        assert (await client.post(path, json=body)).headers["x-session-id"] == session
    assert len(await items_of(client, session)) == 6
    assert (await client.get("/api/v1/sessions", headers=user)).json() == {"data": []}


async def test_the_body_goes_before_the_header(client: httpx.AsyncClient) -> None:
    one, two = await begun(client), await begun(client)
    response = await client.post(CHAT, json=asking(CHAT, "Two?", session_id=one), headers={"X-Session-ID": two})
    assert response.headers["x-session-id"] == one
    assert (len(await items_of(client, one)), len(await items_of(client, two))) == (4, 2)


@pytest.mark.parametrize("by", ["session_id", "X-Session-ID", "conversation"])
async def test_a_session_and_a_previous_response_exclude_each_other(client: httpx.AsyncClient, by: str) -> None:
    first = await client.post(RESPONSES, json=asking(RESPONSES, "One?", session=True))
    session = first.headers["x-session-id"]
    body = asking(RESPONSES, "Two?", previous_response_id=first.json()["id"])
    headers = {by: session} if by == "X-Session-ID" else {}
    fields = {} if headers else {by: session}
    response = await client.post(RESPONSES, json={**body, **fields}, headers=headers)
    assert (response.status_code, response.json()["error"]["param"]) == (400, by)
    assert len(await items_of(client, session)) == 2


async def test_a_header_for_affinity_and_a_previous_response_go_together(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    first = await client.post(RESPONSES, json=asking(RESPONSES, "One?"))
    body = asking(RESPONSES, "Two?", previous_response_id=first.json()["id"])
    assert (await client.post(RESPONSES, json=body, headers={"X-Session-ID": "mine"})).status_code == 200
    assert [text for _, text in received(scripted)] == ["One?", "one two three", "Two?"]


async def test_calls_stay_with_their_results_where_the_window_is_small(scripted: ScriptedUpstream) -> None:
    with running(SMALL.format(base=scripted.base)) as server:
        async with connected(server.base) as client:
            scripted.on("glm", calling(1, 2), Say("There."))
            session = await begun(client, f"first {'word ' * 150}", tools=NESTED)
            results = [
                {"role": "tool", "tool_call_id": f"call_{number}", "content": "a bird " * 30} for number in (1, 2)
            ]
            response = await client.post(CHAT, json=asking(CHAT, "", messages=results, session_id=session))
            assert response.status_code == 200
            roles = [message["role"] for message in scripted.calls("glm")[-1].messages]
            assert roles == ["user", "assistant", "tool", "tool"]
            await client.post(CHAT, json=asking(CHAT, "second", session_id=session))
            assert received(scripted) == [("user", "second")]
            assert len(await items_of(client, session)) == 8


async def test_a_long_session_is_read_whole(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    session = (await client.post("/v1/conversations", json={})).json()["id"]
    texts = [f"text {number}" for number in range(410)]  # in three reads
    for first in range(0, len(texts), 20):
        items = [
            {"role": ("user", "assistant")[number % 2], "content": texts[number]}
            for number in range(first, min(first + 20, len(texts)))
        ]
        await client.post(f"/v1/conversations/{session}/items", json={"items": items})
    await client.post(CHAT, json=asking(CHAT, "And?", session_id=session))
    assert [text for _, text in received(scripted)] == [*texts, "And?"]
    assert len(await items_of(client, session)) == 412
