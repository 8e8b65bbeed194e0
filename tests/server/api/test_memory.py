"""`/api/v1/memory`: notes on a user are written, read and deleted by hand (M4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from chorus.auth.keys import KeyFile
from chorus.errors import StorageUnavailable
from tests.kit import Say, ScriptedUpstream, ServerProcess
from tests.server.running import Running, running

pytestmark = pytest.mark.requirement("M4")

MEMORY: Final = "/api/v1/memory"
ANN: Final = {"x-user-id": "ann"}
MODEL: Final = """
[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
"""


@pytest.fixture
def server(upstream: ScriptedUpstream) -> Iterator[Running]:
    upstream.forget()
    upstream.on("glm", Say("Hello"))
    with running(MODEL.format(base=upstream.base)) as served:
        yield served


@pytest.fixture
async def memory(server: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.base, trust_env=False, headers=ANN) as client:
        yield client


async def put(client: httpx.AsyncClient, notes: Any, **headers: str) -> httpx.Response:
    return await client.put(MEMORY, json={"notes": notes}, headers=headers)


async def test_notes_are_merged_and_null_removes_one(memory: httpx.AsyncClient) -> None:
    assert (await put(memory, {"language": "German", "name": "Ann"})).json()["notes"] == {
        "language": "German",
        "name": "Ann",
    }
    await put(memory, {"language": "Chinese", "name": None})
    body = (await memory.get(MEMORY)).json()
    assert (body["user_id"], body["notes"]) == ("ann", {"language": "Chinese"})
    assert body["updated_at"].endswith("Z")


async def test_an_unknown_user_has_no_notes(memory: httpx.AsyncClient) -> None:
    nothing: dict[str, Any] = {"user_id": "ann", "notes": {}, "updated_at": None}
    assert (await memory.get(MEMORY)).json() == nothing
    assert (await memory.delete(MEMORY)).json() == nothing
    assert (await memory.delete(MEMORY, params={"key": "language"})).json() == nothing


async def test_one_note_or_all_are_deleted(memory: httpx.AsyncClient) -> None:
    await put(memory, {"a": "1", "b": "2", "c": "3"})
    assert (await memory.delete(MEMORY, params={"key": "a"})).json()["notes"] == {"b": "2", "c": "3"}
    assert (await memory.delete(MEMORY)).json()["notes"] == {}
    assert (await memory.get(MEMORY)).json()["notes"] == {}


async def test_users_have_notes_of_their_own(memory: httpx.AsyncClient) -> None:
    await put(memory, {"a": "1"})
    assert (await memory.get(MEMORY, headers={"x-user-id": "ben"})).json()["notes"] == {}
    name = "安"
    await put(memory, {"a": "2"}, **{"x-user-id": name.encode()})  # type: ignore[arg-type]
    body = (await memory.get(MEMORY, headers={b"x-user-id": name.encode()})).json()
    assert (body["user_id"], body["notes"]) == (name, {"a": "2"})


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "notes"), ({"notes": []}, "notes"), ({"notes": {"a": 1}}, "notes.a"), ({"notes": {"": "x"}}, "notes.")],
)
async def test_a_wrong_body_is_a_400_that_names_the_note(memory: httpx.AsyncClient, body: Any, param: str) -> None:
    reply = await memory.put(MEMORY, json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("user", ["", "x" * 257])
async def test_a_request_names_its_user(memory: httpx.AsyncClient, user: str) -> None:
    reply = await memory.get(MEMORY, headers={"x-user-id": user})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "X-User-ID")


async def test_an_empty_key_deletes_nothing(memory: httpx.AsyncClient) -> None:
    await put(memory, {"a": "1"})
    reply = await memory.delete(MEMORY, params={"key": ""})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "key")
    assert (await memory.get(MEMORY)).json()["notes"] == {"a": "1"}


async def test_a_store_that_is_away_is_a_503(server: Running, memory: httpx.AsyncClient) -> None:
    away(server)
    for reply in (await put(memory, {"a": "1"}), await memory.get(MEMORY), await memory.delete(MEMORY)):
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "storage_unavailable")


async def test_the_same_user_under_another_key_is_another_user(tmp_path: Path, upstream: ScriptedUpstream) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    texts = [keys.create(name, role="client", models=(), expires=None)[0] for name in ("one", "two")]
    config = (
        f'[server]\nrequire_auth = true\nkeys_file = "{tmp_path / "keys.json"}"\n{MODEL.format(base=upstream.base)}'
    )
    with ServerProcess(config) as server:
        async with httpx.AsyncClient(base_url=server.base, trust_env=False, headers=ANN) as client:
            one, two = ({"authorization": f"Bearer {text}"} for text in texts)
            await client.put(MEMORY, json={"notes": {"a": "1"}}, headers=one)
            assert (await client.get(MEMORY, headers=one)).json()["notes"] == {"a": "1"}
            assert (await client.get(MEMORY, headers=two)).json()["notes"] == {}
            assert (await client.get(MEMORY)).status_code == 401


class _Away:
    """Profiles of a store that is away."""

    async def get(self, *_: object) -> None:
        raise StorageUnavailable("The store is away.")

    update = delete = get


def away(server: Running) -> None:
    """Let the server's store of profiles be away."""
    server.chorus.storage.profiles = _Away()  # type: ignore[assignment]


async def test_a_page_of_a_known_origin_may_change_notes(memory: httpx.AsyncClient) -> None:
    asked = {"origin": "http://localhost:3000", "access-control-request-method": "PUT"}
    reply = await memory.options(MEMORY, headers={**asked, "access-control-request-headers": "x-user-id"})
    assert reply.status_code == 200
    assert "PUT" in reply.headers["access-control-allow-methods"]
