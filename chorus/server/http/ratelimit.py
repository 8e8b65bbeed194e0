"""How a caller stands with its rate limits, in the headers that OpenAI's clients read (K1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from chorus.auth.principal import Left, Standing
from chorus.server.http.wire import Header

LIMIT_HEADERS: Final = tuple(
    f"x-ratelimit-{what}-{kind}" for kind in ("requests", "tokens") for what in ("limit", "remaining", "reset")
)


def limit_headers(standing: Standing) -> list[Header]:
    """Return `x-ratelimit-limit-requests`, `-remaining-requests`, `-reset-requests`, and the same
    of tokens.
    """
    return [*_headers(b"requests", standing.requests), *_headers(b"tokens", standing.tokens)]


def _headers(kind: bytes, left: Left | None) -> Iterator[Header]:
    if left is not None:
        yield b"x-ratelimit-limit-" + kind, str(left.limit).encode()
        yield b"x-ratelimit-remaining-" + kind, str(left.remaining).encode()
        yield b"x-ratelimit-reset-" + kind, _duration(left.reset_secs).encode()


def _duration(secs: float) -> str:
    """Return a duration as OpenAI writes it: `120ms`, `1.5s`, `6m0s`."""
    if secs < 1:
        return f"{round(secs * 1000)}ms"
    minutes, rest = divmod(round(secs, 3), 60)
    return f"{minutes:.0f}m{rest:.0f}s" if minutes else f"{rest:g}s"
