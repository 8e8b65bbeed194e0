"""How the tokens of one answer are drawn.

Whatever holds arrays of MLX is made on the engine's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Sampler = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Draws:
    """How to draw. `temperature` 0 takes the likeliest token."""

    temperature: float = 1.0
    top_p: float = 0.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()


def sampler_of(draws: Draws) -> Sampler:
    """Return what draws a token from log probabilities. Answers that draw alike share one: a batch
    of them is drawn at once."""
    if draws.seed is None or draws.temperature == 0:
        return _shared(draws.temperature, draws.top_p, draws.min_p, draws.top_k)
    return _seeded(draws)


@lru_cache(maxsize=256)
def _shared(temperature: float, top_p: float, min_p: float, top_k: int) -> Sampler:
    from mlx_lm.sample_utils import make_sampler

    sampler: Sampler = make_sampler(temp=temperature, top_p=top_p, min_p=min_p, top_k=top_k)
    return sampler


def _seeded(draws: Draws) -> Sampler:
    """Return a sampler with random numbers of its own."""
    import mlx.core as mx
    from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p

    key = mx.random.key((draws.seed or 0) & (2**63 - 1))

    def sampler(logprobs: Any) -> Any:
        nonlocal key
        if 0 < draws.top_p < 1:
            logprobs = apply_top_p(logprobs, draws.top_p)
        if draws.min_p > 0:
            logprobs = apply_min_p(logprobs, draws.min_p, 1)
        if draws.top_k > 0:
            logprobs = apply_top_k(logprobs, draws.top_k)
        key, mine = mx.random.split(key)
        return mx.random.categorical(logprobs * (1 / draws.temperature), key=mine)

    return sampler


def processors_of(draws: Draws) -> list[Any]:
    """Return what changes the log probabilities before a token is drawn."""
    from mlx_lm.sample_utils import make_logits_processors

    processors: list[Any] = make_logits_processors(
        logit_bias=dict(draws.logit_bias) or None,
        repetition_penalty=draws.repetition_penalty,
        presence_penalty=draws.presence_penalty,
        frequency_penalty=draws.frequency_penalty,
    )
    return processors
