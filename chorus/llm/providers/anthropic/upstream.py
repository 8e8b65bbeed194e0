"""The provider for Anthropic's Messages API (L2): one model at one address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import msgspec

from chorus import wirejson
from chorus.errors import UpstreamProtocol
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Call, Chunk, ignore
from chorus.llm.counts import PromptEstimate, count_of
from chorus.llm.provider import Provider
from chorus.llm.providers.anthropic.address import beta_header, configured_betas, fixed_headers, root_of
from chorus.llm.providers.anthropic.families import family_of
from chorus.llm.providers.anthropic.lessons import lesson_of
from chorus.llm.providers.anthropic.request import COUNTED, MAX_NAME, request_body
from chorus.llm.providers.anthropic.stream import EventReader, read_whole
from chorus.llm.providers.fields import overlaid
from chorus.llm.providers.learning import Learned
from chorus.llm.providers.taught import Taught
from chorus.llm.providers.tool_names import OwnNames
from chorus.llm.providers.traits import Traits
from chorus.llm.reading.error_bodies import MAX_ERROR_BODY
from chorus.llm.transport.clients import Clients, Endpoint, Reply, UpstreamEndpoint
from chorus.llm.transport.sse import SSEDecoder
from chorus.types import ChatRequest


class AnthropicUpstream:
    """One model behind the Messages API, as `address` has it."""

    def __init__(self, clients: Clients, address: ModelAddress, at: ReplicaAddress) -> None:
        upstream = UpstreamEndpoint(
            clients,
            name=address.name,
            base=root_of(at.api_base),
            api_key=None,  # it goes in a header of its own
            headers=fixed_headers(at.api_key, address.headers),
        )
        self._name = address.name
        self._model = address.model or address.name
        self._messages = upstream.endpoint("/v1/messages")
        self._counting = upstream.endpoint("/v1/messages/count_tokens")
        self._models = upstream.endpoint("/v1/models")
        self._betas = configured_betas(address.headers)
        self._extra_body = {name: value for name, value in address.extra_body.items() if name != "thinking"}
        self._thinking = address.extra_body.get("thinking")
        self._prompt_cache = address.settings.prompt_cache
        self._family = family_of(self._model)
        traits = Traits(omit=address.settings.omit, adaptive_thinking=self._family.thinking == "adaptive")
        self.learned = Learned(traits)
        self.instance_id = upstream.instance_id

    def open(self, call: Call) -> Taught:
        """See `Upstream.open`."""
        headers = self._beta_header(call.request)
        if headers:
            call = msgspec.structs.replace(call, headers={**call.headers, **headers})
        return Taught(call, self.instance_id, self.learned, self._written, self._chunks, lesson_of)

    def _beta_header(self, request: ChatRequest) -> dict[str, str]:
        return beta_header(self._betas_of(request))

    def _betas_of(self, request: ChatRequest) -> list[str]:
        """Return the names of beta features that are configured or that the client asks for."""
        asked = request.anthropic_options.get("betas")
        return [*self._betas, *(name for name in (asked if isinstance(asked, list) else ()) if isinstance(name, str))]

    def _written(self, call: Call, traits: Traits) -> tuple[Endpoint, dict[str, Any]]:
        """Return where the request goes, and its body."""
        return self._messages, self._body(call, traits)

    def _body(self, call: Call, traits: Traits) -> dict[str, Any]:
        request = call.request
        caches = self._prompt_cache == "always" or (self._prompt_cache == "workflows" and request.shared_messages > 0)
        body = request_body(
            request,
            self._model,
            self._family,
            traits,
            stream=call.stream,
            caches=caches,
            warn=call.warn,
            thinking=self._thinking,
            betas=self._betas_of(request),
        )
        return overlaid(body, self._extra_body) if self._extra_body else body

    async def _chunks(self, call: Call, reply: Reply, body: Mapping[str, Any]) -> AsyncIterator[Chunk]:
        """Yield the chunks of the reply to `body`.

        A stream that ends before its stop reason is a failure.
        """
        counts = PromptEstimate(call.request)
        names = OwnNames(call.request, MAX_NAME)
        kind = reply.content_type
        if kind != "text/event-stream" and not (call.stream and kind != "application/json"):
            yield read_whole(await reply.body(), self._name, prompt_estimate=counts, names=names)
            return
        reader = EventReader(self._name, prompt_estimate=counts, names=names)
        decoder = SSEDecoder()
        async for part in reply.parts():
            for data in decoder.feed(part):
                if (chunk := reader.read(data)) is not None:
                    yield chunk
                if reader.is_done:
                    yield reader.end()
                    return
        for data in decoder.flush():
            if (chunk := reader.read(data)) is not None:
                yield chunk
        yield reader.end()

    async def count_tokens(self, request: ChatRequest, connect_timeout: float) -> int:
        """Return the number of tokens of the prompt, as the upstream counts it at no cost.

        Raises:
            LLMError: it does not say.
        """
        body = self._body(Call(request, stream=False, warn=ignore), self.learned.traits)
        content = wirejson.encode_upstream({name: body[name] for name in body if name in COUNTED})
        reply = await self._counting.post(content, connect_timeout=connect_timeout, headers=self._beta_header(request))
        with reply:
            raw = await reply.beginning(MAX_ERROR_BODY)
        try:
            counted = wirejson.decode(raw)
        except ValueError:
            counted = None
        count = count_of(counted.get("input_tokens")) if isinstance(counted, dict) else None
        if count is None:
            raise UpstreamProtocol(f"Upstream '{self._name}' does not count tokens")
        return count

    async def check(self, connect_timeout: float) -> None:
        """Ask for the list of models, which costs no token (D4).

        Raises:
            LLMError: it cannot be had.
        """
        with await self._models.get(connect_timeout=connect_timeout) as reply:
            await reply.beginning(MAX_ERROR_BODY)


def anthropic(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """Return the model `address`, which speaks Anthropic's Messages API, at one address."""
    upstream = AnthropicUpstream(clients, address, at)
    return Provider(
        upstream.instance_id,
        upstream,
        check=upstream.check,
        lessons=upstream.learned,
        count_tokens=upstream.count_tokens,
    )
