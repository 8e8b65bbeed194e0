"""What OpenAI's chat and completions endpoints share: sampling, stop words, usage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from chorus.errors import InvalidRequest
from chorus.events import RunFinished
from chorus.llm.filters.stop_words import check_stops
from chorus.types import Sampling


class StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class Generating(msgspec.Struct, kw_only=True):
    """The fields that chat and completions have in common."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    n: int | None = None
    include_workflow: bool | None = None
    memory: bool | None = None

    def sampling(self, max_tokens: int | None, limit_name: str = "max_tokens") -> Sampling:
        """Return how to draw, with `max_tokens` as the limit.

        Raises InvalidRequest as `checked` does.
        """
        sampling = Sampling(
            self.temperature,
            self.top_p,
            max_tokens,
            stops(self.stop),
            self.seed,
            self.presence_penalty,
            self.frequency_penalty,
        )
        return checked(sampling, limit_name)

    @property
    def wants_usage(self) -> bool:
        """Whether usage is to come with the last chunk of a stream."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


def stops(stop: str | Sequence[str] | None, param: str = "stop") -> tuple[str, ...]:
    """Return `stop` as a tuple; empty stop words would end every answer at once and are left out.

    Raises:
        InvalidRequest: there are too many, or one is too long. `param` is what the client calls
            them.
    """
    if not stop:
        return ()
    words = (stop,) if isinstance(stop, str) else stop
    check_stops(words, param)
    return tuple(filter(None, words))


def choice_count(n: int | None) -> int:
    """Return how many answers `n` asks for.

    Raises:
        InvalidRequest: not from 1 to 128, OpenAI's own limit.
    """
    count = 1 if n is None else n
    if not 1 <= count <= 128:
        raise InvalidRequest(f"Invalid value for 'n': expected 1 to 128, got {count}.", param="n")
    return count


def seeded(sampling: Sampling, choice: int) -> Sampling:
    """Return the sampling of one of several choices: the same seed would repeat the answer."""
    if choice == 0 or sampling.seed is None:
        return sampling
    return msgspec.structs.replace(sampling, seed=sampling.seed + choice)


def checked(sampling: Sampling, limit_name: str = "max_tokens") -> Sampling:
    """Return `sampling` with the limit in our words: -1 (LM Studio, llama.cpp) and -2 (Ollama) mean
    that there is none. `limit_name` is what the client calls it.

    Raises:
        InvalidRequest: no model takes one of the numbers; `param` names the field.
    """
    for name, value, high in (("temperature", sampling.temperature, 2), ("top_p", sampling.top_p, 1)):
        if value is not None and not 0 <= value <= high:
            raise InvalidRequest(f"Invalid value for '{name}': expected 0 to {high}, got {value:g}.", param=name)
    limit = sampling.max_tokens
    if limit in (-1, -2):
        return msgspec.structs.replace(sampling, max_tokens=None)
    if limit is not None and limit < 1:
        raise InvalidRequest(f"Invalid value for '{limit_name}': expected at least 1, got {limit}.", param=limit_name)
    return sampling


def usage_body(done: RunFinished) -> dict[str, Any]:
    """Return `usage` as chat and completions show it.

    `ensemble` is the sum over all calls of a workflow.
    """
    usage, ensemble = done.reported, done.ensemble
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        **({"ensemble": ensemble} if ensemble is not None else {}),
    }
