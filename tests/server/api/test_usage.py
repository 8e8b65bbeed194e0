"""Every client's usage is counted, can be read, and is bounded by its key's budget (M6)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import pytest

from chorus.auth.budget import KeyBudget
from chorus.auth.keys import KeyFile, Role
from chorus.storage.records import UsageRow
from tests.accounting.keeping import Unreliable
from tests.kit import Cut, Hang, Say, ScriptedUpstream, ServerProcess, Status
from tests.kit.fixtures import connected
from tests.kit.programs import RedisServer
from tests.server.running import Running, running

pytestmark = pytest.mark.requirement("M6")

MODELS: Final = """
[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
price = {{ input = 1000000, output = 1000000 }}
[[model]]
name = "kimi"
api_base = "{base}/v1"
retries = 0
[workflow-integration]
workers = ["glm", {{ name = "inner", workers = ["glm", "kimi"], synthesizer = "kimi" }}]
synthesizer = "glm"
"""
"""A token of glm costs 1; kimi has no price."""
TURNS: Final = [{"role": "user", "content": "How?"}]
ASKING: Final[dict[str, dict[str, Any]]] = {
    "/v1/chat/completions": {"messages": TURNS},
    "/v1/completions": {"prompt": "How?"},
    "/v1/responses": {"input": "How?"},
    "/v1/messages": {"messages": TURNS, "max_tokens": 9},
    "/api/chat": {"messages": TURNS},
    "/api/generate": {"prompt": "How?"},
    "/v1/embeddings": {"input": "How?"},
    "/api/embed": {"input": "How?"},
}


@pytest.fixture
async def served(scripted: ScriptedUpstream) -> AsyncIterator[Running]:
    with running(MODELS.format(base=scripted.base)) as started:
        scripted.on("glm", Say("one two", usage=(6, 4))).on("kimi", Say("three", usage=(2, 1)))
        yield started


@pytest.fixture
async def client(served: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(served.base) as client:
        yield client


async def chat(client: httpx.AsyncClient, model: str = "glm", user: str = "", **more: Any) -> httpx.Response:
    headers = {"x-user-id": user} if user else {}
    return await client.post("/v1/chat/completions", json={"model": model, "messages": TURNS, **more}, headers=headers)


async def usage(client: httpx.AsyncClient, **query: str) -> list[dict[str, Any]]:
    response = await client.get("/api/v1/usage", params=query)
    assert response.status_code == 200, response.text
    rows: list[dict[str, Any]] = response.json()["data"]
    return rows


def row(**values: Any) -> dict[str, Any]:
    """A row of a report, zero and null where nothing is said."""
    nothing = dict.fromkeys(("key", "user", "model", "day"))
    return {
        **nothing,
        **dict.fromkeys(("requests", "calls", "prompt_tokens", "completion_tokens"), 0),
        "cost": 0.0,
        **values,
    }


def today() -> str:
    return datetime.now(UTC).date().isoformat()


@pytest.mark.parametrize("stream", [True, False])
async def test_a_request_is_counted_for_its_key_user_model_and_day(client: httpx.AsyncClient, stream: bool) -> None:
    before = today()
    for user in ("kim", "kim", ""):
        assert (await chat(client, user=user, stream=stream)).status_code == 200
    place = {"key": "local", "model": "glm", "day": before}
    one = {"requests": 1, "calls": 1, "prompt_tokens": 6, "completion_tokens": 4, "cost": 10.0}
    two = {name: 2 * count for name, count in one.items()}
    assert today() == before, "midnight has passed meanwhile"
    assert await usage(client) == [row(**place, user="", **one), row(**place, user="kim", **two)]
    assert await usage(client, group_by="user,model") == [
        row(user="", model="glm", **one),
        row(user="kim", model="glm", **two),
    ]


async def test_a_workflow_is_one_request_and_each_of_its_calls_once(client: httpx.AsyncClient) -> None:
    assert (await chat(client, "chorus")).status_code == 200
    assert await usage(client, group_by="model") == [
        row(model="chorus", requests=1),
        row(model="glm", calls=3, prompt_tokens=18, completion_tokens=12, cost=30.0),
        row(model="kimi", calls=2, prompt_tokens=4, completion_tokens=2),
    ]
    assert await usage(client, group_by="") == [
        row(requests=1, calls=5, prompt_tokens=22, completion_tokens=14, cost=30.0)
    ]


async def test_several_answers_are_one_request(client: httpx.AsyncClient) -> None:
    assert (await chat(client, n=3)).status_code == 200
    [total] = await usage(client, group_by="model")
    assert (total["requests"], total["calls"], total["cost"]) == (1, 3, 30.0)


@pytest.mark.parametrize("path", ASKING)
async def test_every_way_to_ask_is_counted(client: httpx.AsyncClient, path: str) -> None:
    response = await client.post(path, json={"model": "glm", **ASKING[path]}, headers={"x-user-id": "kim"})
    assert response.status_code == 200
    [total] = await usage(client, group_by="user,model")
    assert (total["user"], total["requests"], total["calls"]) == ("kim", 1, 1)
    assert total["cost"] == total["prompt_tokens"] + total["completion_tokens"] > 0


async def test_what_asks_no_model_is_not_counted(client: httpx.AsyncClient) -> None:
    assert (await chat(client, "none")).status_code == 404
    assert (await client.get("/v1/models")).status_code == 200
    assert await usage(client) == []


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/embeddings"])
async def test_a_request_that_fails_is_counted_with_what_it_used(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, path: str
) -> None:
    scripted.on("glm", Status(500))
    assert (await client.post(path, json={"model": "glm", **ASKING[path]})).status_code >= 500
    [total] = await usage(client, group_by="")
    assert (total["requests"], total["cost"]) == (1, 0.0)


async def test_a_stream_that_breaks_off_costs_what_was_used(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    scripted.on("glm", Cut(after_pieces=2))
    assert "error" in (await chat(client, stream=True)).text
    [total] = await usage(client, group_by="")
    assert (total["requests"], total["calls"]) == (1, 1)
    assert total["cost"] == total["prompt_tokens"] + total["completion_tokens"] > 0


async def test_a_stream_that_its_client_leaves_costs_what_was_used(
    client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    scripted.on("glm", Hang("body", pieces=2))
    body = {"model": "glm", "messages": TURNS, "stream": True}
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        async for line in response.aiter_lines():
            if "two" in line:
                break
    await scripted.wait_idle()
    with anyio.fail_after(5):  # the upstream knows before the run has ended
        while not (total := (await usage(client, group_by=""))[0])["calls"]:
            await anyio.lowlevel.checkpoint()
    assert (total["requests"], total["calls"]) == (1, 1)
    assert total["cost"] == total["prompt_tokens"] + total["completion_tokens"] > 0


async def test_a_range_of_days_includes_both_ends(client: httpx.AsyncClient, served: Running) -> None:
    days = [date(2026, 2, 27) + timedelta(days) for days in range(4)]
    rows = [UsageRow("local", "", "glm", day.isoformat(), 1) for day in days]
    await served.chorus.storage.usage.add(*rows)
    found = await usage(client, group_by="day", start="2026-02-28", end="2026-03-01")
    assert [row["day"] for row in found] == ["2026-02-28", "2026-03-01"]
    assert len(await usage(client, group_by="day", start="2026-02-28")) == 3
    assert len(await usage(client, group_by="day", end="2026-02-28")) == 2
    assert await usage(client, start="2026-04-01") == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("group_by=colour", "group_by"),
        ("group_by=key,colour", "group_by"),
        ("start=yesterday", "start"),
        ("start=", "start"),
        ("start=20261126", "start"),
        ("start=2026-W48-4", "start"),
        ("end=2026-02-30", "end"),
        ("end=2026-11-26T00:00:00Z", "end"),
        ("end=%D9%A2026-11-26", "end"),
        ("start=2026-11-27&end=2026-11-26", "end"),
    ],
)
async def test_a_parameter_out_of_range_is_named(client: httpx.AsyncClient, query: str, param: str) -> None:
    response = await client.get(f"/api/v1/usage?{query}")
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert param in error["message"]


async def test_an_answer_has_at_most_10000_rows(client: httpx.AsyncClient, served: Running) -> None:
    rows = [UsageRow("local", f"user {number}", "glm", "2026-11-26", 1) for number in range(10_001)]
    await served.chorus.storage.usage.add(*rows)
    refused = await client.get("/api/v1/usage")
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "group_by"
    assert await usage(client, group_by="model") == [row(model="glm", requests=10_001)]


async def test_requests_go_on_while_the_store_is_away(client: httpx.AsyncClient, served: Running) -> None:
    ledger = served.chorus.usage
    store = ledger.store = Unreliable(ledger.store)
    store.is_away = True
    assert (await chat(client)).status_code == 200
    refused = await client.get("/api/v1/usage")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage_unavailable")
    store.is_away = False
    assert (await usage(client, group_by=""))[0]["requests"] == 1


# --- with keys ---

KEYED: Final = '[server]\nrequire_auth = true\nkeys_file = "{keys}"\n'


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def keys(keys_file: Path) -> dict[str, tuple[str, str]]:
    """The text and the id of each key. A key with a budget is called by the path that it asks."""
    file = KeyFile(keys_file)
    roles: dict[str, tuple[Role, KeyBudget | None]] = {
        "ann": ("client", None),
        "ben": ("client", None),
        "root": ("admin", None),
        **dict.fromkeys(ASKING, ("client", KeyBudget(1, "month"))),
        "stream": ("client", KeyBudget(1, "day")),
        "background": ("client", KeyBudget(1, "week")),
    }
    made = {
        name: file.create(name, role=role, models=(), expires=None, budget=budget)
        for name, (role, budget) in roles.items()
    }
    return {name: (text, key.id) for name, (text, key) in made.items()}


@pytest.fixture(scope="module")
def guarded(keys_file: Path, keys: dict[str, tuple[str, str]], upstream: ScriptedUpstream) -> Iterator[ServerProcess]:
    with ServerProcess(KEYED.format(keys=keys_file) + MODELS.format(base=upstream.base)) as server:
        yield server


@pytest.fixture
async def clients(
    guarded: ServerProcess, keys: dict[str, tuple[str, str]], scripted: ScriptedUpstream
) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        opened = {name: await stack.enter_async_context(connected(guarded.base)) for name in keys}
        for name, client in opened.items():
            client.headers["authorization"] = f"Bearer {keys[name][0]}"
        yield opened


async def test_a_key_sees_its_own_usage_and_an_administrator_all(
    clients: dict[str, httpx.AsyncClient], keys: dict[str, tuple[str, str]]
) -> None:
    for name, times in (("ann", 2), ("ben", 1)):
        for _ in range(times):
            assert (await chat(clients[name], "kimi", user="kim")).status_code == 200
    seen = {
        name: {row["key"]: row["requests"] for row in await usage(clients[name], group_by="key")}
        for name in ("ann", "ben", "root")
    }
    ann, ben = keys["ann"][1], keys["ben"][1]
    assert seen["ann"] == {ann: 2}
    assert seen["ben"] == {ben: 1}
    assert (seen["root"][ann], seen["root"][ben]) == (2, 1)
    assert {row["user"] for row in await usage(clients["root"], group_by="user")} >= {"kim"}


async def test_usage_needs_a_key(guarded: ServerProcess) -> None:
    async with connected(guarded.base) as client:
        assert (await client.get("/api/v1/usage")).status_code == 401


@pytest.mark.parametrize("path", ASKING)
async def test_a_spent_budget_is_refused_before_a_model_is_asked(
    clients: dict[str, httpx.AsyncClient], scripted: ScriptedUpstream, path: str
) -> None:
    client, body = clients[path], {"model": "glm", **ASKING[path]}
    assert (await client.post(path, json=body)).status_code == 200
    asked = len(scripted.calls("glm"))
    refused = await client.post(path, json=body)
    assert refused.status_code == 429
    assert len(scripted.calls("glm")) == asked
    error = refused.json()
    shown = error if isinstance(error["error"], str) else error["error"]
    assert shown["code"] == "budget_exhausted"
    message = shown.get("message", shown.get("error"))
    now = datetime.now(UTC)
    renews = (now.date().replace(day=1) + timedelta(days=31)).replace(day=1)
    assert f"{renews:%A}, 1 {renews:%B %Y}" in message
    assert f"({renews.isoformat()})" in message
    left = datetime(renews.year, renews.month, 1, tzinfo=UTC) - now
    assert left.total_seconds() <= int(refused.headers["retry-after"]) <= left.total_seconds() + 5
    assert refused.headers["x-should-retry"] == "false"
    assert (await client.get("/v1/models")).status_code == 200
    [total] = await usage(client, group_by="")
    assert total["requests"] == 1


@pytest.mark.parametrize(
    ("name", "path", "more"),
    [
        ("stream", "/v1/chat/completions", {"messages": TURNS, "stream": True}),
        ("background", "/v1/responses", {"input": "How?", "background": True}),
    ],
)
async def test_a_budget_holds_for_streams_and_in_the_background(
    clients: dict[str, httpx.AsyncClient], name: str, path: str, more: dict[str, Any]
) -> None:
    client, body = clients[name], {"model": "glm", **more}
    first = await client.post(path, json=body)
    assert first.status_code == 200
    if name == "background":
        await client.get(f"/v1/responses/{first.json()['id']}", params={"stream": "true"})
    refused = await client.post(path, json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exhausted")


async def test_servers_on_one_file_share_a_budget(
    tmp_path: Path, keys_file: Path, keys: dict[str, tuple[str, str]], scripted: ScriptedUpstream
) -> None:
    config = KEYED.format(keys=keys_file) + MODELS.format(base=scripted.base)
    config += f'[storage]\nurl = "sqlite:///{tmp_path}/chorus.db"\n'
    with ServerProcess(config) as one, ServerProcess(config) as two:
        async with connected(one.base) as here, connected(two.base) as there:
            for client in (here, there):
                client.headers["authorization"] = f"Bearer {keys['stream'][0]}"
            assert (await chat(here, stream=True)).status_code == 200
            with anyio.fail_after(10):  # the first server writes within a second
                while not await usage(there):
                    await anyio.lowlevel.checkpoint()
            refused = await chat(there)
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exhausted")
        assert one.stop() == 0
    with ServerProcess(config) as again:
        async with connected(again.base) as client:
            client.headers["authorization"] = f"Bearer {keys['stream'][0]}"
            assert (await chat(client)).status_code == 429


@pytest.mark.parametrize("stream", [False, True])
async def test_a_budget_that_is_checked_without_the_store_is_a_warning_and_a_note(
    tmp_path: Path, upstream: ScriptedUpstream, stream: bool
) -> None:
    upstream.on("glm", Say("Hello"))
    text, _ = KeyFile(tmp_path / "keys.json").create(
        "ann", role="admin", models=(), expires=None, budget=KeyBudget(1, "month")
    )
    away = f'[storage]\nurl = "{RedisServer().url}"\n'
    with ServerProcess(KEYED.format(keys=tmp_path / "keys.json") + away + MODELS.format(base=upstream.base)) as server:
        async with connected(server.base) as client:
            client.headers["authorization"] = f"Bearer {text}"
            body = {"model": "glm", "messages": TURNS, "stream": stream}
            response = await client.post("/v1/chat/completions", json=body)
            assert response.status_code == 200
            sentence = "The storage is away: the budget of this key is checked by what this server knows."
            assert sentence in response.headers["x-chorus-warning"]
            trace = await client.get(f"/api/v1/workflows/{response.headers['x-chorus-workflow-id']}")
            assert trace.json()["notes"] == [sentence]
            assert 'storage_unavailable_total{kind="budget"} 1.0' in (await client.get("/metrics")).text
