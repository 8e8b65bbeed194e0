"""Connections to the Redis in which several processes and machines count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from chorus.errors import ConfigError, Problem

if TYPE_CHECKING:
    from redis.asyncio import Redis

ANSWER_SECS: Final = 0.5
"""A Redis that takes longer than this is away."""
AWAY_SECS: Final = 2.0
"""For so long nobody asks a Redis that was away."""


def connect(url: str, answer_secs: float = ANSWER_SECS) -> Redis:
    """Return a client of the Redis at `url`, which connects when it is used first.

    Raises:
        ConfigError: the client library is missing, or `url` is none of its addresses.
    """
    try:
        from redis.asyncio import Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError:
        missing = "a Redis needs an extra: pip install 'chorus-llm[redis]'"
        raise ConfigError([Problem("[storage] url", missing)]) from None
    try:
        client: Redis = Redis.from_url(
            url,
            socket_connect_timeout=answer_secs,
            socket_timeout=answer_secs,
            # With RESP 3, redis-py 8 uses connections that Redis has closed while they were idle.
            protocol=2,
            retry=Retry(NoBackoff(), 0),  # redis-py's own would try 10 times
        )
    except ValueError:  # its text may quote a part of the password
        raise ConfigError([Problem("[storage] url", "this is no address of a Redis")]) from None
    return client
