"""Feedback and what is learned of it: `/api/v1/feedback`, `/api/v1/learning`, and routes that
learn.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import msgspec
import pytest

from chorus import config as configuration
from chorus import learning
from chorus.auth.keys import KeyFile, Role
from chorus.errors import NotFound, StorageUnavailable
from chorus.learning import MAX_COMMENT, settings_of
from chorus.service import Chorus
from chorus.storage.records import Credit, Outcome
from chorus.telemetry.trace import workflow_details
from chorus.types import ChatRequest, Message
from tests.kit import ServerProcess

pytestmark = [pytest.mark.requirement("W9"), pytest.mark.requirement("M8")]
PATH: Final = "/api/v1/feedback"
LEARNING: Final = "/api/v1/learning"
NAMES: Final = ("abacus", "librarian", "scribe")
FLOWS: Final = (
    "".join(f'[[model]]\nname = "demo-{name}"\nprovider = "demo"\n' for name in (*NAMES, "judge"))
    + f"""
[workflows.learn]
route = "learned"
learning = {{ workers = 2, explore = 0.0 }}
workers = {[f"demo-{name}" for name in NAMES]}
selector = "demo-judge"
[workflows.all]
workers = {[f"demo-{name}" for name in NAMES]}
selector = "demo-judge"
"""
)
SUM: Final = "What is 2 + 2?"


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each client's key; `file` is where they are."""
    path = tmp_path_factory.mktemp("keys") / "keys.json"
    roles: dict[str, tuple[Role, tuple[str, ...]]] = {
        "ann": ("client", ()),
        "ben": ("client", ()),
        "root": ("admin", ()),
        "bound": ("client", ("chorus/all",)),
    }
    made = {name: KeyFile(path).create(name, role=role, models=m, expires=None)[0] for name, (role, m) in roles.items()}
    return {**made, "file": str(path)}


@pytest.fixture(scope="module")
def guarded(texts: dict[str, str]) -> Iterator[ServerProcess]:
    config = f'[server]\nrequire_auth = true\nkeys_file = "{texts["file"]}"\n[storage]\nurl = "memory:"\n{FLOWS}'
    with ServerProcess(config, env={"CHORUS_LOG": "error"}) as server:
        yield server


class Clients:
    """What each key's client does."""

    def __init__(self, http: httpx.Client, texts: dict[str, str]) -> None:
        self._http, self._texts = http, texts

    def request(self, key: str, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self._texts[key]}"}
        return self._http.request(method, path, headers=headers, **more)

    def ask(self, key: str, model: str = "chorus/learn") -> str:
        body = {"model": model, "messages": [{"role": "user", "content": SUM}]}
        return self.request(key, "POST", "/v1/chat/completions", json=body).headers["x-chorus-workflow-id"]

    def say(self, key: str, id: str, score: Any = 1, **more: Any) -> httpx.Response:
        return self.request(key, "POST", PATH, json={"workflow_id": id, "score": score, **more})

    def rows(self, key: str = "root") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.request(key, "GET", LEARNING).json()["data"]
        return rows

    def trace(self, id: str) -> dict[str, Any]:
        trace: dict[str, Any] = self.request("root", "GET", f"/api/v1/workflows/{id}").json()
        return trace


@pytest.fixture
def clients(guarded: ServerProcess, texts: dict[str, str]) -> Iterator[Clients]:
    with httpx.Client(base_url=guarded.base, timeout=30, trust_env=False) as http:
        made = Clients(http, texts)
        assert made.request("root", "DELETE", LEARNING).json() == {"workflow": None, "reset": True}
        yield made


def test_a_feedback_stands_in_the_trace_and_moves_the_posterior_of_the_winner(clients: Clients) -> None:
    id = clients.ask("ann")
    trace = clients.trace(id)
    assert "feedback" not in trace
    winner = trace["selector"]["selected_worker"]
    before = {row["worker"]: row for row in clients.rows()}
    said = clients.say("ann", id, 1, comment=" 很好 ")
    assert said.status_code == 200
    assert (said.json()["workflow_id"], said.json()["score"], said.json()["comment"]) == (id, 1.0, "很好")
    assert said.json()["learned"] == [{"task_type": "any", "worker": winner, "weight": 1.0}]
    [kept] = clients.trace(id)["feedback"]
    assert (kept["score"], kept["comment"]) == (1.0, "很好")
    after = {row["worker"]: row for row in clients.rows()}
    assert (after[winner]["feedback"], after[winner]["liked"]) == (1.0, 1.0)
    assert after[winner]["alpha"] > before[winner]["alpha"]
    assert {name: row for name, row in after.items() if name != winner} == {
        name: row for name, row in before.items() if name != winner
    }


def test_the_newest_feedback_of_a_key_on_a_run_holds(clients: Clients) -> None:
    id = clients.ask("ann")
    for score, comment in ((1, "good"), (0.5, "so so"), (0, None)):
        assert clients.say("ann", id, score, comment=comment).status_code == 200
    [kept] = clients.trace(id)["feedback"]
    assert (kept["score"], kept["comment"]) == (0.0, "")
    assert sum(row["feedback"] for row in clients.rows()) == 1.0
    assert sum(row["liked"] for row in clients.rows()) == 0.0


@pytest.mark.parametrize("key", ["ben", "root", "bound"])
def test_another_keys_run_is_not_found(clients: Clients, key: str) -> None:
    id = clients.ask("ann")
    for unknown in (id, "wf_" + "0" * 24, ""):
        refused = clients.say(key, unknown)
        assert refused.status_code == 404
        assert refused.json()["error"]["code"] == "not_found"
    assert "feedback" not in clients.trace(id)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"score": 1.01}, "score"),
        ({"score": -1}, "score"),
        ({"score": "up"}, "score"),
        ({"score": True}, "score"),
        ({"score": None}, "score"),
        ({"score": 1, "comment": "x" * (MAX_COMMENT + 1)}, "comment"),
        ({"score": 1, "comment": 7}, "comment"),
        ({"score": 1, "workflow_id": 7}, "workflow_id"),
    ],
)
def test_what_is_no_feedback_is_refused(clients: Clients, fields: dict[str, Any], param: str) -> None:
    refused = clients.request("ann", "POST", PATH, json={"workflow_id": "wf_1", **fields})
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == param


def test_a_longest_comment_is_kept(clients: Clients) -> None:
    id = clients.ask("ann")
    assert clients.say("ann", id, 1, comment="好" * MAX_COMMENT).status_code == 200


def test_a_workflow_that_does_not_learn_keeps_feedback_and_nothing_else(clients: Clients) -> None:
    for model in ("chorus/all", "demo-abacus"):
        id = clients.ask("ann", model)
        assert clients.say("ann", id, 0.5).json()["learned"] == []
        trace = clients.trace(id)
        assert trace["feedback"][0]["score"] == 0.5
        assert "routes" not in trace
    assert {row["workflow"] for row in clients.rows()} == {"chorus/learn"}
    assert all((row["alpha"], row["beta"]) == (1.0, 1.0) for row in clients.rows())


def test_posteriors_are_those_that_the_key_may_ask_for_and_an_administrator_forgets(clients: Clients) -> None:
    id = clients.ask("ann")
    clients.say("ann", id, 1)
    assert clients.rows("bound") == []
    assert clients.rows("ann") == clients.rows("root")
    assert clients.request("bound", "GET", f"{LEARNING}?workflow=chorus/learn").status_code == 403
    assert clients.request("ann", "GET", f"{LEARNING}?workflow=chorus/no").status_code == 404
    assert clients.request("ann", "GET", f"{LEARNING}?workflow=chorus/all").json() == {"workflows": [], "data": []}
    refused = clients.request("ann", "DELETE", LEARNING)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden_route")
    assert clients.request("root", "DELETE", f"{LEARNING}?workflow=chorus/no").status_code == 404
    assert clients.request("root", "DELETE", f"{LEARNING}?workflow=chorus/all").status_code == 200
    assert sum(row["feedback"] for row in clients.rows()) == 1.0
    forgotten = clients.request("root", "DELETE", f"{LEARNING}?workflow=chorus/learn")
    assert forgotten.json() == {"workflow": "chorus/learn", "reset": True}
    assert all((row["alpha"], row["beta"]) == (1.0, 1.0) for row in clients.rows())
    assert clients.trace(id)["feedback"][0]["score"] == 1.0


def test_the_route_follows_what_people_say(clients: Clients) -> None:
    """Whoever says that abacus is right and the others wrong gets abacus."""
    for _ in range(30):
        id = clients.ask("ann")
        winner = clients.trace(id)["selector"]["selected_worker"]
        clients.say("ann", id, 1 if winner == "demo-abacus" else 0)
    means = {row["worker"]: row["mean"] for row in clients.rows()}
    assert means["demo-abacus"] == max(means.values())
    assert means["demo-abacus"] > 0.8
    assert len(clients.trace(id)["workers"]) == 2


# --- without HTTP: processes that share a store, and a store that is away


def made(url: str) -> Chorus:
    return Chorus(configuration.loads(f'{FLOWS}[storage]\nurl = "{url}"\n', environ={}))


@asynccontextmanager
async def serving(url: str) -> AsyncIterator[Chorus]:
    chorus = made(url)
    async with chorus.serving():
        yield chorus
    await chorus.aclose()


async def ask(chorus: Chorus, unique: str, model: str = "chorus/learn") -> dict[str, Any]:
    asked = ChatRequest(model, (Message("user", SUM),))
    async with chorus.run((asked,), request_id="req", unique=unique, streaming=False) as journal:
        await journal.ended()
        return workflow_details(journal.events)


async def settled(chorus: Chorus) -> None:
    with anyio.fail_after(10):
        await chorus.writes.settled(("traces", "", ""))
        await chorus.writes.settled_all("learning", "chorus/learn")


async def feedback(chorus: Chorus) -> float:
    settings = settings_of(chorus.snapshot.plans["chorus/learn"])
    assert settings is not None
    return sum(counts.feedback for counts in (await chorus.learning.counts("chorus/learn", settings)).values())


async def test_processes_share_what_they_learn(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/chorus.db"
    async with serving(url) as chorus, serving(url) as other:
        await ask(chorus, "one")
        await settled(chorus)
        with pytest.raises(NotFound):
            await other.learning.give_feedback("5e6f7a8b", "wf_one", 1.0, "")
        for process, score in ((other, 1.0), (chorus, 0.0), (other, 0.5)):
            said, is_kept = await process.learning.give_feedback("local", "wf_one", score, "")
            assert is_kept
            assert len(said.credits) == 1
        for process in (chorus, other):
            assert await feedback(process) == 1.0
            [kept] = await process.learning.feedback_of("wf_one", "chorus/learn")
            assert kept.score == 0.5
    async with serving(url) as later:
        assert await feedback(later) == 1.0


class Away:
    """A store of outcomes that is away."""

    calls = 0

    async def query(self, workflow: str, since: int) -> list[Credit]:
        self.calls += 1
        raise StorageUnavailable("away")

    async def put(self, outcome: Outcome) -> None:
        raise StorageUnavailable("away")

    async def get(self, run: str) -> list[Outcome]:
        raise StorageUnavailable("away")


class Hangs(Away):
    """A store of outcomes that never answers."""

    async def query(self, workflow: str, since: int) -> list[Credit]:
        self.calls += 1
        await anyio.sleep_forever()
        return []


@pytest.mark.parametrize("kind", [Away, Hangs])
async def test_a_store_that_is_away_fails_no_request(kind: type[Away], monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving("memory:") as chorus:
        store = kind()
        monkeypatch.setattr(chorus.learning, "_store", store)
        monkeypatch.setattr(learning, "_AWAY_SECS", 60.0)
        with anyio.fail_after(30):
            traces = [await ask(chorus, str(number)) for number in range(5)]
        assert {trace["status"] for trace in traces} == {"ok"}
        assert all("away" in trace["routes"][0]["note"] for trace in traces)
        assert store.calls == 1  # it is not asked by every request
        said, _ = await chorus.learning.give_feedback("local", "wf_1", 1.0, "")
        assert said.score == 1.0
        assert await chorus.learning.feedback_of("wf_never", "chorus/all") == []


async def test_a_workflow_that_does_not_learn_asks_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving("memory:") as chorus:
        store = Away()
        monkeypatch.setattr(chorus.learning, "_store", store)
        trace = await ask(chorus, "one", "chorus/all")
        assert len(trace["workers"]) == 3
        assert store.calls == 0
        plan = chorus.snapshot.plans["chorus/all"]
        job = msgspec.json.encode  # any object: it is returned as it is
        assert chorus.learning.job(plan, job) is job  # type: ignore[arg-type,comparison-overlap]
