"""Lists, health, Ollama's small endpoints, and the OpenAPI document (A4, A7)."""

from __future__ import annotations

import httpx
import pytest

from chorus import config as configuration
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
    assert body.keys() == {"id", "object", "created", "owned_by"}
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
            response = await client.request(method.upper(), url, json={} if method == "post" else None)
            assert response.status_code != 405, (method, path)
            assert str(response.status_code) in item[method]["responses"], (method, path, response.status_code)


@pytest.mark.requirement("A7")
def test_every_route_is_in_the_openapi_document() -> None:
    config = configuration.loads('[[model]]\nname = "m"\nprovider = "demo"\nmodel = "demo-abacus"\n', environ={})
    routes = table(Chorus(config), config)
    described = document(DIALECTS, routes)["paths"]
    assert {route.openapi_path for route in routes} == set(described)
    assert all({method.lower() for method in route.methods} == set(described[route.openapi_path]) for route in routes)
