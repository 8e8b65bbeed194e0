"""How long a model that the request names itself may be silent (C7)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest

from tests.kit import Raw, ScriptedUpstream
from tests.kit.fixtures import connected
from tests.server.running import running

CONFIG = """
[timeouts]
idle_timeout_secs = 0.5

[workflow.timeouts]
worker_timeout_secs = 0.1

[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0

[[model]]
name = "patient"
model = "glm"
api_base = "{base}/v1"
retries = 0
timeouts = {{idle_timeout_secs = 30}}
"""


@pytest.fixture
async def client(scripted: ScriptedUpstream) -> AsyncIterator[httpx.AsyncClient]:
    with running(CONFIG.format(base=scripted.base)) as served:
        async with connected(served.base) as client:
            yield client


def event(**choice: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode() + b"\n\n"


END = event(delta={"content": "late"}) + event(delta={}, finish_reason="stop")
ASKED = {"model": "glm", "stream": True, "messages": [{"role": "user", "content": "How?"}]}


@pytest.mark.parametrize("life", [b": ping\n\n", event(delta={"role": "assistant", "content": ""}), b"\n"])
async def test_any_bytes_of_the_upstream_are_life(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, life: bytes
) -> None:
    scripted.on("glm", Raw([*[life] * 8, END], gap=0.15))
    response = await client.post("/v1/chat/completions", json=ASKED)
    assert "late" in response.text
    assert '"error"' not in response.text


@pytest.mark.parametrize(("model", "is_cut"), [("glm", True), ("patient", False)])
async def test_silence_is_bounded_per_model(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, model: str, is_cut: bool
) -> None:
    scripted.on("glm", Raw([event(delta={"content": "begun"}), END], gap=0.9))
    response = await client.post("/v1/chat/completions", json={**ASKED, "model": model})
    assert "begun" in response.text
    assert ("within 0.5 s" in response.text) == is_cut
    assert ("late" in response.text) != is_cut
