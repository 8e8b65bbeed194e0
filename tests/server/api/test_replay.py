"""A stored run, asked of another workflow: over HTTP and by `chorus replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from chorus.cli import replay
from chorus.errors import ChorusError
from tests.kit import ScriptedUpstream, ServerProcess, Status
from tests.kit.command import chorus

pytestmark = pytest.mark.requirement("W9")
ASKING: dict[str, Any] = {"model": "glm", "messages": [{"role": "user", "content": "How?"}], "seed": 5}


async def asked(client: httpx.AsyncClient) -> str:
    response = await client.post("/v1/chat/completions", json=ASKING)
    return response.headers["x-chorus-workflow-id"]


async def test_the_same_request_is_asked_of_another(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    workflow_id = await asked(client)
    scripted.forget()
    context = await client.post(f"/api/v1/workflows/{workflow_id}/replay", json={"model": "kimi"})
    assert context.json()["answers"] == ["one two four"]
    assert context.json()["workflow"]["workflow"] == "kimi"
    [call] = scripted.calls("kimi")
    assert call.json["messages"] == ASKING["messages"]
    assert call.json["seed"] == 5
    again = await client.get(f"/api/v1/workflows/{context.json()['workflow']['workflow_id']}")
    assert again.status_code == 200
    assert "How?" not in again.text


async def test_what_cannot_be_replayed_is_said(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    workflow_id = await asked(client)
    for path, body, status in (
        (workflow_id, {"model": "nobody"}, 404),
        ("wf_never", {"model": "glm"}, 404),
        (workflow_id, {}, 400),
    ):
        context = await client.post(f"/api/v1/workflows/{path}/replay", json=body)
        assert context.status_code == status
    scripted.on("kimi", Status(500))
    context = await client.post(f"/api/v1/workflows/{workflow_id}/replay", json={"model": "kimi"})
    assert (context.status_code, context.json()["error"]["code"]) == (502, "upstream_status")


@pytest.mark.requirement("C11")
async def test_the_command_prints_both(client: httpx.AsyncClient, server: ServerProcess, tmp_path: Path) -> None:
    workflow_id = await asked(client)
    replayed = chorus("replay", workflow_id, "--model", "chorus", "--url", server.base, home=tmp_path)
    then, now, *_ = replayed.stdout.splitlines()
    assert then.startswith("then  glm ")
    assert now.startswith("now   chorus ")
    assert replayed.stdout.strip().endswith("one two three")
    unknown = chorus("replay", "wf_never", "--model", "chorus", "--url", server.base, home=tmp_path)
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("chorus: No workflow of this id is kept")
    nobody = chorus("replay", workflow_id, "--model", "chorus", "--url", "http://127.0.0.1:9", home=tmp_path)
    assert nobody.returncode == 1
    assert "no Chorus answers at http://127.0.0.1:9" in nobody.stderr


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (httpx.Response(200, text="<html>"), "no Chorus answers at http://chorus.test"),
        (httpx.Response(200, json=["a list"]), "no Chorus answers at http://chorus.test"),
        (
            httpx.Response(404, json={"error": {"message": "No workflow of this id is kept."}}),
            "No workflow of this id is kept.",
        ),
        (httpx.Response(500, json={"error": "a string, as Ollama says it"}), "a string, as Ollama says it"),
        (httpx.ConnectTimeout(""), "no Chorus answers at http://chorus.test: ConnectTimeout"),
    ],
)
def test_whatever_stands_at_the_address_the_command_says_a_sentence(
    answer: httpx.Response | Exception, sentence: str
) -> None:
    with respx.mock(base_url="http://chorus.test") as router:
        router.get("/api/v1/workflows/wf_1").mock(side_effect=[answer])
        with pytest.raises(ChorusError, match=sentence):
            replay.run("wf_1", "chorus", "http://chorus.test")
