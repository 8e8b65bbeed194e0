"""Embeddings on the wire: `/v1/embeddings`, `/api/embed` and the older `/api/embeddings` (A4)."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from starlette.types import Scope, Send

from chorus.cancellation import run_until
from chorus.errors import InvalidRequest
from chorus.llm.embed import Embeddings, EmbedInput
from chorus.server.http.auth import check_model, principal_of
from chorus.server.http.bodies import RequestBody
from chorus.server.http.context import request_context
from chorus.server.http.priority import priority_of
from chorus.server.http.reading import unknown_fields
from chorus.server.http.routes import Route, posted
from chorus.server.http.wire import disconnect_of, send_json
from chorus.service import Chorus

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


_Fields = TypeVar("_Fields", EmbeddingsBody, EmbedBody, OldEmbeddingsBody)


class EmbeddingEndpoints:
    """Handlers over one `Chorus`."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of all three."""
        openai, ollama, old = EMBEDDING_PATHS
        return (
            posted(openai, EmbeddingsBody, self.openai, "Embeddings", access="client"),
            posted(ollama, EmbedBody, self.ollama, "Embeddings, as Ollama answers them", access="client"),
            posted(old, OldEmbeddingsBody, self.ollama_old, "One embedding, as Ollama answered it", access="client"),
        )

    async def openai(self, scope: Scope, body: RequestBody[EmbeddingsBody], send: Send) -> None:
        """Answer as OpenAI does.

        Its SDKs ask for base64 by default, and decode it themselves.
        """
        fields = body.fields
        check_model(scope, fields.model)
        if fields.encoding_format not in (None, "float", "base64"):
            raise InvalidRequest(
                "Invalid value for 'encoding_format': expected float or base64.", param="encoding_format"
            )
        embeddings = await self._embed(scope, body, _inputs(fields.input), fields.dimensions)
        packed = fields.encoding_format == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if packed else vector}
            for index, vector in enumerate(embeddings.vectors)
        ]
        tokens = embeddings.usage.prompt_tokens
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        await send_json(send, {"object": "list", "data": data, "model": fields.model, "usage": usage})

    async def ollama(self, scope: Scope, body: RequestBody[EmbedBody], send: Send) -> None:
        """Answer as Ollama does."""
        began = time.perf_counter()
        fields = body.fields
        check_model(scope, fields.model)
        inputs = [fields.input] if isinstance(fields.input, str) else fields.input or []
        embeddings = Embeddings([])
        if inputs:
            embeddings = await self._embed(scope, body, inputs, fields.dimensions)
        else:
            self._chorus.snapshot.resolve(fields.model)
        answer: dict[str, Any] = {
            "model": fields.model,
            "embeddings": embeddings.vectors,
            "total_duration": max(int((time.perf_counter() - began) * 1e9), 1),
            "load_duration": 1,
            "prompt_eval_count": embeddings.usage.prompt_tokens,
        }
        await send_json(send, answer)

    async def ollama_old(self, scope: Scope, body: RequestBody[OldEmbeddingsBody], send: Send) -> None:
        """Answer as Ollama's older endpoint does: one prompt, one vector.

        No prompt, an empty one.
        """
        fields = body.fields
        check_model(scope, fields.model)
        vector: list[float] = []
        if fields.prompt:
            vector = (await self._embed(scope, body, [fields.prompt], None)).vectors[0]
        else:
            self._chorus.snapshot.resolve(fields.model)
        await send_json(send, {"embedding": vector})

    async def _embed(
        self, scope: Scope, body: RequestBody[_Fields], inputs: Sequence[EmbedInput], dimensions: int | None
    ) -> Embeddings:
        """Return the vectors of `inputs`.

        Raises InvalidRequest where the header with the priority is wrong, else as `Chorus.embed`
        does.
        """
        work = partial(
            self._chorus.embed,
            body.fields.model,
            inputs,
            dimensions=dimensions,
            request_id=request_context(scope).request_id,
            priority=priority_of(scope, body.raw),
            caller=principal_of(scope),
            extra=unknown_fields(body.raw, type(body.fields)),
        )
        return await run_until(disconnect_of(scope), work)


def _inputs(given: str | list[str | int | list[int]]) -> list[EmbedInput]:
    """Return the inputs as a list; a list of numbers is the tokens of one input."""
    inputs: list[EmbedInput]
    if isinstance(given, str):
        inputs = [given]
    elif given and all(isinstance(item, int) for item in given):
        inputs = [[item for item in given if isinstance(item, int)]]
    else:
        inputs = [item for item in given if not isinstance(item, int)]
        if len(inputs) < len(given):
            raise InvalidRequest("Invalid value for 'input': texts and single numbers cannot be mixed.", param="input")
    if not 1 <= len(inputs) <= _MAX_INPUTS:
        raise InvalidRequest(f"Invalid value for 'input': expected 1 to {_MAX_INPUTS} texts.", param="input")
    return inputs


def _base64(vector: list[float]) -> str:
    """Return a vector as little-endian float32 in base64, as OpenAI sends it."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
