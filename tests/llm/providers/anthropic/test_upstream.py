"""The provider over a real socket: addresses, headers, errors, lessons, counts, and the prompt
cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chorus.errors import UpstreamRateLimited, UpstreamRefused, UpstreamStatus
from chorus.llm.address import ModelAddress, ReplicaAddress, Settings
from chorus.llm.base import Call, Chunk
from chorus.llm.registry import Reached, build
from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest, Message, PromptCache, Sampling, Tools
from chorus.usage import Usage
from tests.kit import Recorded, ScriptedUpstream, Status
from tests.kit.providers import ModelAnswer
from tests.kit.providers.anthropic import AdaptiveAnthropicProvider, AnthropicProvider, raw_answer
from tests.llm.providers.anthropic.writing import ADAPTIVE, asking, function
from tests.llm.reaching import ask, text_of


@pytest.fixture
def provider(scripted: ScriptedUpstream) -> AnthropicProvider:
    return AnthropicProvider(scripted)


def reached(
    base: str,
    clients: Clients,
    *,
    model: str = "claude-haiku-4-5",
    headers: Mapping[str, str] | None = None,
    attempts: int = 1,
    omit: frozenset[str] = frozenset(),
    prompt_cache: PromptCache = "workflows",
    extra_body: Mapping[str, Any] | None = None,
) -> Reached:
    """The model `m` at `base`."""
    address = ModelAddress(
        "m",
        "anthropic",
        (ReplicaAddress(base, "sk-ant-secret"),),
        model,
        headers or {},
        extra_body or {},
        attempts=attempts,
        settings=Settings(omit=omit, prompt_cache=prompt_cache),
    )
    return build(address, clients)


def usage_of(chunks: list[Chunk]) -> Usage:
    return next(chunk.usage for chunk in chunks if chunk.usage is not None)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/", "/v1/messages"])
@pytest.mark.requirement("L2")
async def test_an_address_may_have_its_version(provider: AnthropicProvider, clients: Clients, ending: str) -> None:
    provider.script(ModelAnswer("Fine."))
    for stream in (True, False):
        assert text_of(await ask(reached(provider.base + ending, clients).upstream, stream=stream)) == "Fine."
    sent = provider.upstream.requests[-1]
    assert sent.path == "/v1/messages"
    assert sent.headers["x-api-key"] == "sk-ant-secret"
    assert sent.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in sent.headers
    assert "anthropic-beta" not in sent.headers
    assert sent.headers["x-request-id"] == "req-1"


@pytest.mark.requirement("L2")
async def test_beta_names_of_the_model_and_of_the_client_go_out_once(
    provider: AnthropicProvider, clients: Clients
) -> None:
    headers = {"Anthropic-Beta": "context-1m, interleaved-thinking", "anthropic-version": "2026-10-21"}
    model = reached(provider.base, clients, headers=headers)
    await ask(model.upstream, asking(anthropic_options={"betas": ["interleaved-thinking", "files-api"]}))
    sent = provider.upstream.requests[-1]
    assert sent.headers["anthropic-beta"] == "context-1m,interleaved-thinking,files-api"
    assert sent.headers["anthropic-version"] == "2026-10-21"
    assert "betas" not in sent.json


@pytest.mark.requirement("L3")
async def test_an_overloaded_server_is_asked_again_after_the_time_that_it_names(
    provider: AnthropicProvider, clients: Clients
) -> None:
    overloaded = Status(529, provider.error(529, "Overloaded"), {"retry-after": "0"})
    provider.upstream.on("/v1/messages", overloaded, provider._answered)
    assert text_of(await ask(reached(provider.base, clients, attempts=2).upstream)) == "ready"
    busy = Status(529, provider.error(529, "Overloaded"), {"retry-after": "60"})
    provider.upstream.on("/v1/messages", busy)
    with pytest.raises(UpstreamStatus, match=r"529.*Overloaded") as caught:
        await ask(reached(provider.base, clients, attempts=2).upstream)
    assert caught.value.retry_after == 60


@pytest.mark.requirement("L3")
async def test_errors_have_their_types(provider: AnthropicProvider, clients: Clients) -> None:
    upstream = reached(provider.base, clients).upstream
    limited = Status(429, provider.error(429, "Slower."), {"retry-after": "3"})
    provider.upstream.on("/v1/messages", limited)
    with pytest.raises(UpstreamRateLimited) as caught:
        await ask(upstream)
    assert caught.value.retry_after == 3
    for status, said in ((413, "Request exceeds the maximum size"), (400, "prompt is too long: 213462 tokens")):
        provider.upstream.on("/v1/messages", Status(status, provider.error(status, said)))
        with pytest.raises(UpstreamRefused, match=said):
            await ask(upstream)


@pytest.mark.requirement("L2")
async def test_what_a_refusal_teaches_is_kept(scripted: ScriptedUpstream, clients: Clients) -> None:
    """A model that is not what its name says: the scripted one has the rules of the newest."""
    provider = AdaptiveAnthropicProvider(scripted)
    model = reached(provider.base, clients, model="next-model", extra_body={"model": ADAPTIVE})
    request = asking(sampling=Sampling(temperature=0.5, max_tokens=4000), reasoning_effort="low")
    provider.script(ModelAnswer("Fine."))
    assert text_of(await ask(model.upstream, request)) == "Fine."
    assert len(provider.refusals) == 1  # temperature is not sent with thinking
    assert provider.bodies[-1]["thinking"] == {"type": "adaptive", "display": "summarized"}
    provider.script(ModelAnswer("Fine."))
    assert text_of(await ask(model.upstream, asking(sampling=Sampling(temperature=0.5)))) == "Fine."
    assert len(provider.refusals) == 1
    [replica] = model.pool.replicas
    assert replica.lessons is not None
    assert replica.lessons.as_json() == ["thinking is sent as adaptive thinking", "temperature is left out"]
    provider.script(ModelAnswer("Fine."))
    await ask(model.upstream, request)
    assert not provider.refusals


@pytest.mark.requirement("L2")
async def test_tokens_are_counted_by_the_upstream(provider: AnthropicProvider, clients: Clients) -> None:
    model = reached(provider.base, clients)
    request = asking(Message("system", "S"), Message("user", "How?"), tools=Tools([function()]))
    count = await model.pool.count_tokens(request, connect_timeout=1)
    assert count is not None
    assert count > 0
    assert provider.counts[-1].keys() == {"model", "system", "messages", "tools"}
    provider.upstream.on("/v1/messages/count_tokens", Status(200, {"odd": True}))
    with pytest.raises(Exception, match="does not count"):
        await model.pool.count_tokens(request, connect_timeout=1)


@pytest.mark.requirement("D4")
async def test_a_check_asks_for_the_list_of_models(provider: AnthropicProvider, clients: Clients) -> None:
    address = ModelAddress("m", "anthropic", (ReplicaAddress(provider.base, "k"),), health_check_secs=1.0)
    [replica] = build(address, clients).pool.replicas
    assert replica.health is not None
    await replica.health.check()
    assert provider.upstream.requests[-1].path == "/v1/models"


@pytest.mark.parametrize(
    ("prompt_cache", "shared", "marks"),
    [("workflows", 1, True), ("workflows", 0, False), ("always", 0, True), ("never", 1, False)],
)
async def test_marks_are_set_for_calls_of_workflows(
    provider: AnthropicProvider, clients: Clients, prompt_cache: PromptCache, shared: int, marks: bool
) -> None:
    model = reached(provider.base, clients, prompt_cache=prompt_cache)
    await ask(model.upstream, asking(shared_messages=shared))
    assert ("cache_control" in provider.bodies[-1]["messages"][-1]["content"][-1]) is marks


async def test_a_second_call_reads_what_the_first_one_wrote(provider: AnthropicProvider, clients: Clients) -> None:
    upstream = reached(provider.base, clients).upstream
    conversation = (Message("system", "Rules. " * 100), Message("user", "Long question. " * 100))
    first = usage_of(await ask(upstream, ChatRequest("m", conversation, shared_messages=2)))
    judged = ChatRequest("m", (*conversation, Message("user", "Judge.")), shared_messages=2)
    second = usage_of(await ask(upstream, judged))
    assert first.cache_write_tokens > 0
    assert first.cached_tokens == 0
    assert second.cached_tokens == first.cache_write_tokens
    assert second.cache_write_tokens == 0
    assert second.prompt_tokens == 11 + second.cached_tokens


async def test_a_stream_that_was_not_asked_for_is_read(scripted: ScriptedUpstream, clients: Clients) -> None:
    def odd(recorded: Recorded) -> Any:
        return raw_answer([{"type": "text", "text": "Fine."}], stream=not recorded.json.get("stream"))

    scripted.on("/v1/messages", odd)
    upstream = reached(scripted.base, clients).upstream
    for stream in (True, False):
        assert text_of(await ask(upstream, stream=stream)) == "Fine."


async def test_warnings_reach_the_caller(provider: AnthropicProvider, clients: Clients) -> None:
    warnings: list[str] = []
    call = Call(asking(sampling=Sampling(seed=1)), warn=warnings.append)
    async with reached(provider.base, clients).upstream.open(call) as chunks:
        assert [chunk async for chunk in chunks]
    assert warnings == ["'seed' is left out: model 'claude-haiku-4-5' does not take it."]
