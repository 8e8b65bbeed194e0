"""Token counts: those that an upstream reports, as far as they can be believed, and estimates."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from chorus.types import ChatRequest
from chorus.usage import estimate_tokens
from chorus.wirejson import JSON

MAX_TOKENS: Final = 1_000_000_000
"""No call has as many tokens; a larger count is a mistake, and would spoil budgets and metrics."""

_MAX_DIGITS: Final = 10


def count_of(value: JSON) -> int | None:
    """`value` as a count of tokens, or a position; None where it counts as not reported.

    A whole number from 0 to `MAX_TOKENS` is one, written as 5, 5.0 or "5"; -1, 3.5, true and "n/a"
    are none.
    """
    if type(value) is int:
        return value if 0 <= value <= MAX_TOKENS else None
    if isinstance(value, str):
        is_number = len(value) <= _MAX_DIGITS and value.isascii() and value.isdigit()
        value = int(value) if is_number else None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= MAX_TOKENS else None


class PromptEstimate:
    """About how many tokens the prompt of a request has, counted once, when it is asked for: some
    upstreams report usage with each token.
    """

    __slots__ = ("_known", "_request")

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._known: int | None = None

    def __call__(self) -> int:
        if self._known is None:
            self._known = prompt_estimate(self._request)
        return self._known


def prompt_estimate(request: ChatRequest) -> int:
    """Return about how many tokens the prompt of a request has; token numbers are counted."""
    if isinstance(request.prompt, tuple):
        return len(request.prompt)
    return text_estimate(message.text for message in request.messages)


def text_estimate(texts: Iterable[str]) -> int:
    """Return about how many tokens `texts` have together."""
    return sum(map(estimate_tokens, texts))


def input_estimate(inputs: Iterable[str | Sequence[int]]) -> int:
    """Return about how many tokens `inputs` of an embedding have together.

    Lists of token numbers are counted.
    """
    return sum(estimate_tokens(text) if isinstance(text, str) else len(text) for text in inputs)
