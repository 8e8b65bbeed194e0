"""schemathesis plays through `/openapi.json`, with bodies that fit the document and bodies that do
not: no 500, no status and no content type that the document does not tell of, errors as it
describes them, wrong types refused (A6, A7). It lives in an environment of its own
(tests/clients/environments.py).
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients import environments
from tests.kit import ScriptedUpstream, ServerProcess

USER = {"role": "user", "content": "How?"}
GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [USER]},
    "/v1/completions": {"prompt": "How?"},
    "/v1/responses": {"input": "How?"},
    "/v1/messages": {"messages": [USER], "max_tokens": 9},
    "/v1/messages/count_tokens": {"messages": [USER]},
    "/v1/embeddings": {"input": "x"},
    "/api/chat": {"messages": [USER]},
    "/api/generate": {"prompt": "How?"},
    "/api/embed": {"input": "x"},
    "/api/embeddings": {"prompt": "x"},
    "/api/show": {},
}
"""A request that each path answers: where the walk through the document starts from."""
MODEL = {"type": "string", "enum": ["glm", "chorus"]}
EXPECTED = '[checks.not_a_server_error]\nexpected-statuses = ["2xx", "3xx", "4xx", 501, 502, 503, 504]\n'
OPTIONS = ["--phases", "examples,coverage,fuzzing", "--max-examples", "3", "--generation-deterministic", "--no-color"]
CHECKS = ["--checks", "all", "--exclude-checks", "positive_data_acceptance"]
"""All but one: a schema cannot tell of everything that makes a request good."""


def with_hints(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what only this server knows: its models, and a good body for each path.

    And without the schema of a whole SSE stream, which schemathesis would take for that of each
    event.
    """
    for schema in _schemas(document):
        if "model" in schema.get("properties", {}):
            schema["properties"]["model"] = MODEL
    for path, body in GOOD.items():
        content = document["paths"][path]["post"]["requestBody"]["content"]
        content["application/json"]["example"] = {"model": "glm", **body}
    for item in document["paths"].values():
        for operation in item.values():
            operation["responses"]["200"]["content"].get("text/event-stream", {}).pop("schema", None)
    for parameter in document["paths"]["/v1/models/{name}"]["get"]["parameters"]:
        parameter["example"] = "glm"
    return document


def _schemas(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from document["components"]["schemas"].values()
    for item in document["paths"].values():
        for operation in item.values():
            if "requestBody" in operation:
                yield operation["requestBody"]["content"]["application/json"]["schema"]


@pytest.mark.very_slow
@pytest.mark.requirement("A6")
@pytest.mark.requirement("A7")
def test_the_document_holds(server: ServerProcess, scripted: ScriptedUpstream, tmp_path: Path) -> None:
    document = httpx.get(f"{server.base}/openapi.json").json()
    (tmp_path / "openapi.json").write_text(json.dumps(with_hints(document)), encoding="utf-8")
    (tmp_path / "schemathesis.toml").write_text(EXPECTED, encoding="utf-8")
    schemathesis = str(Path(environments.python("schemathesis")).with_name("schemathesis"))
    played = subprocess.run(
        [schemathesis, "run", "openapi.json", "--url", server.base, *CHECKS, *OPTIONS],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=tmp_path,
    )
    assert played.returncode == 0, played.stdout[-6000:] + played.stderr[-2000:]
    operations = sum(len(item) for item in document["paths"].values())
    assert f"Tested: {operations}" in played.stdout
    assert len(scripted.requests) > 100  # past the checks of the body, to the model itself
