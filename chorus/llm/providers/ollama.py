"""The provider for Ollama's API: `/api/chat`, and `/api/generate` for raw prompts (L2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from chorus import wirejson
from chorus.errors import UnsupportedFeature, UpstreamProtocol
from chorus.llm.address import UNSET, Settings
from chorus.llm.base import Call, Chunk
from chorus.llm.counts import PromptEstimate
from chorus.llm.embed import EmbedCall, Embeddings
from chorus.llm.providers.embeddings import read_ollama
from chorus.llm.providers.fields import overlaid
from chorus.llm.providers.learning import Learned
from chorus.llm.providers.ollama_reading import LineReader
from chorus.llm.providers.ollama_request import request_body
from chorus.llm.providers.taught import Taught
from chorus.llm.providers.traits import Traits, ollama_traits
from chorus.llm.reading.error_bodies import MAX_ERROR_BODY
from chorus.llm.transport.clients import Clients, Endpoint, Reply, UpstreamEndpoint
from chorus.llm.transport.ndjson import NDJSONDecoder
from chorus.wirejson import JSON


class OllamaUpstream:
    """One model of an Ollama server.

    `api_base` is its root; a trailing `/v1` or `/api` is understood.
    """

    def __init__(
        self,
        clients: Clients,
        *,
        name: str,
        api_base: str,
        model: str,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, JSON] | None = None,
        settings: Settings = UNSET,
    ) -> None:
        base = api_base.rstrip("/").removesuffix("/v1").removesuffix("/api").rstrip("/")
        upstream = UpstreamEndpoint(clients, name=name, base=base, api_key=api_key, headers=headers)
        self._chat = upstream.endpoint("/api/chat")
        self._generate = upstream.endpoint("/api/generate")
        self._embed = upstream.endpoint("/api/embed")
        self._version = upstream.endpoint("/api/version")
        self._name = name
        self._model = model
        self._extra_body = dict(extra_body or {})
        self.learned = Learned(ollama_traits(settings))
        self.instance_id = upstream.instance_id

    def open(self, call: Call) -> Taught:
        """See `Upstream.open`."""
        return Taught(call, self.instance_id, self.learned, self._written, self._chunks)

    def _written(self, call: Call, traits: Traits) -> tuple[Endpoint, dict[str, Any]]:
        """Return where the request goes, and its body."""
        endpoint = self._generate if call.request.prompt is not None else self._chat
        body = request_body(call.request, self._model, traits, stream=call.stream, warn=call.warn)
        return endpoint, overlaid(body, self._extra_body) if self._extra_body else body

    async def embed(self, call: EmbedCall) -> Embeddings:
        """See `Embedder.embed`."""
        if not all(isinstance(text, str) for text in call.inputs):
            raise UnsupportedFeature("An Ollama model embeds texts, not token numbers; send the text.", param="input")
        body: dict[str, JSON] = {**call.extra, "model": self._model, "input": list(call.inputs)}
        if call.dimensions is not None:
            body["dimensions"] = call.dimensions
        with await self._embed.post(
            wirejson.encode_upstream(body), connect_timeout=call.connect_timeout, headers=call.headers
        ) as reply:
            raw = await reply.body()
        return await read_ollama(raw, call.inputs, self._name)

    async def check(self, connect_timeout: float) -> None:
        """Ask for its version, which costs no token (D4).

        Raises:
            LLMError: it cannot be had.
        """
        with await self._version.get(connect_timeout=connect_timeout) as reply:
            await reply.beginning(MAX_ERROR_BODY)

    async def _chunks(self, call: Call, reply: Reply, body: Mapping[str, Any]) -> AsyncIterator[Chunk]:
        """Yield the chunks of the reply to `body`.

        One that ends before `done` is a failure. A whole reply is a stream of one.
        """
        reader = LineReader(self._name, prompt_estimate=PromptEstimate(call.request))
        decoder = NDJSONDecoder()
        async for part in reply.parts():
            for line in decoder.feed(part):
                yield reader.read(line)
                if reader.done:
                    return
        for line in decoder.flush():
            yield reader.read(line)
        if not reader.done:
            raise UpstreamProtocol(f"Upstream '{self._name}' ended its stream without a done line")
