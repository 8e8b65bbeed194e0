"""The demo models as a provider: the factory for the provider table, and the upstream that streams
an answer in the pace of a real one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import anyio

from chorus.demo.language import pieces
from chorus.demo.models import DEMO_MODELS, Script, perform
from chorus.errors import LLMError, UnsupportedFeature
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Call, Chunk
from chorus.llm.provider import Provider
from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest, FinishReason, Sampling
from chorus.usage import Usage, estimate_tokens


def demo(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """Return the demo model of `address`; it needs no client."""
    return Provider("demo", DemoUpstream(address.name, model=address.model or address.name))


class DemoUpstream:
    """A demo model as an `Upstream`: in-process, without a network or a key, the same answer to the
    same question.

    `name` is what the configuration calls it, `model` one of `DEMO_MODELS`; `pace` is in seconds
    between two pieces.
    """

    def __init__(self, name: str, *, model: str, pace: float = 0.02) -> None:
        self._name = name
        self._model = model
        self._pace = pace

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[AsyncIterator[Chunk]]:
        """See `Upstream.open`.

        Raises:
            LLMError: no demo model has that name, or the request asks the moody one to fail.
            UnsupportedFeature: the prompt is token numbers.
        """
        if isinstance(call.request.prompt, tuple):
            raise UnsupportedFeature("A demo model takes a text as its prompt, not token numbers.", param="prompt")
        script = perform(self._model, call.request)
        if script is None:
            raise LLMError(f"There is no demo model '{self._model}'; the demo models are {', '.join(DEMO_MODELS)}")
        call.attempting(f"{self._name}@demo")
        if script.ending == "failed":
            raise LLMError(script.failure)
        async with aclosing(self._play(script, call)) as chunks:
            yield chunks

    async def _play(self, script: Script, call: Call) -> AsyncGenerator[Chunk, None]:
        if script.ending == "never":
            await anyio.sleep_forever()
        if script.wait:
            await anyio.sleep(script.wait)
        text, finish = cut(script.text, call.request.sampling)
        spoken = pieces(text) if call.stream or script.ending == "broken" else [text]
        if script.ending == "broken":
            spoken = spoken[: (len(spoken) + 1) // 2]
        for number, piece in enumerate(spoken):
            if number:
                await anyio.sleep(self._pace)
            yield Chunk(piece)
        if script.ending == "broken":
            raise LLMError(script.failure)
        yield Chunk(finish_reason=finish, usage=_usage(call.request, text))


def cut(text: str, sampling: Sampling) -> tuple[str, FinishReason]:
    """Return `text` as far as the first stop sequence and `max_tokens` (estimated) let it go."""
    for stop in sampling.stop:
        if stop:
            text = text.partition(stop)[0]
    if sampling.max_tokens is None or estimate_tokens(text) <= sampling.max_tokens:
        return text, "stop"
    too_long = bisect_right(range(len(text) + 1), sampling.max_tokens, key=lambda end: estimate_tokens(text[:end]))
    return text[: too_long - 1], "length"


def _usage(request: ChatRequest, answer: str) -> Usage:
    prompt = "\n".join(message.text for message in request.messages)
    return Usage(estimate_tokens(prompt), estimate_tokens(answer), estimated=True)
