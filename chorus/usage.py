"""Tokens that calls used, and what they cost."""

from __future__ import annotations

from typing import Any, Final

import msgspec


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts of one call or of a sum of calls (W11).

    `cached_tokens` is a part of `prompt_tokens`, `reasoning_tokens` a part of `completion_tokens`;
    `cost` is in the currency of the configured prices.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float | None = None
    estimated: bool = False
    """True where an upstream reported nothing and the counts come from the length of the text."""
    cache_write_tokens: int = 0
    """The part of `prompt_tokens` that the upstream wrote to its cache, for later calls to read."""

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        if self is NONE:  # twice a request, which makes one call mostly
            return other
        cost = None if self.cost is None and other.cost is None else (self.cost or 0.0) + (other.cost or 0.0)
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            cost,
            self.estimated or other.estimated,
            self.cache_write_tokens + other.cache_write_tokens,
        )

    def as_json(self) -> dict[str, Any]:
        """Return the counts as the trace shows them.

        Zero details and an unknown cost are left out.
        """
        shown: dict[str, Any] = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.total_tokens,
        }
        if self.cached_tokens:
            shown["cached_tokens"] = self.cached_tokens
        if self.cache_write_tokens:
            shown["cache_write_tokens"] = self.cache_write_tokens
        if self.reasoning_tokens:
            shown["reasoning_tokens"] = self.reasoning_tokens
        if self.estimated:
            shown["estimated"] = True
        return shown


NONE: Final = Usage()
"""Where sums begin."""


def estimate_tokens(text: str) -> int:
    """Return a rough token count: four ASCII characters, or one other character, to a token.

    At least 1 for any text.

    Only used where an upstream reports no usage; good enough for a budget, not for a bill.
    """
    if not text:
        return 0
    if text.isascii():  # known without a look at the text
        return len(text) // 4 + 1
    plain = len(text.encode("ascii", "ignore"))
    return plain // 4 + (len(text) - plain) + 1
