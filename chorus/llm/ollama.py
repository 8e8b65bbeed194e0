"""Ollama's own wire: `/api/chat`, and `/api/generate` for raw prompts (L2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any

import msgspec

from chorus.errors import UnsupportedFeature, UpstreamProtocol
from chorus.llm.base import Call, Chunk
from chorus.llm.clients import Clients, Reply, Site
from chorus.llm.counts import prompt_estimate
from chorus.llm.embed import NO_EXTRA, Embeddings, EmbedInput, read_ollama
from chorus.llm.error_bodies import MAX_ERROR_BODY
from chorus.llm.lenient import value_of, whole
from chorus.llm.ndjson import NDJSONDecoder
from chorus.llm.ollama_reading import LineReader
from chorus.types import ChatRequest, Extra, Image, Message, Text
from chorus.wirejson import JSON


class OllamaUpstream:
    """One model of an Ollama server. `api_base` is its root; a trailing `/v1` or `/api` is understood."""

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
    ) -> None:
        base = api_base.rstrip("/").removesuffix("/v1").removesuffix("/api").rstrip("/")
        site = Site(clients, name=name, base=base, api_key=api_key, headers=headers)
        self._chat = site.endpoint("/api/chat")
        self._generate = site.endpoint("/api/generate")
        self._embed = site.endpoint("/api/embed")
        self._version = site.endpoint("/api/version")
        self._name = name
        self._model = model
        self._extra_body = dict(extra_body or {})
        self.instance_id = site.instance_id

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Upstream.open`."""
        endpoint = self._generate if call.request.prompt is not None else self._chat
        body = request_body(call.request, self._model, stream=call.stream)
        body.update(self._extra_body)
        call.attempting(self.instance_id)
        async with endpoint.post(body, connect_timeout=call.connect_timeout, request_id=call.request_id) as reply:
            counts = cache(partial(prompt_estimate, call.request))  # some report usage with each token
            yield self._chunks(reply, LineReader(self._name, prompt_estimate=counts))

    async def embed(
        self,
        inputs: Sequence[EmbedInput],
        *,
        dimensions: int | None,
        request_id: str,
        connect_timeout: float,
        extra: Extra = NO_EXTRA,
    ) -> Embeddings:
        """See `Embedder.embed`."""
        if not all(isinstance(each, str) for each in inputs):
            raise UnsupportedFeature("An Ollama model embeds texts, not token numbers; send the text.", param="input")
        body: dict[str, JSON] = {**extra, "model": self._model, "input": list(inputs)}
        if dimensions is not None:
            body["dimensions"] = dimensions
        async with self._embed.post(body, connect_timeout=connect_timeout, request_id=request_id) as reply:
            raw = await reply.body()
        return await read_ollama(raw, inputs, self._name)

    async def check(self, connect_timeout: float) -> None:
        """Ask for its version, which costs no token (D4).

        Raises:
            LLMError: it cannot be had.
        """
        async with self._version.get(connect_timeout=connect_timeout) as reply:
            await reply.beginning(MAX_ERROR_BODY)

    async def _chunks(self, reply: Reply, reader: LineReader) -> AsyncIterator[Chunk]:
        """The chunks of a reply; a body that ends before `done` is a failure. A whole reply is a stream of one."""
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


def request_body(request: ChatRequest, model: str, *, stream: bool) -> dict[str, Any]:
    """The request as Ollama wants it."""
    body: dict[str, Any] = {**request.extra, "model": model, "stream": stream}
    if request.prompt is not None:
        body |= {"prompt": request.prompt, "raw": request.suffix is None}
        if request.suffix:
            body["suffix"] = request.suffix
    else:
        names = {call.id: call.name for message in request.messages for call in message.tool_calls}
        body["messages"] = [message_body(message, names) for message in request.messages]
        if request.tools:
            body["tools"] = msgspec.Raw(request.tools.encoded)
    sampling = msgspec.to_builtins(request.sampling)
    if "max_tokens" in sampling:
        sampling["num_predict"] = sampling.pop("max_tokens")
    if options := {**request.ollama_options, **sampling}:
        body["options"] = options
    if (schema := _format(request.response_format)) is not None:
        body["format"] = schema
    if request.reasoning_effort is not None:
        body["think"] = False if request.reasoning_effort == "none" else request.reasoning_effort
    if request.keep_alive is not None:
        body["keep_alive"] = request.keep_alive
    return body


def _format(response_format: JSON) -> JSON:
    """OpenAI's `response_format` as Ollama's `format`."""
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_schema":
        return (response_format.get("json_schema") or {}).get("schema") or "json"
    return "json" if response_format.get("type") == "json_object" else None


def message_body(message: Message, call_names: Mapping[str, str]) -> dict[str, Any]:
    """One message in Ollama's shape. `call_names` tells the tool behind each call id.

    Raises:
        UnsupportedFeature: an image is not inline; Ollama fetches nothing.
    """
    body: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    if isinstance(message.content, str):
        body["content"] = message.content
    else:
        body["content"] = "\n".join(part.text for part in message.content if isinstance(part, Text))
        if images := [_inline(part) for part in message.content if isinstance(part, Image)]:
            body["images"] = images
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "function": {"name": call.name, "arguments": _object(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        name = message.name or call_names.get(message.tool_call_id or "")
        body |= {"tool_name": name} if name else {}
        body |= {"tool_call_id": message.tool_call_id} if message.tool_call_id else {}
    return body


def _inline(image: Image) -> str:
    head, comma, data = image.url.partition(",")
    if not (comma and head.startswith("data:")):
        raise UnsupportedFeature("An Ollama model takes images inline, as base64 or a data: URL, not by address.")
    return data


def _object(arguments: str) -> JSON:
    try:
        value = whole(value_of((arguments or "{}").encode()))
    except ValueError:
        return {"arguments": arguments}
    return value if isinstance(value, dict) else {"arguments": value}
