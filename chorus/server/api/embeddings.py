"""Embeddings on the wire: `/v1/embeddings`, `/api/embed` and the older `/api/embeddings` (A4)."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from chorus.cancellation import run_until
from chorus.errors import InvalidRequest
from chorus.llm.embed import Embeddings, EmbedInput
from chorus.server.http.auth import check_model, principal_of
from chorus.server.http.context import request_context
from chorus.server.http.priority import priority_of
from chorus.server.http.reading import read, unknown_fields
from chorus.server.http.wire import disconnect_of, read_json, send_json
from chorus.service import Chorus
from chorus.types import Extra, Priority

EMBEDDING_PATHS: Final = ("/v1/embeddings", "/api/embed", "/api/embeddings")
_MAX_INPUTS = 2048  # OpenAI's own limit


class EmbeddingsBody(msgspec.Struct):
    """OpenAI's request."""

    model: str
    input: str | list[str | int | list[int]]
    encoding_format: str | None = None
    dimensions: int | None = None


class EmbedBody(msgspec.Struct):
    """Ollama's request."""

    model: str
    input: str | list[str] | None = None
    dimensions: int | None = None


class OldEmbeddingsBody(msgspec.Struct):
    """Ollama's older request."""

    model: str
    prompt: str | None = None


_Body = TypeVar("_Body", EmbeddingsBody, EmbedBody, OldEmbeddingsBody)


class EmbeddingEndpoints:
    """Handlers over one `Chorus`; each is an ASGI application."""

    def __init__(self, chorus: Chorus, max_body_bytes: int) -> None:
        self._chorus = chorus
        self._max_body_bytes = max_body_bytes

    def routes(self) -> tuple[tuple[str, ASGIApp, str], ...]:
        """Path, handler and summary of each."""
        openai, ollama, old = EMBEDDING_PATHS
        return (
            (openai, self.openai, "Embeddings"),
            (ollama, self.ollama, "Embeddings, as Ollama answers them"),
            (old, self.ollama_old, "One embedding, as Ollama answered it"),
        )

    async def openai(self, scope: Scope, receive: Receive, send: Send) -> None:
        """OpenAI's. Its SDKs ask for base64 unless told otherwise, and decode it themselves."""
        fields, priority, extra = await self._read_body(scope, receive, EmbeddingsBody)
        if fields.encoding_format not in (None, "float", "base64"):
            raise InvalidRequest(
                "Invalid value for 'encoding_format': expected float or base64.", param="encoding_format"
            )
        found = await self._embed(scope, fields.model, _inputs(fields.input), fields.dimensions, priority, extra)
        packed = fields.encoding_format == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if packed else vector}
            for index, vector in enumerate(found.vectors)
        ]
        tokens = found.usage.prompt_tokens
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        await send_json(send, {"object": "list", "data": data, "model": fields.model, "usage": usage})

    async def ollama(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ollama's."""
        began = time.perf_counter()
        fields, priority, extra = await self._read_body(scope, receive, EmbedBody)
        inputs = [fields.input] if isinstance(fields.input, str) else fields.input or []
        found = Embeddings([])
        if inputs:
            found = await self._embed(scope, fields.model, inputs, fields.dimensions, priority, extra)
        else:
            self._chorus.snapshot.resolve(fields.model)
        body: dict[str, Any] = {
            "model": fields.model,
            "embeddings": found.vectors,
            "total_duration": max(int((time.perf_counter() - began) * 1e9), 1),
            "load_duration": 1,
            "prompt_eval_count": found.usage.prompt_tokens,
        }
        await send_json(send, body)

    async def ollama_old(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ollama's older endpoint: one prompt, one vector; no prompt, an empty one."""
        fields, priority, extra = await self._read_body(scope, receive, OldEmbeddingsBody)
        vector: list[float] = []
        if fields.prompt:
            vector = (await self._embed(scope, fields.model, [fields.prompt], None, priority, extra)).vectors[0]
        else:
            self._chorus.snapshot.resolve(fields.model)
        await send_json(send, {"embedding": vector})

    async def _read_body(self, scope: Scope, receive: Receive, shape: type[_Body]) -> tuple[_Body, Priority, Extra]:
        """The body as `shape`, the priority with which the request waits, and its other fields.

        Raises:
            InvalidRequest: a field, or the header with the priority, is wrong.
            ForbiddenModel: the key may not ask for the model.
        """
        body = await read_json(scope, receive, self._max_body_bytes)
        fields = read(body, shape)
        check_model(scope, fields.model)
        return fields, priority_of(scope, body), unknown_fields(body, shape)

    async def _embed(
        self,
        scope: Scope,
        model: str,
        inputs: Sequence[EmbedInput],
        dimensions: int | None,
        priority: Priority,
        extra: Extra,
    ) -> Embeddings:
        work = partial(
            self._chorus.embed,
            model,
            inputs,
            dimensions=dimensions,
            request_id=request_context(scope).request_id,
            priority=priority,
            caller=principal_of(scope),
            extra=extra,
        )
        return await run_until(disconnect_of(scope), work)


def _inputs(given: str | list[str | int | list[int]]) -> list[EmbedInput]:
    """The inputs as a list; a list of numbers is the tokens of one input."""
    inputs: list[EmbedInput]
    if isinstance(given, str):
        inputs = [given]
    elif given and all(isinstance(each, int) for each in given):
        inputs = [[each for each in given if isinstance(each, int)]]
    else:
        inputs = [each for each in given if not isinstance(each, int)]
        if len(inputs) < len(given):
            raise InvalidRequest("Invalid value for 'input': texts and single numbers cannot be mixed.", param="input")
    if not 1 <= len(inputs) <= _MAX_INPUTS:
        raise InvalidRequest(f"Invalid value for 'input': expected 1 to {_MAX_INPUTS} texts.", param="input")
    return inputs


def _base64(vector: list[float]) -> str:
    """Little-endian float32, as OpenAI sends it."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
