"""A server as its users run it: who has put a preference gets an answer that shows it, and nobody
else does (M4).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from chorus.auth.keys import KeyFile
from tests.kit import Recorded, Say, ScriptedUpstream, ServerProcess
from tests.server.api.test_sessions import BODIES, asking

pytestmark = pytest.mark.requirement("M4")

MEMORY = "/api/v1/memory"
CHAT = "/v1/chat/completions"
CONFIG = """
[server]
require_auth = true
keys_file = "{keys}"
[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
[workflow-integration]
workers = ["glm", "glm"]
synthesizer = "glm"
"""
USER = {"X-User-ID": "王小明"}
NOBODY = "I know of no language."


def shown(request: Recorded) -> Say:
    """A model that shows the preference that it reads in its prompt."""
    text = json.dumps(request.json, ensure_ascii=False).replace('\\"', '"')
    return Say("You prefer Chinese: 你好" if '"language": "Chinese"' in text else NOBODY)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("live") / "keys.json"
    texts = {
        name: KeyFile(path).create(name, role=role, models=(), expires=None)[0]
        for name, role in (("ann", "client"), ("ben", "client"), ("root", "admin"))
    }
    return {**texts, "file": str(path)}


@pytest.fixture(scope="module")
def live(keys: dict[str, str], upstream: ScriptedUpstream) -> Iterator[ServerProcess]:
    with ServerProcess(CONFIG.format(keys=keys["file"], base=upstream.base)) as server:
        yield server


@pytest.fixture
async def clients(
    live: ServerProcess, keys: dict[str, str], upstream: ScriptedUpstream
) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    upstream.on("glm", shown)
    async with AsyncExitStack() as stack:
        opened = {}
        for name in ("ann", "ben", "root"):
            headers = {"authorization": f"Bearer {keys[name]}"}
            client = httpx.AsyncClient(base_url=live.base, headers=headers, timeout=10, verify=False, trust_env=False)
            opened[name] = await stack.enter_async_context(client)
        put = await opened["ann"].put(MEMORY, json={"notes": {"language": "Chinese"}}, headers=encoded(USER))
        assert (put.status_code, put.json()["notes"]) == (200, {"language": "Chinese"})
        yield opened
        await opened["ann"].delete(MEMORY, headers=encoded(USER))


def encoded(headers: dict[str, str]) -> dict[bytes, bytes]:
    """Headers in UTF-8, as browsers' `fetch` does not send them and curl does."""
    return {name.encode(): value.encode() for name, value in headers.items()}


async def recalls(admin: httpx.AsyncClient, reply: httpx.Response) -> bool:
    trace = (await admin.get(f"/api/v1/workflows/{reply.headers['x-chorus-workflow-id']}")).json()
    return "recall" in trace


@pytest.mark.parametrize("model", ["glm", "chorus"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", BODIES)
async def test_the_answer_shows_the_preference_of_its_user_only(
    clients: dict[str, httpx.AsyncClient], path: str, stream: bool, model: str
) -> None:
    async def ask(name: str, headers: dict[str, str], **fields: Any) -> tuple[bool, bool]:
        body: dict[str, Any] = asking(path, "Which language?", model=model, stream=stream, **fields)
        reply = await clients[name].post(path, json=body, headers=encoded(headers))
        assert reply.status_code == 200, reply.text
        return ("Chinese" in reply.text, await recalls(clients["root"], reply))

    assert await ask("ann", USER) == (True, True)
    assert await ask("ann", {}) == (False, False)
    assert await ask("ann", {"X-User-ID": "王小红"}) == (False, True)
    assert await ask("ann", USER, memory=False) == (False, False)
    assert await ask("ann", {**USER, "X-Chorus-Memory": "off"}) == (False, False)
    assert await ask("ann", {**USER, "X-Chorus-Memory": "on"}) == (True, True)
    assert await ask("ben", USER) == (False, True), "the same name under another key is another user"


@pytest.mark.parametrize("off", ["OFF", "false", "0", "no"])
async def test_the_header_has_several_words_for_off(clients: dict[str, httpx.AsyncClient], off: str) -> None:
    headers = encoded({**USER, "X-Chorus-Memory": off})
    reply = await clients["ann"].post(CHAT, json=asking(CHAT, "Which language?"), headers=headers)
    assert reply.status_code == 200
    assert "Chinese" not in reply.text
    assert not await recalls(clients["root"], reply)


async def test_nobody_reads_or_changes_the_memory_of_another_key(clients: dict[str, httpx.AsyncClient]) -> None:
    for name in ("ben", "root"):
        found = await clients[name].get(MEMORY, headers=encoded(USER))
        assert found.json() == {"user_id": USER["X-User-ID"], "notes": {}, "updated_at": None}
        await clients[name].put(MEMORY, json={"notes": {"language": "Latin", "mood": "bad"}}, headers=encoded(USER))
        await clients[name].delete(MEMORY, headers=encoded(USER))
    mine = (await clients["ann"].get(MEMORY, headers=encoded(USER))).json()
    assert (mine["user_id"], mine["notes"]) == (USER["X-User-ID"], {"language": "Chinese"})


async def test_a_put_merges_null_removes_and_delete_forgets(clients: dict[str, httpx.AsyncClient]) -> None:
    ann, user = clients["ann"], {"X-User-ID": "merging"}

    async def put(notes: dict[str, str | None]) -> dict[str, str]:
        return dict((await ann.put(MEMORY, json={"notes": notes}, headers=user)).json()["notes"])

    assert await put({"a": "1", "b": "2"}) == {"a": "1", "b": "2"}
    assert await put({"b": "3", "c": "4"}) == {"a": "1", "b": "3", "c": "4"}
    assert await put({"a": None, "never": None}) == {"b": "3", "c": "4"}
    assert (await ann.delete(f"{MEMORY}?key=b", headers=user)).json()["notes"] == {"c": "4"}
    assert (await ann.delete(f"{MEMORY}?key=never", headers=user)).json()["notes"] == {"c": "4"}
    assert (await ann.delete(MEMORY, headers=user)).json() == {"user_id": "merging", "notes": {}, "updated_at": None}


async def test_what_is_recalled_is_no_part_of_the_session(
    clients: dict[str, httpx.AsyncClient], upstream: ScriptedUpstream
) -> None:
    ann, user = clients["ann"], encoded(USER)
    first = await ann.post(CHAT, json=asking(CHAT, "Which language?", session=True), headers=user)
    session = first.headers["x-session-id"]
    items = (await ann.get(f"/api/v1/sessions/{session}", headers=user)).json()["items"]
    assert [item["role"] for item in items] == ["user", "assistant"]
    await ann.post(CHAT, json=asking(CHAT, "And now?", session_id=session), headers=user)
    roles = [message["role"] for message in upstream.calls("glm")[-1].messages]
    assert roles == ["system", "user", "assistant", "user"]
    for headers in ({"X-User-ID": "somebody"}, {"X-User-ID": USER["X-User-ID"].upper() + "x"}):
        other = await ann.post(CHAT, json=asking(CHAT, "And now?", session_id=session), headers=encoded(headers))
        assert other.status_code == 404
