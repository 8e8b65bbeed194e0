"""The provider `litellm`: what the library LiteLLM reaches (Bedrock, Vertex AI, Cohere, ...), an
extra.

It is an example of a provider as another package would bring it: one file, a factory, and an
upstream. Requests are written and answers are read by the code of the provider `openai`, whose
shapes LiteLLM takes and gives. Above: the provider table. Below: `litellm`, which is imported by
the first call: it takes six seconds and 170 MB.

`model` has LiteLLM's form, such as "bedrock/anthropic.claude-sonnet-4-5". `extra_body` holds
arguments of `litellm.acompletion` (`aws_region_name`, `vertex_project`, ...). No other field of a
client's request than those of `_TAKEN` becomes one: `api_base` among them would send our key
wherever the client says.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import msgspec

from chorus import wirejson
from chorus.errors import (
    ChorusError,
    ConfigError,
    ContentFiltered,
    LLMError,
    Problem,
    UnsupportedFeature,
    UpstreamConnect,
    UpstreamProtocol,
    UpstreamRefused,
    UpstreamTimeout,
)
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Call, Chunk
from chorus.llm.counts import PromptEstimate
from chorus.llm.embed import EmbedCall, Embeddings
from chorus.llm.provider import Provider
from chorus.llm.providers.embeddings import read_openai
from chorus.llm.providers.fields import overlaid
from chorus.llm.providers.openai_reading import ChunkReader, read_whole
from chorus.llm.providers.openai_request import request_body
from chorus.llm.providers.tool_names import MOST, OwnNames, renamed, with_own_names
from chorus.llm.providers.traits import Traits, openai_traits
from chorus.llm.transport.clients import WATCHED, Clients
from chorus.llm.transport.upstream_errors import status_error
from chorus.types import Extra

CLOSE_SECS: Final = 5.0
"""How long closing the connection of an answer that nobody reads may take."""
_HOSTS: Final = {"openai": "api.openai.com", "azure": "openai.azure.com", "mistral": "api.mistral.ai"}
"""Providers of LiteLLM's that refuse fields of others in messages."""
_CONVERTED: Final = frozenset({"anthropic", "azure_ai", "bedrock", "databricks", "gemini", "vertex_ai"})
"""Providers whose messages LiteLLM makes itself, out of fields of its own too. Others get messages
as they are, and refuse fields that only LiteLLM knows."""
_OWN_FIELDS: Final = "provider_specific_fields"
"""Where LiteLLM puts the fields of a message that are not OpenAI's."""
_NEEDED: Final = frozenset({"messages", "model", "stream", "stream_options", "tools", "tool_choice", "response_format"})
"""Fields that go out whatever LiteLLM says of the model: without them the answer would be another
one."""
_TAKEN: Final = _NEEDED | {
    "temperature", "top_p", "max_tokens", "max_completion_tokens", "stop", "seed", "presence_penalty",
    "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "parallel_tool_calls", "reasoning_effort",
    "verbosity", "user", "service_tier", "safety_identifier", "prompt_cache_key", "top_k", "thinking",
}  # fmt: skip
_EVERYWHERE: Final = _NEEDED | {"top_k", "thinking"}
"""Those that LiteLLM's list for a model does not hold, since they are not OpenAI's."""
_MAX_CAUSES: Final = 3


def litellm(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """Return the model `address`, reached through LiteLLM.

    Raises:
        ConfigError: the extra is not installed, or the model has a proxy of its own.
    """
    where = f'[[model]] "{address.name}"'
    if find_spec("litellm") is None:
        text = "needs the package 'litellm': pip install 'chorus-llm[litellm]'"
        raise ConfigError([Problem(f'{where} provider "litellm"', text)])
    if address.proxy is not None:
        text = 'provider "litellm" takes the proxy of the environment only'
        raise ConfigError([Problem(f"{where} proxy", text)])
    upstream = LiteLLMUpstream(address, at)
    return Provider(upstream.instance_id, upstream, upstream)


class LiteLLMUpstream:
    """One model of LiteLLM's."""

    def __init__(self, address: ModelAddress, at: ReplicaAddress) -> None:
        self.name = address.name
        self.model = address.model or address.name
        self._address = address
        self._at = at
        family = self.model.partition("/")[0]
        host = urlsplit(at.api_base).netloc or _HOSTS.get(family, "")
        traits = openai_traits(self.model, f"https://{host}/v1", address.settings)
        self._is_converted = family in _CONVERTED
        # LiteLLM itself writes the limit, the effort and the developer's role as each provider
        # wants them
        self._traits: Traits = replace(
            traits,
            developer=False,
            efforts=None,
            takes_prompts=False,
            max_tokens_field=address.settings.max_tokens_field or "max_tokens",
        )
        self.instance_id = f"{self.name}@{host or family}"

    def open(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """See `Upstream.open`."""
        return _Opened(self, call)

    def arguments(self, library: Any, call: Call) -> dict[str, Any]:
        """Return the arguments of `litellm.acompletion`.

        Raises:
            UnsupportedFeature: the prompt is token numbers.
        """
        request = renamed(call.request, MOST)
        if isinstance(request.prompt, tuple):
            raise UnsupportedFeature("LiteLLM takes a text as the prompt, not token numbers.", param="prompt")
        body = request_body(request, self.model, self._traits, stream=call.stream, warn=call.warn)
        # its own structures, which LiteLLM changes: never those of the request
        body = msgspec.json.decode(wirejson.encode_upstream(body))
        for message in body["messages"]:
            _put_back(message, is_converted=self._is_converted)
        for name in self._left_out(library, body):
            del body[name]
            call.warn(f"'{name}' is left out: model '{self.model}' does not take it.")
        return {**overlaid(body, self._address.extra_body), **self.connection(call.headers, call.connect_timeout)}

    def connection(self, headers: Mapping[str, str], connect_timeout: float) -> dict[str, Any]:
        """Return the arguments that every function of LiteLLM's takes: where, with which key and
        how long.
        """
        import httpx

        arguments: dict[str, Any] = {
            "extra_headers": {**headers, **self._address.headers},
            # the caller's scopes are the limits
            "timeout": httpx.Timeout(None, connect=connect_timeout),
            "max_retries": 0,  # the pool tries again
            "num_retries": 0,
        }
        if self._at.api_base:
            arguments["api_base"] = self._at.api_base
        if self._at.api_key:
            arguments["api_key"] = self._at.api_key
        if self._address.settings.api_version:
            arguments["api_version"] = self._address.settings.api_version
        return arguments

    def _left_out(self, library: Any, body: Mapping[str, Any]) -> list[str]:
        """Return the fields of `body` that do not go out."""
        try:
            listed = library.get_supported_openai_params(model=self.model)
        except Exception:  # it raises whatever it likes for models that it does not know
            listed = None
        known = _TAKEN if listed is None else _EVERYWHERE | set(listed)
        return [name for name in body if name not in known or name not in _TAKEN]

    async def embed(self, call: EmbedCall) -> Embeddings:
        """See `Embedder.embed`. Its `extra` is not passed on (see `_TAKEN`)."""
        library = await _imported()
        arguments = {**self._address.extra_body, **self.connection(call.headers, call.connect_timeout)}
        if call.dimensions is not None:
            arguments["dimensions"] = call.dimensions
        try:
            response = await library.aembedding(model=self.model, input=list(call.inputs), **arguments)
        except Exception as problem:
            raise self.failure(library, problem) from None
        return await read_openai(_as_json(response), call.inputs, self.name)

    def failure(self, library: Any, problem: Exception, *, reading: bool = False) -> ChorusError:
        """Return the typed error for what LiteLLM has raised, `reading` an answer or before."""
        for _ in range(_MAX_CAUSES):  # a stream that breaks is wrapped
            inner = getattr(problem, "original_exception", None)
            if not isinstance(inner, Exception):
                break
            problem = inner
        detail = str(getattr(problem, "message", "") or problem)
        if isinstance(problem, ChorusError):
            return problem
        if isinstance(problem, library.ContentPolicyViolationError):
            return ContentFiltered(f"Upstream '{self.name}' refused the request by its content filter", detail=detail)
        if isinstance(problem, library.Timeout):
            return UpstreamTimeout(f"Upstream '{self.name}' did not answer in time", detail=detail)
        if isinstance(problem, library.UnsupportedParamsError):
            return UpstreamRefused(f"LiteLLM refused the request to '{self.name}'", upstream_status=400, detail=detail)
        status = getattr(problem, "status_code", None)
        if reading and not isinstance(problem, library.RateLimitError):
            return UpstreamProtocol(f"Upstream '{self.name}' broke off in the middle of its answer", detail=detail)
        if isinstance(problem, library.APIConnectionError):
            return UpstreamConnect(f"Upstream '{self.name}' cannot be reached", detail=detail)
        if isinstance(status, int) and 400 <= status < 600:
            headers = getattr(problem, "litellm_response_headers", None)
            headers = headers or getattr(getattr(problem, "response", None), "headers", None) or {}
            return status_error(status, self.name, detail, {str(k).lower(): str(v) for k, v in headers.items()})
        return LLMError(f"LiteLLM failed at '{self.name}' ({type(problem).__name__})", detail=detail)


class _Opened(AbstractAsyncContextManager[AsyncIterator[Chunk]]):
    """`Upstream.open`: leaving the block closes the connection of the answer."""

    def __init__(self, upstream: LiteLLMUpstream, call: Call) -> None:
        self._upstream = upstream
        self._call = call
        self._stream: Any = None

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        upstream, call = self._upstream, self._call
        library = await _imported()
        arguments = upstream.arguments(library, call)
        call.attempting(upstream.instance_id)
        try:
            response = await library.acompletion(**arguments)
        except Exception as problem:
            raise upstream.failure(library, problem) from None
        names = OwnNames(call.request, MOST)
        if call.stream:
            self._stream = response
            return with_own_names(self._pieces(library), names)
        return with_own_names(self._whole(response), names)

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if self._stream is not None:
            with anyio.move_on_after(CLOSE_SECS, shield=True):
                await self._stream.aclose()

    @cached_property
    def _reading(self) -> dict[str, Any]:
        request = self._call.request
        return {"prompt_estimate": PromptEstimate(request), "logprobs": request.logprobs}

    async def _whole(self, response: Any) -> AsyncIterator[Chunk]:
        yield read_whole(_as_json(response), self._upstream.name, **self._reading)

    async def _pieces(self, library: Any) -> AsyncIterator[Chunk]:
        reader = ChunkReader(self._upstream.name, **self._reading)
        watch = WATCHED.get()
        has_begun = False
        while True:
            try:
                piece = await anext(self._stream, None)
            except Exception as problem:
                raise self._upstream.failure(library, problem, reading=has_begun) from None
            if piece is None:
                break
            has_begun = True
            if watch is not None:
                watch()
            if (chunk := reader.read(_as_json(piece))) is not None:
                yield chunk
        # where the provider says nothing of the end, LiteLLM makes up that it was a good one
        if getattr(self._stream, "received_finish_reason", "stop") is None:
            raise UpstreamProtocol(f"Upstream '{self._upstream.name}' ended its stream without a finish reason")
        yield reader.end(done=False)


def _as_json(response: Any) -> bytes:
    """Return an object of LiteLLM's as JSON in OpenAI's shape."""
    text: str = response.model_dump_json(exclude_none=True)
    return text.encode()


def _put_back(message: dict[str, Any], *, is_converted: bool) -> None:
    """Write the fields of an earlier answer as LiteLLM, or the provider behind it, takes them."""
    if is_converted:
        blocks = list(_thinking_blocks(message))
        message.pop("reasoning_details", None)
        message.pop("thinking_blocks", None)
        if blocks:
            message["thinking_blocks"] = blocks
        return
    message.pop("thinking_blocks", None)
    for holder in (message, *(message.get("tool_calls") or ())):
        fields = holder.pop(_OWN_FIELDS, None)
        if isinstance(fields, dict):
            for name, value in fields.items():
                holder.setdefault(name, value)


def _thinking_blocks(extra: Extra) -> Iterator[dict[str, Any]]:
    """Yield the signed thinking of an earlier turn as LiteLLM takes it: what it gave itself, whose
    pieces are put together, or what Anthropic's dialect has found (`reasoning_details`).
    """
    pieces = extra.get("thinking_blocks")
    if isinstance(pieces, list):
        block: dict[str, Any] = {}
        for piece in pieces:
            if not isinstance(piece, dict):
                continue
            if piece.get("type") == "redacted_thinking":
                yield piece
                continue
            block = {"type": "thinking", "thinking": block.get("thinking", "") + str(piece.get("thinking") or "")}
            if piece.get("signature"):
                yield {**block, "signature": piece["signature"]}
                block = {}
        return
    details = extra.get("reasoning_details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, dict) and detail.get("signature"):
            yield {"type": "thinking", "thinking": detail.get("text") or "", "signature": detail["signature"]}
        elif isinstance(detail, dict) and detail.get("type") == "reasoning.encrypted":
            yield {"type": "redacted_thinking", "data": detail.get("data")}


_importing: Final = threading.Lock()


async def _imported() -> Any:
    """Return the library. Importing it blocks for seconds, which a thread does.

    Raises:
        LLMError: it cannot be imported.
    """
    return await anyio.to_thread.run_sync(_library)


def _library() -> Any:
    with _importing:
        # it would fetch a list of prices from GitHub
        os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        try:
            library: Any = importlib.import_module("litellm")
        # it reads certificates and files of its own while it is imported
        except Exception as problem:
            raise LLMError(f"LiteLLM cannot be imported ({type(problem).__name__})", detail=str(problem)) from problem
        library.suppress_debug_info = True  # it would print to standard output
        library.telemetry = False
        return library
