"""`llamacpp`: a GGUF file in llama.cpp, by the package `xllamacpp` (extra `llamacpp`).

llama.cpp's own server runs in this process and batches the answers that go on. Each call waits for
it in a thread of its own. The package opens an HTTP listener on a random port of this machine; it
gets a random key, so that it answers nobody.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import anyio.to_thread
import msgspec

from chorus.errors import ConfigError, LLMError, Problem, UnsupportedFeature, UpstreamProtocol, UpstreamRefused
from chorus.inference.engine import Engine, EngineSettings
from chorus.inference.engines.common import missing_package, model_file, with_stops
from chorus.inference.engines.handover import Handover
from chorus.llm.base import Call, Chunk
from chorus.llm.counts import PromptEstimate
from chorus.llm.embed import EmbedCall, Embedder, Embeddings
from chorus.llm.filters.stop_words import StopsEnforced
from chorus.llm.providers.embeddings import read_openai
from chorus.llm.providers.openai_reading import ChunkReader
from chorus.llm.providers.openai_request import is_completion, request_body
from chorus.llm.providers.traits import Traits
from chorus.types import ChatRequest, Image, Opaque
from chorus.wirejson import JSON, decode, encode_upstream

_TRAITS: Final = Traits()
_QUIET: Final = 1
"""llama.cpp's verbosity: errors only."""
_PROMPT_CACHE_MIB: Final = 512
"""Memory for prompts of past answers; llama.cpp's own default is 8192."""
_EXTRA: Final = frozenset(
    {
        *("top_k", "min_p", "typical_p", "repeat_penalty", "repeat_last_n", "logit_bias", "ignore_eos"),
        *("mirostat", "mirostat_tau", "mirostat_eta", "dynatemp_range", "dynatemp_exponent"),
        *("dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers"),
        *("xtc_probability", "xtc_threshold", "samplers", "grammar", "chat_template_kwargs"),
    }
)
"""Fields of llama.cpp's own that a request may have.

Others, such as a slot, are the worker's business.
"""

_Piece = dict[str, Any]
_Handle = Callable[..., _Piece | None]


class _Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The engine's options."""

    n_ctx: int = 4096
    """Tokens of one conversation, prompt and answer; 0: as many as the model was trained with."""
    n_gpu_layers: int = -1
    """Layers on a GPU, where llama.cpp was built for one; -1: all."""
    n_threads: int = 0
    """0: the processors that this process may use."""
    mmproj: str = ""
    """The file with the part of the model that sees images."""
    stop: tuple[str, ...] = ()
    """Texts before which every answer ends, beside those of its request."""
    embeddings: bool = False
    """Whether the model embeds, and does nothing else."""
    pooling: Literal["", "mean", "cls", "last"] = ""
    """How the vectors of its tokens become that of a text; empty: as the model's file says."""


class LlamaCpp:
    """An upstream that asks llama.cpp's server in this process."""

    def __init__(
        self, name: str, server: Any, threads: ThreadPoolExecutor, *, sees: bool, stop: tuple[str, ...]
    ) -> None:
        self._name = name
        self._server = server
        self._threads = threads
        self._sees = sees
        self._stop = stop
        self.steps = 0
        """Pieces that were generated, over all calls."""

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Upstream.open`."""
        request = with_stops(call.request, self._stop)
        self._check(request)
        handle = self._server.handle_chat_completions
        if is_completion(request, _TRAITS):
            handle = self._server.handle_completions
        body = request_body(_known(request, call.warn), self._name, _TRAITS, stream=True, warn=call.warn)
        handover = Handover[_Piece]()
        self._threads.submit(self._generate, handle, body, handover)
        try:
            yield self._chunks(handover, request)
        finally:
            handover.close()

    def _check(self, request: ChatRequest) -> None:
        if not isinstance(request.prompt, str | None):
            raise UnsupportedFeature("This worker takes no prompts of token numbers.", param="prompt")
        parts = [part for message in request.messages if isinstance(message.content, tuple) for part in message.content]
        if any(isinstance(part, Opaque) for part in parts):
            raise UnsupportedFeature("This worker takes texts and images only.", param="messages")
        images = [part for part in parts if isinstance(part, Image)]
        if images and not self._sees:
            raise UnsupportedFeature("This worker's model sees no images.", param="messages")
        if any(not image.url.startswith("data:") for image in images):
            raise UnsupportedFeature("This worker takes images as data: URLs only; it fetches none.", param="messages")

    def _generate(self, handle: _Handle, body: _Piece, handover: Handover[_Piece]) -> None:
        """Generate an answer, in a thread."""

        def stops(piece: _Piece) -> bool:
            if "error" in piece:
                handover.end(_error(piece["error"]))
                return True
            self.steps += 1
            return not handover.put(piece)

        if handover.is_closed:
            return
        try:
            handle(decode(encode_upstream(body)), stops)  # it takes plain data only
        except Exception as problem:  # such as a body that llama.cpp cannot read
            handover.end(_refused(str(problem)))
        else:
            handover.end()

    async def _chunks(self, handover: Handover[_Piece], request: ChatRequest) -> AsyncIterator[Chunk]:
        reader = ChunkReader(self._name, prompt_estimate=PromptEstimate(request), logprobs=request.logprobs)
        async for piece in handover.items():
            if (chunk := reader.read(encode_upstream(piece))) is not None:
                yield chunk
        yield reader.end(done=False)


class LlamaCppEmbedder:
    """An embedder that asks llama.cpp's server in this process."""

    def __init__(self, name: str, server: Any, threads: ThreadPoolExecutor) -> None:
        self._name = name
        self._server = server
        self._threads = threads

    async def embed(self, call: EmbedCall) -> Embeddings:
        """See `Embedder.embed`."""
        if call.dimensions is not None:
            raise UnsupportedFeature("This worker's model has vectors of one length only.", param="dimensions")
        body = {"input": list(call.inputs), "encoding_format": "float"}
        reply = await anyio.to_thread.run_sync(self._server.handle_embeddings, body, abandon_on_cancel=True)
        if "error" in reply:
            raise _error(reply["error"])
        return await read_openai(encode_upstream(reply), call.inputs, self._name)


class EmbedsOnly:
    """The upstream of a model that only embeds."""

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Upstream.open`."""
        raise UnsupportedFeature("This worker's model embeds, and answers nothing.", param="model")
        yield


def _known(request: ChatRequest, warn: Callable[[str], None]) -> ChatRequest:
    """Return the request with those of its other fields that llama.cpp is to see."""
    extra = dict(request.extra)
    if "repetition_penalty" in extra:
        extra["repeat_penalty"] = extra.pop("repetition_penalty")
    for name in sorted(extra.keys() - _EXTRA):
        warn(f"'{name}' is left out: the worker's engine does not take it.")
    known = {name: extra[name] for name in extra.keys() & _EXTRA}
    # the gateway puts the prompt in front
    return msgspec.structs.replace(request, extra=known, echo=False)


def _error(error: JSON) -> LLMError:
    """Return the error that llama.cpp reports."""
    fields = error if isinstance(error, dict) else {}
    message, code = str(fields.get("message", error)), fields.get("code")
    if isinstance(code, int) and (code < 500 or code == 501):
        return _refused(message)
    return UpstreamProtocol("llama.cpp failed", detail=message)


def _refused(message: str) -> UpstreamRefused:
    return UpstreamRefused("llama.cpp refused it", upstream_status=400, detail=message)


@asynccontextmanager
async def engine(settings: EngineSettings) -> AsyncIterator[Engine]:
    """See `EngineFactory`."""
    path = model_file(settings.model)
    try:
        options = msgspec.convert(dict(settings.options), _Options)
    except msgspec.ValidationError as problem:
        raise ConfigError([Problem("options", f"{problem}")]) from None
    sight = model_file(options.mmproj) if options.mmproj else None
    threads = ThreadPoolExecutor(settings.max_concurrency, thread_name_prefix="llamacpp")
    try:
        server = await anyio.to_thread.run_sync(_loaded, path, sight, settings, options)
        if options.embeddings:
            embedder: Embedder = LlamaCppEmbedder(settings.name, server, threads)
            yield Engine(EmbedsOnly(), embedder)
        else:
            yield Engine(
                StopsEnforced(LlamaCpp(settings.name, server, threads, sees=sight is not None, stop=options.stop))
            )
    finally:
        with anyio.CancelScope(shield=True):  # the answers that go on stop at their next token
            await anyio.to_thread.run_sync(threads.shutdown)


def _loaded(path: Path, sight: Path | None, settings: EngineSettings, options: _Options) -> Any:
    """Return llama.cpp's server, once the model has generated a token.

    Raises:
        ConfigError: the package is not there, or the file is no model.
    """
    try:
        import xllamacpp
    except ImportError as problem:
        raise missing_package("llamacpp", "llamacpp", problem) from problem
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_parallel = settings.max_concurrency
    # llama.cpp divides it among the answers
    params.n_ctx = options.n_ctx * settings.max_concurrency
    params.n_gpu_layers = options.n_gpu_layers
    params.cpuparams.n_threads = options.n_threads or _processors()
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.verbosity = _QUIET
    params.offline = True
    params.ui = False
    params.endpoint_slots = False
    params.api_keys = [secrets.token_urlsafe(32)]
    if sight is not None:
        params.mmproj.path = str(sight)
    if settings.chat_template is not None:
        params.chat_template = settings.chat_template
    params.embedding = options.embeddings
    if options.pooling:
        params.pooling_type = xllamacpp.llama_pooling_type[f"LLAMA_POOLING_TYPE_{options.pooling.upper()}"]
    try:
        server = xllamacpp.Server(params)
        if options.embeddings:
            reply = server.handle_embeddings({"input": ["a"]})
        else:
            reply = server.handle_completions({"prompt": "a", "max_tokens": 1, "cache_prompt": False})
    except Exception as problem:  # llama.cpp's own errors, of no common type
        raise ConfigError([Problem("model", f"llama.cpp cannot load {path}: {problem}")]) from problem
    if "error" in reply:
        raise ConfigError([Problem("model", f"llama.cpp cannot run {path}: {reply['error']}")])
    return server


def _processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
