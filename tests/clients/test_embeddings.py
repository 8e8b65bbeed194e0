"""Embeddings through the real libraries: base64 by default, floats, Ollama's two endpoints (A4)."""

from __future__ import annotations

from typing import Any

import httpx
import ollama
import openai
import pytest
from openai import OpenAI

from tests.kit import Hang, ScriptedUpstream, ServerProcess, Status


@pytest.fixture
def base(server: ServerProcess, scripted: ScriptedUpstream) -> str:
    return server.base


@pytest.mark.parametrize("model", ["glm", "local"])
@pytest.mark.requirement("A4")
def test_openai_base64_by_default_and_floats_on_demand(base: str, model: str) -> None:
    with OpenAI(base_url=f"{base}/v1", api_key="x", max_retries=0) as client:
        packed = client.embeddings.create(model=model, input=["one", "two"])
        plain = client.embeddings.create(model=model, input=["one", "two"], encoding_format="float")
    assert [entry.index for entry in packed.data] == [0, 1]
    for a, b in zip(packed.data, plain.data, strict=True):
        assert a.embedding == pytest.approx(b.embedding, rel=1e-6)
    assert packed.data[0].embedding != packed.data[1].embedding
    assert packed.usage.total_tokens == packed.usage.prompt_tokens


@pytest.mark.parametrize("model", ["glm", "local"])
@pytest.mark.requirement("A4")
def test_ollama_new_and_old(base: str, model: str) -> None:
    with ollama.Client(host=base) as client:
        several = client.embed(model=model, input=["one", "two"])
        one = client.embed(model=model, input="one")
        old = client.embeddings(model=model, prompt="one")
        assert client.embed(model=model, input=[]).embeddings == []
    assert len(several.embeddings) == 2
    assert list(one.embeddings[0]) == list(several.embeddings[0]) == list(old.embedding)
    assert several.total_duration > 0


@pytest.mark.parametrize(
    ("given", "arrives"), [([1, 2], [[1, 2]]), ([[1, 2], [3]], [[1, 2], [3]]), (["one", [3]], ["one", [3]])]
)
@pytest.mark.requirement("A4")
def test_token_numbers_arrive_as_they_are(base: str, scripted: ScriptedUpstream, given: Any, arrives: Any) -> None:
    """langchain's OpenAIEmbeddings sends nothing else."""
    with OpenAI(base_url=f"{base}/v1", api_key="x", max_retries=0) as client:
        found = client.embeddings.create(model="glm", input=given)
    assert len(found.data) == len(arrives)
    assert scripted.calls("glm")[0].json["input"] == arrives


@pytest.mark.requirement("A4")
def test_other_fields_of_an_embedding_arrive(base: str, scripted: ScriptedUpstream) -> None:
    with OpenAI(base_url=f"{base}/v1", api_key="x", max_retries=0) as client:
        more = {"input_type": "query", "truncate": "END"}
        client.embeddings.create(model="glm", input="one", user="me", extra_body=more)
    with ollama.Client(host=base) as native:
        native.embed(model="local", input="one", truncate=True, keep_alive="5m", options={"num_ctx": 8})
        native.embed(model="glm", input="one", truncate=True, keep_alive="5m", options={"num_ctx": 8})
    sent, translated = (call.json for call in scripted.calls("glm"))
    assert {"user": "me", **more}.items() <= sent.items()
    assert not {"truncate", "keep_alive", "options"} & translated.keys()
    native_body = scripted.calls("local")[0].json
    assert (native_body["truncate"], native_body["keep_alive"], native_body["options"]) == (True, "5m", {"num_ctx": 8})


@pytest.mark.requirement("A4")
def test_what_cannot_embed_says_so(base: str, scripted: ScriptedUpstream) -> None:
    with OpenAI(base_url=f"{base}/v1", api_key="x", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="is a workflow"):
            client.embeddings.create(model="chorus", input="one")
        with pytest.raises(openai.BadRequestError, match="token numbers"):
            client.embeddings.create(model="local", input=[1, 2])
        with pytest.raises(openai.NotFoundError):
            client.embeddings.create(model="gml", input="one")
        scripted.on("glm", Status(500))
        with pytest.raises(openai.InternalServerError):
            client.embeddings.create(model="glm", input="one")


@pytest.mark.requirement("W13")
async def test_leaving_closes_the_upstream(base: str, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Hang("headers"))
    async with httpx.AsyncClient(base_url=base) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/v1/embeddings", json={"model": "glm", "input": "one"}, timeout=0.3)
    await scripted.wait_idle()
    assert scripted.calls("glm")[0].was_cancelled
