"""Lists, health, Ollama's small endpoints, and the OpenAPI document (A4, A7)."""

from __future__ import annotations

import httpx
import pytest

from chorus import config as configuration
from chorus.server.api.background import BackgroundRuns
from chorus.server.api.stats import StatsFeed
from chorus.server.app import table
from chorus.server.dialects import DIALECTS
from chorus.server.openapi import document
from chorus.service import Chorus


@pytest.mark.requirement("A7")
async def test_health_and_ready(client: httpx.AsyncClient) -> None:
    assert (await client.get("/health")).json()["status"] == "ok"
    assert (await client.get("/ready")).json() == {"status": "ready", "models": 2}


@pytest.mark.requirement("A4")
async def test_somebody_is_there(client: httpx.AsyncClient) -> None:
    assert (await client.get("/")).text.startswith("Ollama is running")
    head = await client.head("/")
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("name", ["glm", "chorus/team", "chorus%2Fteam", "chorus:latest"])
@pytest.mark.requirement("A4")
async def test_a_model_by_its_id(client: httpx.AsyncClient, name: str) -> None:
    body = (await client.get(f"/v1/models/{name}")).json()
    assert body["id"] == name.replace("%2F", "/")
    assert body.keys() == {"id", "object", "created", "owned_by", "kind"}
    assert body["kind"] == ("workflow" if name.startswith("chorus") else "model")
    assert isinstance(body["created"], int)


@pytest.mark.requirement("A4")
async def test_ollamas_lists_have_every_field(client: httpx.AsyncClient) -> None:
    tags = (await client.get("/api/tags")).json()["models"]
    assert [tag["name"] for tag in tags] == ["chorus:latest", "chorus/team:latest", "glm:latest", "kimi:latest"]
    for tag in tags:
        assert tag.keys() >= {"name", "model", "modified_at", "size", "digest", "details", "capabilities"}
        assert tag["details"].keys() == {
            "parent_model", "format", "family", "families", "parameter_size", "quantization_level",
        }  # fmt: skip
    loaded = (await client.get("/api/ps")).json()["models"]
    assert all(entry.keys() >= {"expires_at", "size_vram", "context_length"} for entry in loaded)
    assert (await client.get("/api/version")).json()["version"].startswith("0.")


@pytest.mark.parametrize("field", ["model", "name"])
@pytest.mark.requirement("A4")
async def test_show_takes_the_new_and_the_old_field(client: httpx.AsyncClient, field: str) -> None:
    shown = (await client.post("/api/show", json={field: "chorus"})).json()
    assert shown.keys() >= {
        "details", "model_info", "capabilities", "modified_at", "modelfile", "template", "parameters",
    }  # fmt: skip
    assert (await client.post("/api/show", json={field: "none"})).status_code == 404


@pytest.mark.requirement("A7")
async def test_the_openapi_document_is_true_to_the_routes(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for path, item in document["paths"].items():
        for method in item:
            url = path.replace("{name}", "glm").replace("{id}", "x").replace("{digest}", "x")
            sent = {"json": {}} if method == "post" else {}
            async with client.stream(method.upper(), url, **sent) as response:  # a feed has no end
                assert response.status_code != 405, (method, path)
                assert str(response.status_code) in item[method]["responses"], (method, path, response.status_code)


@pytest.mark.requirement("A7")
def test_every_route_is_in_the_openapi_document() -> None:
    config = configuration.loads('[[model]]\nname = "m"\nprovider = "demo"\nmodel = "demo-abacus"\n', environ={})
    chorus = Chorus(config)
    routes = table(chorus, config, BackgroundRuns(chorus), StatsFeed(chorus))
    described = document(DIALECTS, routes)["paths"]
    assert {route.openapi_path for route in routes} == set(described)
    assert all({method.lower() for method in route.methods} == set(described[route.openapi_path]) for route in routes)


@pytest.mark.requirement("A7")
async def test_the_openapi_document_describes_itself(client: httpx.AsyncClient) -> None:
    assert "/openapi.json" in (await client.get("/openapi.json")).json()["paths"]


@pytest.mark.requirement("A4")
async def test_every_listed_model_answers_under_its_name(client: httpx.AsyncClient) -> None:
    listed = (await client.get("/v1/models")).json()
    assert listed["object"] == "list"
    turn = [{"role": "user", "content": "How?"}]
    for entry in listed["data"]:
        assert (await client.get(f"/v1/models/{entry['id']}")).json() == entry
        for name in (entry["id"], entry["id"] + ":latest"):
            answer = await client.post("/v1/chat/completions", json={"model": name, "messages": turn})
            assert answer.json()["model"] == name


@pytest.mark.parametrize("path", ["/api/pull", "/api/push", "/api/create", "/api/copy", "/api/delete", "/api/blobs/x"])
@pytest.mark.parametrize("body", [{"model": "glm"}, {"model": "glm", "stream": False}, None])
@pytest.mark.requirement("A4")
async def test_model_files_are_not_our_business(client: httpx.AsyncClient, path: str, body: object) -> None:
    response = await client.post(path, json=body)
    assert response.status_code == 501
    assert response.json()["error"] == "Chorus keeps no model files; add or remove models in its configuration."
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", ["/v1/models/%00", "/v1/models/%ff", "/v1/models/" + "x" * 3000])
@pytest.mark.requirement("A4")
async def test_ids_that_no_model_has(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(path)
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"
    assert len(response.content) < 1000


@pytest.mark.requirement("W9")
async def test_traces_are_listed_newest_first(client: httpx.AsyncClient) -> None:
    turn = [{"role": "user", "content": "How?"}]
    ids = []
    for model in ("glm", "chorus"):
        answer = await client.post("/v1/chat/completions", json={"model": model, "messages": turn})
        ids.append(answer.headers["x-chorus-workflow-id"])
    traces = (await client.get("/api/v1/workflows")).json()["workflows"]
    assert [trace["workflow_id"] for trace in traces[:2]] == ids[::-1]
