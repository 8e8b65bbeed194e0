"""The OpenAI wire, as OpenAI, vLLM, SGLang, llama.cpp, mlx_lm.server and a hundred others speak it (L2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from chorus.errors import ContentFiltered, LLMError, UpstreamProtocol
from chorus.llm.base import Call, Chunk
from chorus.llm.clients import MAX_ERROR_BODY, Clients, Reply, Site, error_text
from chorus.llm.embed import Embeddings, checked
from chorus.llm.sse import SSEDecoder
from chorus.llm.think import ThinkSplitter, split_thinking
from chorus.types import ChatRequest, FinishReason, Image, Message, Part, Text, ToolPiece
from chorus.usage import Usage
from chorus.wirejson import JSON

_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


# What we read of a reply. Only what is used has a type; the rest of a chunk is never built.
class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: JSON = None


class _ToolCall(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Said(msgspec.Struct, gc=False):
    content: JSON = None
    reasoning_content: str | None = None
    reasoning: JSON = None
    tool_calls: list[_ToolCall] | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Said | None = None
    message: _Said | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: JSON = None


class _Details(msgspec.Struct, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Body(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: JSON = None


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Vectors(msgspec.Struct):
    data: list[_Vector]
    usage: _Usage | None = None


_read_vectors = msgspec.json.Decoder(_Vectors).decode
_read = msgspec.json.Decoder(_Body, strict=False).decode


class OpenAIUpstream:
    """One model behind an OpenAI-compatible address. `model` is the name that the upstream knows it by."""

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
        site = Site(clients, name=name, base=api_base.rstrip("/"), api_key=api_key, headers=headers)
        self._chat = site.endpoint("/chat/completions")
        self._completions = site.endpoint("/completions")
        self._embeddings = site.endpoint("/embeddings")
        self._models = site.endpoint("/models")
        self._name = name
        self._model = model
        self._extra_body = dict(extra_body or {})
        self.instance_id = site.instance_id

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Upstream.open`."""
        raw = call.request.prompt is not None
        endpoint = self._completions if raw else self._chat
        body = request_body(call.request, self._model, stream=call.stream)
        body.update(self._extra_body)
        call.attempting(self.instance_id)
        async with endpoint.post(body, connect_timeout=call.connect_timeout, request_id=call.request_id) as reply:
            kind = reply.content_type  # some stream unasked, some answer a stream with one object
            streamed = kind == "text/event-stream" or (call.stream and kind != "application/json")
            yield self._stream(reply) if streamed else self._whole(reply)

    async def embed(
        self, inputs: Sequence[str], *, dimensions: int | None, request_id: str, connect_timeout: float
    ) -> Embeddings:
        """See `Embedder.embed`."""
        body: dict[str, JSON] = {"model": self._model, "input": list(inputs), "encoding_format": "float"}
        if dimensions is not None:
            body["dimensions"] = dimensions
        async with self._embeddings.post(body, connect_timeout=connect_timeout, request_id=request_id) as reply:
            raw = await reply.body()
        try:
            found = _read_vectors(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UpstreamProtocol(f"Upstream '{self._name}' sent something that is no list of embeddings") from None
        vectors = [entry.embedding for entry in sorted(found.data, key=lambda entry: entry.index)]
        return Embeddings(checked(vectors, inputs, self._name), _usage(found.usage) or Usage())

    async def check(self, connect_timeout: float) -> None:
        """Ask for the list of models, which costs no token (D4).

        Raises:
            LLMError: it cannot be had.
        """
        async with self._models.get(connect_timeout=connect_timeout) as reply:
            await reply.body(limit=MAX_ERROR_BODY)  # some list hundreds of models; the beginning tells enough

    async def _stream(self, reply: Reply) -> AsyncIterator[Chunk]:
        """The chunks of an SSE reply.

        Ends after a finish reason or `[DONE]`; an end of the body before either is a failure, never a short answer.
        """
        decoder, reader = SSEDecoder(), _ChunkReader(self._name)
        async for part in reply.parts():
            for data in decoder.feed(part):
                if data.startswith(b"[DONE]"):
                    for chunk in reader.end(done=True):
                        yield chunk
                    return
                if (chunk_read := reader.read(data)) is not None:
                    yield chunk_read
        for data in decoder.flush():
            if not data.startswith(b"[DONE]") and (chunk_read := reader.read(data)) is not None:
                yield chunk_read
        for chunk in reader.end(done=False):
            yield chunk

    async def _whole(self, reply: Reply) -> AsyncIterator[Chunk]:
        """The one chunk of a JSON reply."""
        raw = await reply.body()
        body = _decode(raw, self._name)
        if not body.choices or (body.choices[0].message is None and body.choices[0].text is None):
            raise UpstreamProtocol(f"Upstream '{self._name}' answered without a message")
        choice = body.choices[0]
        said = choice.message or _Said()
        text, thought = split_thinking(choice.text or _text_of(said) or "")
        reasoning = _reasoning_of(said) or thought
        calls = said.tool_calls or []
        pieces = tuple(_piece(call, position) for position, call in enumerate(calls))
        finish = _FINISH.get(choice.finish_reason or "stop", "stop")
        yield Chunk(
            text=text,
            reasoning=reasoning,
            tool_calls=pieces,
            finish_reason="tool_calls" if pieces and finish == "stop" else finish,
            usage=_usage(body.usage),
            logprobs=choice.logprobs,
        )


class _ChunkReader:
    """Reads the chunks of one stream: keeps thinking apart, and knows whether the stream ended as it must."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thinking: ThinkSplitter | None = ThinkSplitter()
        self._finish: FinishReason | None = None
        self._calls: list[str | None] = []
        """The id of each call that began."""
        self._places: dict[int | None, int] = {}
        """Which of them an index of the upstream means now."""

    def read(self, data: bytes) -> Chunk | None:
        """What one event adds; None when that is nothing."""
        body = _decode(data, self._name)
        if self._thinking is None and body.choices and body.usage is None:
            plain = _plain(body.choices[0])
            if plain:  # most chunks by far
                return Chunk(plain)
        usage = _usage(body.usage) if body.usage is not None else None
        if not body.choices:
            return Chunk(usage=usage) if usage is not None else None
        choice = body.choices[0]
        said = choice.delta or choice.message
        text, reasoning = choice.text or "", ""
        pieces: tuple[ToolPiece, ...] = ()
        if said is not None:
            text = _text_of(said) or text
            reasoning = _reasoning_of(said) or ""
            if said.tool_calls:
                pieces = tuple(self._piece(call) for call in said.tool_calls)
        if choice.finish_reason:
            self._finish = _FINISH.get(choice.finish_reason, "stop")
        if text and self._thinking is not None:
            text, thought = self._thinking.feed(text)
            reasoning += thought
            if text:  # the answer has begun: nothing is held back any more
                self._thinking = None
        if not (text or reasoning or pieces or usage or choice.logprobs):
            return None
        return Chunk(text, reasoning, pieces, None, usage, choice.logprobs)

    def _piece(self, call: _ToolCall) -> ToolPiece:
        """One piece of a tool call, its id and name only where the call begins. An id that is new begins one, whatever the
        index: some upstreams leave it out, and others say 0 for each call."""
        place = self._places.get(call.index)
        known = self._calls[place] if place is not None else None
        if place is not None and (not call.id or known is None or call.id == known):
            return _piece(call, place, first=False)
        place = self._places[call.index] = len(self._calls)
        self._calls.append(call.id or None)
        return _piece(call, place)

    def end(self, *, done: bool) -> list[Chunk]:
        """The closing chunk of the stream.

        Raises:
            UpstreamProtocol: neither a finish reason nor `[DONE]` was seen.
        """
        if self._finish is None and not done:
            raise UpstreamProtocol(f"Upstream '{self._name}' ended its stream without a finish reason")
        finish: FinishReason = self._finish or "stop"
        if self._calls and finish == "stop":
            finish = "tool_calls"
        text, reasoning = self._thinking.flush() if self._thinking is not None else ("", "")
        return [Chunk(text=text, reasoning=reasoning, finish_reason=finish)]


def _plain(choice: _Choice) -> str | None:
    """The text of a choice that holds nothing else; None of any other."""
    said = choice.delta
    if (
        said is None
        or choice.finish_reason is not None
        or choice.logprobs is not None
        or said.tool_calls is not None
        or said.reasoning_content is not None
        or said.reasoning is not None
    ):
        return None
    text = said.content
    return text if type(text) is str else None


def _decode(raw: bytes, name: str) -> _Body:
    try:
        body = _read(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if not raw.strip():
            raise UpstreamProtocol(f"Upstream '{name}' answered with nothing") from None
        what = "an HTML page" if raw.lstrip()[:1] == b"<" else "something that is not a chat completion"
        raise UpstreamProtocol(f"Upstream '{name}' sent {what}") from None
    if body.error:
        raise in_band_error(name, raw, body.error)
    return body


def in_band_error(name: str, raw: bytes, error: JSON) -> LLMError:
    """The typed error for an `error` object inside a 200."""
    code = error.get("code") if isinstance(error, dict) else None
    if code == "content_filter":
        return ContentFiltered(f"Upstream '{name}' stopped the answer by its content filter")
    return LLMError(f"Upstream '{name}' reported an error in its answer", detail=error_text(raw))


def _text_of(said: _Said) -> str | None:
    if isinstance(said.content, str):
        return said.content
    if isinstance(said.content, list):  # Mistral's reasoning models write parts
        return "".join(part.get("text") or "" for part in said.content if isinstance(part, dict))
    return said.refusal


def _reasoning_of(said: _Said) -> str | None:
    return said.reasoning_content or (said.reasoning if isinstance(said.reasoning, str) else None)


def _piece(call: _ToolCall, index: int, *, first: bool = True) -> ToolPiece:
    function = call.function or _Function()
    arguments = function.arguments
    if arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):  # Ollama-like upstreams send the object itself
        arguments = msgspec.json.encode(arguments).decode()
    if not first:
        return ToolPiece(index, arguments=arguments)
    return ToolPiece(index, call.id or f"call_{index}", function.name or "", arguments)


def _usage(usage: _Usage | None) -> Usage | None:
    if usage is None:
        return None
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        usage.prompt_tokens or 0,
        usage.completion_tokens or 0,
        (prompt.cached_tokens if prompt else 0) or 0,
        (completion.reasoning_tokens if completion else 0) or 0,
    )


def request_body(request: ChatRequest, model: str, *, stream: bool) -> dict[str, Any]:
    """The request as OpenAI's API wants it. Empty optional fields are left out: some upstreams refuse `tools: []` or
    `temperature: null`."""
    body: dict[str, Any] = {**request.extra, "model": model}
    if request.prompt is not None:
        body["prompt"] = request.prompt
        if request.suffix:
            body["suffix"] = request.suffix
        if request.logprobs:
            body["logprobs"] = request.top_logprobs or 1
    else:
        body["messages"] = [message_body(message) for message in request.messages]
        if request.tools:
            body["tools"] = msgspec.Raw(request.tools.encoded)
            if request.tool_choice is not None:
                body["tool_choice"] = request.tool_choice
            if request.parallel_tool_calls is not None:
                body["parallel_tool_calls"] = request.parallel_tool_calls
        if request.response_format is not None:
            body["response_format"] = request.response_format
        if isinstance(request.reasoning_effort, str):
            body["reasoning_effort"] = request.reasoning_effort
        if request.logprobs:
            body["logprobs"] = True
            if request.top_logprobs is not None:
                body["top_logprobs"] = request.top_logprobs
    sampling = msgspec.to_builtins(request.sampling)
    if "max_tokens" in sampling:
        body[request.max_tokens_name] = sampling.pop("max_tokens")
    body.update(sampling)
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def message_body(message: Message) -> dict[str, Any]:
    """One message in OpenAI's shape."""
    body: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role}
    if isinstance(message.content, str):
        body["content"] = message.content
    else:
        body["content"] = [_part_body(part) for part in message.content]
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        body["content"] = body["content"] or None
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.name is not None and message.role != "tool":
        body["name"] = message.name
    return body


def _part_body(part: Part) -> dict[str, Any]:
    """One part of a message in OpenAI's shape."""
    if isinstance(part, Text):
        return {"type": "text", "text": part.text, **part.extra}
    if isinstance(part, Image):
        image = {"url": part.url, **({"detail": part.detail} if part.detail else {})}
        return {"type": "image_url", "image_url": image, **part.extra}
    return dict(part.data)
