"""The engine `mlx-lm`: loading, and a call from its request to its answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import msgspec

from chorus.errors import ConfigError, Problem
from chorus.inference.engine import Engine, EngineSettings
from chorus.inference.engines.common import missing_package, model_folder, with_stops
from chorus.inference.engines.handover import Handover
from chorus.inference.engines.mlx.answer import AnswerReader, ToolMarkers
from chorus.inference.engines.mlx.batch import BatchThread, Job, Token
from chorus.inference.engines.mlx.draws import Draws
from chorus.inference.engines.mlx.prompt import Prompt, draws_of, encode, refuse_unsupported, room_of
from chorus.llm.base import Call, Chunk
from chorus.types import ChatRequest
from chorus.wirejson import JSON

_BROKEN: Final = "\ufffd"
"""What stands for a part of a character."""


class _Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The engine's options."""

    n_ctx: int = 0
    """Tokens of one conversation, prompt and answer; 0: as many as the model was trained with."""
    stop: tuple[str, ...] = ()
    """Texts before which every answer ends, beside those of its request."""
    adapter: str = ""
    """A folder with a LoRA adapter."""


class _Model:
    """What is known of the model once it is loaded."""

    def __init__(self, folder: Path, options: _Options, chat_template: str | None) -> None:
        self._folder = folder
        self._options = options
        self._chat_template = chat_template
        self.tokenizer: Any = None
        self.context = 0
        self.vocabulary = 0
        self.defaults: Mapping[str, JSON] = {}
        """How the model's makers want its tokens drawn."""

    def load(self) -> tuple[Any, list[list[int]]]:
        """Load the model, on the thread that will run it."""
        # read at the import: no path is ever taken for a name on a hub
        os.environ["HF_HUB_OFFLINE"] = "1"
        if sys.platform != "darwin":
            os.environ.setdefault("MLX_DISABLE_COMPILE", "1")  # it would call a C++ compiler
        from mlx_lm.utils import load

        model, self.tokenizer, config = load(
            str(self._folder),
            tokenizer_config={"chat_template": self._chat_template} if self._chat_template is not None else {},
            adapter_path=self._options.adapter or None,
            return_config=True,
        )
        text_config = config.get("text_config") or config
        self.context = self._options.n_ctx or int(text_config.get("max_position_embeddings") or 4096)
        self.vocabulary = int(text_config.get("vocab_size") or len(self.tokenizer))
        file = self._folder / "generation_config.json"
        if file.is_file():
            self.defaults = json.loads(file.read_text(encoding="utf-8"))
        return model, [[token] for token in self.tokenizer.eos_token_ids]


class MlxLm:
    """An upstream that asks the engine's thread."""

    def __init__(self, model: _Model, batch: BatchThread, stop: tuple[str, ...]) -> None:
        self._model = model
        self._stop = stop
        self._batch = batch
        tokenizer = model.tokenizer
        self._markers: ToolMarkers | None = None
        if tokenizer.has_tool_calling and tokenizer.tool_parser is not None:
            self._markers = ToolMarkers(tokenizer.tool_call_start, tokenizer.tool_call_end or "", tokenizer.tool_parser)
        self._encoding = anyio.Lock()
        """Held while a prompt is encoded: a fast tokenizer serves one thread at a time."""

    @property
    def steps(self) -> int:
        """Tokens that were generated, over all calls."""
        return self._batch.steps

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Upstream.open`."""
        request, model = with_stops(call.request, self._stop), self._model
        refuse_unsupported(request, model.tokenizer, call.warn)
        draws = draws_of(request, model.defaults, model.vocabulary)
        async with self._encoding:
            prompt = await anyio.to_thread.run_sync(encode, request, model.tokenizer)
        room = room_of(prompt.tokens, model.context, request.sampling.max_tokens)
        handover = Handover[Token]()
        self._batch.submit(Job(prompt.tokens, room, draws, handover))
        try:
            yield self._chunks(handover, request, prompt)
        finally:
            handover.close()

    async def _chunks(self, handover: Handover[Token], request: ChatRequest, prompt: Prompt) -> AsyncIterator[Chunk]:
        tokenizer = self._model.tokenizer
        reader = AnswerReader(
            tokenizer.detokenizer,
            continues=_last(prompt, tokenizer) if request.prompt is not None else None,
            prompt_tokens=len(prompt.tokens),
            is_thinking=prompt.is_thinking,
            stops=request.sampling.stop,
            tools=request.tools.definitions if request.tools and request.tool_choice != "none" else None,
            markers=self._markers,
        )
        async for token in handover.items():
            if token.finish is not None:
                yield reader.finish(token.number, token.finish)
            elif (chunk := reader.take(token.number)) is not None:
                yield chunk
                if chunk.finish_reason is not None:  # a stop word
                    return


def _last(prompt: Prompt, tokenizer: Any) -> tuple[int, str] | None:
    """Return the last token of a prompt, and its text; None where that is a part of a character."""
    last = prompt.tokens[-1]
    detokenizer = tokenizer.detokenizer
    detokenizer.add_token(last)
    detokenizer.finalize()
    return None if _BROKEN in detokenizer.text else (last, detokenizer.text)


def _options(settings: EngineSettings) -> _Options:
    try:
        options = msgspec.convert(dict(settings.options), _Options)
    except msgspec.ValidationError as problem:
        raise ConfigError([Problem("options", f"{problem}")]) from None
    if options.adapter and not Path(options.adapter).is_dir():
        raise ConfigError([Problem("options", f"{options.adapter} does not exist; expected a folder")])
    return options


@asynccontextmanager
async def engine(settings: EngineSettings) -> AsyncIterator[Engine]:
    """See `EngineFactory`."""
    folder = model_folder(settings.model)
    options = _options(settings)
    model = _Model(folder, options, settings.chat_template)
    batch = BatchThread(model.load, settings.max_concurrency)
    batch.start()
    try:
        await anyio.to_thread.run_sync(batch.loaded.wait)
        if isinstance(batch.problem, ImportError):
            raise missing_package("mlx-lm", "mlx", batch.problem) from batch.problem
        if batch.problem is not None:
            raise ConfigError([Problem("model", f"mlx-lm cannot load {folder}: {batch.problem}")]) from batch.problem
        await _warm_up(model, batch)
        yield Engine(MlxLm(model, batch, options.stop))
    finally:
        with anyio.CancelScope(shield=True):  # a step of the batch takes less than a second
            await anyio.to_thread.run_sync(batch.stop)


async def _warm_up(model: _Model, batch: BatchThread) -> None:
    """Generate a token: the first one takes the longest.

    Raises:
        ConfigError: the model cannot generate.
    """
    handover = Handover[Token]()
    batch.submit(Job(list(model.tokenizer.encode("a")) or [0], 1, Draws(temperature=0), handover))
    try:
        async for _ in handover.items():
            pass
    except Exception as problem:
        raise ConfigError([Problem("model", f"mlx-lm cannot run the model: {problem}")]) from problem
