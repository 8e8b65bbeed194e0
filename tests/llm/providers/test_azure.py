"""Azure OpenAI: its addresses, its key, its filters (L2, L3). What is asked of it: `matrix`."""

from __future__ import annotations

import httpx
import pytest

from chorus.errors import ConfigError, ContentFiltered, UpstreamStatus
from chorus.llm.address import ModelAddress, ReplicaAddress, Settings
from chorus.llm.embed import EmbedCall
from chorus.llm.providers.azure import LAST_DATED_VERSION, openai_address
from chorus.llm.providers.azure import azure as make
from chorus.llm.registry import Reached, build
from chorus.llm.transport.clients import Clients
from tests.kit import Raw, Say, ScriptedUpstream, Status
from tests.kit.providers.azure import filtered_prompt
from tests.llm.reaching import ask, text_of
from tests.server.running import running

pytestmark = pytest.mark.requirement("L2")

R = "https://r.openai.azure.com"
DATED = "2025-04-01-preview"
TOKEN = "eyJ0eXAiOiJKV1Qi.eyJhdWQiOiJodHRwcyI6.c2lnbmVkLWJ5LWVudHJh"


@pytest.mark.parametrize(
    ("api_base", "version", "base", "query", "models_base"),
    [
        (R, "", f"{R}/openai/v1", "", ""),
        (f"{R}/openai", "v1", f"{R}/openai/v1", "", ""),
        (f"{R}/openai/v1/", "", f"{R}/openai/v1", "", ""),
        (f"{R}/openai/v1", "preview", f"{R}/openai/v1", "?api-version=preview", ""),
        (f"{R}/openai/v1", DATED, f"{R}/openai/v1", f"?api-version={DATED}", ""),
        (R, DATED, f"{R}/openai/deployments/my%20gpt", f"?api-version={DATED}", f"{R}/openai"),
        (f"{R}/openai/", DATED, f"{R}/openai/deployments/my%20gpt", f"?api-version={DATED}", f"{R}/openai"),
        (f"{R}/openai/deployments/prod", DATED, f"{R}/openai/deployments/prod", f"?api-version={DATED}", f"{R}/openai"),
        (
            f"{R}/openai/deployments/prod/chat/completions",
            "",
            f"{R}/openai/deployments/prod",
            f"?api-version={LAST_DATED_VERSION}",
            f"{R}/openai",
        ),
        (
            "https://apim.corp/llm/deployments/prod",
            DATED,
            "https://apim.corp/llm/deployments/prod",
            f"?api-version={DATED}",
            "https://apim.corp/llm",
        ),
    ],
)
def test_addresses(api_base: str, version: str, base: str, query: str, models_base: str) -> None:
    at = openai_address(api_base, "my gpt", version)
    assert (at.base, at.query, at.models_base) == (base, query, models_base)


def azure(scripted: ScriptedUpstream, clients: Clients, *, version: str | None = None, key: str = "az-key") -> Reached:
    address = ModelAddress(
        "m", "azure", (ReplicaAddress(scripted.base, key),), "m", attempts=1, settings=Settings(api_version=version)
    )
    return build(address, clients)


@pytest.mark.parametrize("version", [None, DATED])
async def test_every_endpoint_has_the_version_and_the_key(
    scripted: ScriptedUpstream, clients: Clients, version: str | None
) -> None:
    scripted.on("m", Say("Hello."))
    folder = "/openai/v1" if version is None else "/openai/deployments/m"
    reached = azure(scripted, clients, version=version)
    assert text_of(await ask(reached.upstream)) == "Hello."
    assert reached.embedder is not None
    found = await reached.embedder.embed(EmbedCall(["a", "b"]))
    assert len(found.vectors) == 2
    chat, embeddings = scripted.requests
    assert (chat.path, embeddings.path) == (f"{folder}/chat/completions", f"{folder}/embeddings")
    for request in (chat, embeddings):
        assert request.query == ("" if version is None else f"api-version={version}")
        assert request.headers["api-key"] == "az-key"
        assert "authorization" not in request.headers


@pytest.mark.parametrize("version", [None, DATED])
async def test_images_are_relayed_to_the_deployment(scripted: ScriptedUpstream, version: str | None) -> None:
    folder = "/openai/v1" if version is None else "/openai/deployments/painter"
    answer = Raw([b'{"data": []}'], content_type="application/json")
    scripted.on(f"{folder}/images/generations", answer)
    dated = f'api_version = "{version}"' if version is not None else ""
    config = f"""
    [[model]]
    name = "m"
    model = "painter"
    provider = "azure"
    api_base = "{scripted.base}"
    api_key = "az-key"
    {dated}
    """
    with running(config) as server:
        request = {"model": "m", "prompt": "a cat"}
        async with httpx.AsyncClient() as client:
            response = await client.post(f"{server.base}/v1/images/generations", json=request)
    assert response.json() == {"data": []}
    [received] = scripted.requests
    assert received.query == ("" if version is None else f"api-version={version}")
    assert received.headers["api-key"] == "az-key"
    assert received.json == {"model": "painter", "prompt": "a cat"}


@pytest.mark.parametrize(("version", "path"), [(None, "/openai/v1/models"), (DATED, "/openai/models")])
async def test_a_check_asks_for_the_models_of_the_resource(
    scripted: ScriptedUpstream, clients: Clients, version: str | None, path: str
) -> None:
    scripted.on("m", Say("Hello."))
    settings = Settings(api_version=version)
    at = ReplicaAddress(scripted.base, "az-key")
    provider = make(ModelAddress("m", "azure", (at,), "m", settings=settings), at, clients)
    assert provider.check is not None
    await provider.check(5)
    assert scripted.requests[-1].path == path


async def test_a_token_of_entra_is_no_key(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", Say("Hello."))
    await ask(azure(scripted, clients, key=TOKEN).upstream)
    headers = scripted.requests[-1].headers
    assert headers["authorization"] == f"Bearer {TOKEN}"
    assert "api-key" not in headers


async def test_the_key_is_not_in_an_error_that_quotes_it(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", Status(401, {"error": {"code": "401", "message": "Access denied, api-key: az-key-4711"}}))
    with pytest.raises(UpstreamStatus) as caught:
        await ask(azure(scripted, clients, key="az-key-4711").upstream)
    assert "az-key-4711" not in caught.value.message


async def test_a_field_that_an_old_version_refuses_is_left_out(scripted: ScriptedUpstream, clients: Clients) -> None:
    refusal = {"error": {"code": "BadRequest", "message": "Unrecognized request argument supplied: stream_options"}}
    scripted.on("m", Status(400, refusal), Say("Hello."))
    assert text_of(await ask(azure(scripted, clients, version="2024-02-01").upstream)) == "Hello."


async def test_a_filtered_prompt_says_why(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", Status(400, filtered_prompt(violence={"filtered": True, "severity": "medium"})))
    with pytest.raises(ContentFiltered, match=r"content filter: violence \(medium\): The response was filtered"):
        await ask(azure(scripted, clients).upstream)


async def test_an_answer_that_is_filtered_later_keeps_what_was_said(
    scripted: ScriptedUpstream, clients: Clients
) -> None:
    events = [
        b'{"choices": [], "prompt_filter_results": []}',
        b'{"choices": [{"index": 0, "delta": {"content": "Half"}, "finish_reason": null}]}',
        b'{"choices": [{"index": 0, "finish_reason": "content_filter", "content_filter_results": {}}]}',
    ]
    scripted.on("m", Raw([*(b"data: " + each + b"\n\n" for each in events), b"data: [DONE]\n\n"]))
    chunks = await ask(azure(scripted, clients).upstream)
    assert (text_of(chunks), chunks[-1].finish_reason) == ("Half", "content_filter")


def test_a_filtered_prompt_is_a_400_with_its_own_code() -> None:
    with ScriptedUpstream.in_thread() as scripted:
        scripted.on("gpt", Status(400, filtered_prompt(hate={"filtered": True, "severity": "high"})))
        model = f'[[model]]\nname = "gpt"\nprovider = "azure"\napi_base = "{scripted.base}"\napi_key = "az-key"\n'
        with running(model) as server:
            body = {"model": "gpt", "messages": [{"role": "user", "content": "hi"}]}
            answer = httpx.post(f"{server.api_base}/chat/completions", json=body, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "content_filter"
    assert "hate (high)" in answer.json()["error"]["message"]
    assert len(scripted.requests) == 1


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ('provider = "azure"', 'provider "azure" needs an address, such as "https://NAME.openai.azure.com"'),
        ('provider = "azure"\napi_base = "https://a"\napi_version = "2024"', "expected a date"),
        ('api_base = "https://a/v1"\napi_version = "2024-10-21"', 'expected provider "azure"'),
    ],
)
@pytest.mark.requirement("C2")
def test_what_is_wrong_is_said(lines: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem), running(f'[[model]]\nname = "m"\n{lines}\n'):
        pass
