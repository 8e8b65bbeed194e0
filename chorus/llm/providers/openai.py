"""The provider for OpenAI's API, as OpenAI, vLLM, SGLang, llama.cpp, mlx_lm.server and many others
have it (L2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from chorus.llm.base import Call, Chunk
from chorus.llm.counts import PromptEstimate
from chorus.llm.embed import EmbedCall, Embeddings
from chorus.llm.providers.echo import without_prompt
from chorus.llm.providers.embeddings import read_openai
from chorus.llm.providers.fields import overlaid
from chorus.llm.providers.learning import TOOL_NAMES, Learned
from chorus.llm.providers.openai_reading import ChunkReader, read_whole
from chorus.llm.providers.openai_request import is_completion, request_body
from chorus.llm.providers.taught import Taught, sent
from chorus.llm.providers.tool_names import MOST, OwnNames, renamed, with_own_names
from chorus.llm.providers.traits import Traits
from chorus.llm.reading.error_bodies import MAX_ERROR_BODY
from chorus.llm.transport.clients import Clients, Endpoint, Reply, UpstreamEndpoint
from chorus.llm.transport.sse import SSEDecoder
from chorus.wirejson import JSON

LINGER_SECS: Final = 5.0
"""How long a stream may go on after its finish reason. Usage comes with the next packet."""


@dataclass(frozen=True, slots=True)
class OpenAIAddress:
    """Where the endpoints of one model are."""

    base: str
    """What stands before `/chat/completions`."""
    query: str = ""
    """What stands behind each path, with its `?`."""
    models_base: str = ""
    """What stands before `/models`, where it is something else."""


class OpenAIUpstream:
    """One model behind an OpenAI-compatible address.

    `model` is the name that the upstream knows it by.
    """

    def __init__(
        self,
        clients: Clients,
        *,
        name: str,
        at: OpenAIAddress,
        model: str,
        traits: Traits,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        extra_body: Mapping[str, JSON] | None = None,
    ) -> None:
        upstream = UpstreamEndpoint(clients, name=name, base=at.base, api_key=api_key, headers=headers)
        self._chat = upstream.endpoint(f"/chat/completions{at.query}")
        self._completions = upstream.endpoint(f"/completions{at.query}")
        self._embeddings = upstream.endpoint(f"/embeddings{at.query}")
        models = UpstreamEndpoint(clients, name=name, base=at.models_base or at.base, api_key=api_key, headers=headers)
        self._models = models.endpoint(f"/models{at.query}")
        self._name = name
        self._model = model
        self._extra_body = dict(extra_body or {})
        self.learned = Learned(traits)
        self.instance_id = upstream.instance_id

    def open(self, call: Call) -> Taught:
        """See `Upstream.open`."""
        return Taught(call, self.instance_id, self.learned, self._written, self._chunks)

    def _chunks(self, call: Call, reply: Reply, body: Mapping[str, Any]) -> AsyncIterator[Chunk]:
        """Return the chunks of the reply to `body`."""
        kind = reply.content_type  # some stream unasked, some answer a stream with one object
        counts = PromptEstimate(call.request)
        logprobs = bool(body.get("logprobs"))
        if kind == "text/event-stream" or (call.stream and kind != "application/json"):
            chunks = self._stream(reply, ChunkReader(self._name, prompt_estimate=counts, logprobs=logprobs))
        else:
            chunks = self._whole(reply, partial(read_whole, name=self._name, prompt_estimate=counts, logprobs=logprobs))
        if TOOL_NAMES in self.learned.traits.omit:
            chunks = with_own_names(chunks, OwnNames(call.request, MOST))
        prompt = call.request.prompt
        return without_prompt(chunks, prompt) if "echo" in body and isinstance(prompt, str) else chunks

    def _written(self, call: Call, traits: Traits) -> tuple[Endpoint, dict[str, Any]]:
        """Return where the request goes, and its body."""
        endpoint = self._completions if is_completion(call.request, traits) else self._chat
        request = renamed(call.request, MOST) if TOOL_NAMES in traits.omit else call.request
        body = request_body(request, self._model, traits, stream=call.stream, warn=call.warn)
        return endpoint, overlaid(body, self._extra_body) if self._extra_body else body

    async def embed(self, call: EmbedCall) -> Embeddings:
        """See `Embedder.embed`."""
        fields = {key: value for key, value in call.extra.items() if not _is_ollamas(key, value)}
        body: dict[str, JSON] = {**fields, "model": self._model, "input": list(call.inputs), "encoding_format": "float"}
        if call.dimensions is not None:
            body["dimensions"] = call.dimensions

        def written(traits: Traits) -> tuple[Endpoint, dict[str, Any]]:
            return self._embeddings, {key: value for key, value in body.items() if key not in traits.omit}

        reply, _ = await sent(
            self.instance_id, self.learned, written, connect_timeout=call.connect_timeout, headers=call.headers
        )
        with reply:
            raw = await reply.body()
        return await read_openai(raw, call.inputs, self._name)

    async def check(self, connect_timeout: float) -> None:
        """Ask for the list of models, which costs no token (D4).

        Raises:
            LLMError: it cannot be had.
        """
        with await self._models.get(connect_timeout=connect_timeout) as reply:
            # some list hundreds of models; the beginning tells enough
            await reply.beginning(MAX_ERROR_BODY)

    async def _stream(self, reply: Reply, reader: ChunkReader) -> AsyncIterator[Chunk]:
        """Yield the chunks of an SSE reply.

        Ends with `[DONE]`, or with the body after a finish reason, which has `LINGER_SECS` to come;
        an end of the body before either is a failure, never a short answer.
        """
        decoder = SSEDecoder()
        async for part in reply.parts():
            for data in decoder.feed(part):
                if data.startswith(b"[DONE]"):
                    yield reader.end(done=True)
                    return
                if (chunk := reader.read(data)) is not None:
                    yield chunk
            if reader.finish is not None:
                reply.finish_within(LINGER_SECS)
        is_done = False
        for data in decoder.flush():
            is_done = data.startswith(b"[DONE]")
            if not is_done and (chunk := reader.read(data)) is not None:
                yield chunk
        yield reader.end(done=is_done)

    async def _whole(self, reply: Reply, read: Callable[[bytes], Chunk]) -> AsyncIterator[Chunk]:
        """Yield the one chunk of a JSON reply."""
        yield read(await reply.body())


def _is_ollamas(key: str, value: JSON) -> bool:
    """Return whether a field of an embedding request is Ollama's own, which OpenAI's API refuses.

    `truncate` is a word elsewhere.
    """
    return key in ("options", "keep_alive") or (key == "truncate" and isinstance(value, bool))
