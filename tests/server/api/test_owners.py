"""A stored or background response belongs to the key that it was asked for with (S1, M2): for every
other key, an administrator's too, it is as unknown as an id that never was. And what a key may not
ask for it does not see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from chorus.auth.keys import KeyFile, Role
from tests.kit import Gate, Say, ScriptedUpstream, ServerProcess

pytestmark = pytest.mark.requirement("S1")

MODELS: Final = ("glm", "kimi", "chorus", "chorus/team")
CONFIG: Final = """
[server]
require_auth = true
keys_file = "{keys}"
[[model]]
name = "glm"
api_base = "{base}/v1"
[[model]]
name = "kimi"
api_base = "{base}/v1"
[workflow-integration]
workers = ["glm", "kimi"]
synthesizer = "glm"
[workflows.team]
workers = ["glm", "kimi"]
synthesizer = "kimi"
"""


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def texts(keys: Path) -> dict[str, str]:
    """Each client's key. `bound` may ask for one workflow only."""
    file = KeyFile(keys)
    roles: dict[str, tuple[Role, tuple[str, ...]]] = {
        "ann": ("client", ()),
        "ben": ("client", ()),
        "root": ("admin", ()),
        "bound": ("client", ("chorus",)),
    }
    return {
        name: file.create(name, role=role, models=models, expires=None)[0] for name, (role, models) in roles.items()
    }


@pytest.fixture(scope="module")
def guarded(keys: Path, texts: dict[str, str], upstream: ScriptedUpstream) -> Iterator[ServerProcess]:
    with ServerProcess(CONFIG.format(keys=keys, base=upstream.base)) as server:
        yield server


class Client(httpx.Client):
    """One key's client."""

    def respond(self, text: str = "my secret plan", **more: Any) -> dict[str, Any]:
        """Ask for a response."""
        found: dict[str, Any] = self.post("/v1/responses", json={"model": "glm", "input": text, **more}).json()
        return found


@pytest.fixture
def clients(guarded: ServerProcess, texts: dict[str, str], scripted: ScriptedUpstream) -> Iterator[dict[str, Client]]:
    opened = {
        name: Client(base_url=guarded.base, headers={"authorization": f"Bearer {text}"}, verify=False)
        for name, text in texts.items()
    }
    yield opened
    for client in opened.values():
        client.close()


def without_id(response: httpx.Response) -> tuple[int, Any]:
    error = response.json()["error"]
    return response.status_code, {name: value for name, value in error.items() if name != "request_id"}


def everything(client: Client, id: str) -> dict[str, httpx.Response]:
    """All that can be done with the id of a response, `id`; what ends it comes last."""
    item = id.replace("resp_", "msg_") + "00"
    reference = [{"type": "item_reference", "id": item}, {"role": "user", "content": "repeat it"}]
    return {
        "read": client.get(f"/v1/responses/{id}"),
        "read its input": client.get(f"/v1/responses/{id}/input_items"),
        "follow": client.get(f"/v1/responses/{id}", params={"stream": "true"}),
        "continue": client.post(
            "/v1/responses", json={"model": "glm", "input": "repeat it", "previous_response_id": id}
        ),
        "refer": client.post("/v1/responses", json={"model": "glm", "input": reference}),
        "cancel": client.post(f"/v1/responses/{id}/cancel"),
        "delete": client.delete(f"/v1/responses/{id}"),
    }


@pytest.mark.parametrize("stranger", ["ben", "root"])
def test_another_keys_response_is_as_unknown_as_one_that_never_was(clients: dict[str, Client], stranger: str) -> None:
    id = clients["ann"].respond()["id"]
    never = {name: without_id(each) for name, each in everything(clients[stranger], f"resp_{'0' * 24}").items()}
    theirs = {name: without_id(each) for name, each in everything(clients[stranger], id).items()}
    assert theirs == never
    assert {status for status, _ in theirs.values()} == {404}
    mine = {name: response.status_code for name, response in everything(clients["ann"], id).items()}
    assert mine == {
        "read": 200,
        "read its input": 200,
        "follow": 400,  # only one of the background can be followed
        "continue": 200,
        "refer": 200,
        "cancel": 400,
        "delete": 200,
    }


def everything_of_a_conversation(client: Client, id: str) -> dict[str, httpx.Response]:
    """All that can be done with the id of a conversation, `id`; what ends it comes last."""
    place, session = f"/v1/conversations/{id}", f"/api/v1/sessions/{id}"
    items = [{"type": "message", "role": "user", "content": "Hello"}]
    asked = {"model": "glm", "messages": [{"role": "user", "content": "repeat it"}], "session_id": id}
    return {
        "read": client.get(place),
        "change": client.post(place, json={"metadata": {"topic": "birds"}}),
        "list": client.get(f"{place}/items"),
        "add": client.post(f"{place}/items", json={"items": items}),
        "continue": client.post("/v1/responses", json={"model": "glm", "input": "repeat it", "conversation": id}),
        "go on": client.post("/v1/chat/completions", json=asked),
        "read the session": client.get(session),
        "delete the session": client.delete(session),
    }


@pytest.mark.parametrize("stranger", ["ben", "root"])
def test_another_keys_conversation_is_as_unknown_as_one_that_never_was(
    clients: dict[str, Client], scripted: ScriptedUpstream, stranger: str
) -> None:
    ann, other = clients["ann"], clients[stranger]
    id = ann.post("/v1/conversations", json={"items": [{"role": "user", "content": "my secret plan"}]}).json()["id"]
    unknown = f"conv_{'0' * 48}"
    never = {name: without_id(each) for name, each in everything_of_a_conversation(other, unknown).items()}
    theirs = {name: without_id(each) for name, each in everything_of_a_conversation(other, id).items()}
    assert theirs == never
    assert {status for status, _ in theirs.values()} == {404}
    assert all(entry["id"] != id for entry in other.get("/api/v1/sessions").json()["data"])
    asked = {"model": "glm", "messages": [{"role": "user", "content": "repeat it"}]}
    named = other.post("/v1/chat/completions", json=asked, headers={"X-Session-ID": id})
    assert (named.status_code, "x-session-id" in named.headers) == (200, False)
    assert [message["content"] for message in scripted.calls("glm")[-1].messages] == ["repeat it"]
    mine = everything_of_a_conversation(ann, id)
    assert {response.status_code for response in mine.values()} == {200}
    assert [item["content"][0]["text"] for item in mine["list"].json()["data"]] == ["my secret plan"]


@pytest.mark.parametrize("stranger", ["ben", "root"])
def test_another_keys_background_response_goes_on_unseen(
    clients: dict[str, Client], scripted: ScriptedUpstream, stranger: str
) -> None:
    gate = Gate()
    scripted.on("glm", Say("one two three", gate=gate, gate_at=1))
    id = clients["ann"].respond(background=True)["id"]
    for name, response in everything(clients[stranger], id).items():
        assert response.status_code == 404, name
    assert clients["ann"].get(f"/v1/responses/{id}").json()["status"] in ("queued", "in_progress")
    gate.open()
    with clients["ann"].stream("GET", f"/v1/responses/{id}", params={"stream": "true"}) as followed:
        assert "response.completed" in followed.read().decode()
    for name, response in everything(clients[stranger], id).items():
        assert response.status_code == 404, name
    assert clients["ann"].get(f"/v1/responses/{id}").json()["status"] == "completed"


def test_a_bound_key_sees_what_it_may_ask_for_and_nothing_else(clients: dict[str, Client]) -> None:
    seen = {name: (listed(client), tagged(client), loaded(client)) for name, client in clients.items()}
    assert seen["ann"] == seen["root"] == (set(MODELS), set(MODELS), set(MODELS))
    assert seen["bound"] == ({"chorus"}, {"chorus"}, {"chorus"})


def listed(client: Client) -> set[str]:
    return {model["id"] for model in client.get("/v1/models").json()["data"]}


def tagged(client: Client) -> set[str]:
    return {model["model"].removesuffix(":latest") for model in client.get("/api/tags").json()["models"]}


def loaded(client: Client) -> set[str]:
    return {model["model"].removesuffix(":latest") for model in client.get("/api/ps").json()["models"]}


TURNS: Final = [{"role": "user", "content": "How?"}]
ASKING: Final[list[tuple[str, dict[str, Any]]]] = [
    ("/v1/chat/completions", {"messages": TURNS}),
    ("/v1/completions", {"prompt": "How?"}),
    ("/v1/responses", {"input": "How?"}),
    ("/v1/messages", {"messages": TURNS, "max_tokens": 9}),
    ("/v1/messages/count_tokens", {"messages": TURNS}),
    ("/api/chat", {"messages": TURNS, "stream": False}),
    ("/api/chat", {"messages": []}),
    ("/api/generate", {"prompt": "How?", "stream": False}),
    ("/api/show", {}),
    ("/api/v1/explain", {"messages": TURNS}),
    ("/v1/embeddings", {"input": "How?"}),
    ("/api/embed", {"input": "How?"}),
    ("/api/embed", {"input": []}),
    ("/api/embeddings", {"prompt": "How?"}),
    ("/api/embeddings", {"prompt": ""}),
]


@pytest.mark.parametrize(("path", "body"), ASKING)
def test_a_bound_key_does_not_learn_which_models_there_are(
    clients: dict[str, Client], path: str, body: dict[str, Any]
) -> None:
    for model in ("kimi", "kimi:latest", "none"):
        refused = clients["bound"].post(path, json={"model": model, **body})
        assert refused.status_code == 403
        assert "kimi" not in refused.text
        assert clients["ann"].post(path, json={"model": model, **body}).status_code == (404 if model == "none" else 200)


@pytest.mark.parametrize("model", ["kimi", "none"])
def test_it_does_not_find_one_by_name(clients: dict[str, Client], model: str) -> None:
    assert clients["bound"].get(f"/v1/models/{model}").status_code == 403
    assert clients["ann"].get(f"/v1/models/{model}").status_code == (404 if model == "none" else 200)


@pytest.mark.parametrize("model", ["chorus", "chorus:latest"])
def test_a_workflow_may_be_asked_though_its_workers_may_not(clients: dict[str, Client], model: str) -> None:
    body = {"model": model, "messages": TURNS}
    assert clients["bound"].post("/v1/chat/completions", json=body).status_code == 200
    assert clients["bound"].post("/api/show", json={"model": model}).status_code == 200
    assert clients["bound"].get(f"/v1/models/{model}").status_code == 200
