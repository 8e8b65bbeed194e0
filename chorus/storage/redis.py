"""A Redis that several hosts share, for the kinds of record.

Above: `redis_storage`. A Redis that does not answer within `ANSWER_SECS` is away: for `AWAY_SECS`
nobody asks it again, so that it delays some requests and not all. Nothing is tried twice.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

import anyio
import msgspec
import structlog

from chorus.errors import ConfigError, Problem, StorageUnavailable
from chorus.storage.records import Bounds

ANSWER_SECS: Final = 1.0
"""A Redis that takes longer for one command is away. A conversation of 1 MB takes about 5 ms."""
AWAY_SECS: Final = 2.0
"""For so long nobody asks a Redis that was away."""
_CONNECTIONS: Final = 32
"""Connections of one process; who gets none waits for one, within `ANSWER_SECS`."""

TRIES: Final = 10
"""How often a record is changed anew that others change at the same time."""
CONTENDED: Final = "The record is changed by others all the time."

Hash = dict[bytes, bytes]
"""What HGETALL answers."""

_AWAY: Final = "The Redis of [storage] url does not answer."
_log = structlog.get_logger("chorus.storage")


class RedisServer:
    """Runs commands, each with a time limit. See `base.Backend` for `open` and `aclose`."""

    limits_time = False

    def __init__(self, url: str) -> None:
        """Raises ConfigError where redis-py is missing, or `url` is none of its addresses."""
        try:
            from redis.asyncio import BlockingConnectionPool, Redis
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff
            from redis.exceptions import RedisError, ResponseError
        except ImportError:
            missing = "a Redis needs an extra: pip install 'chorus-llm[redis]'"
            raise ConfigError([Problem("[storage] url", missing)]) from None
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=_CONNECTIONS,
                timeout=ANSWER_SECS,
                socket_connect_timeout=ANSWER_SECS,
                socket_timeout=ANSWER_SECS,
                # With RESP 3, redis-py 8 uses connections that Redis has closed while they were
                # idle: `ensure_connection` looks at them only where there are no maintenance
                # messages.
                protocol=2,
                retry=Retry(NoBackoff(), 0),  # redis-py's own would try 10 times, for over 25 s
            )
        except ValueError:  # its text may quote a part of the password
            raise ConfigError([Problem("[storage] url", "this is no address of a Redis")]) from None
        self._redis: Redis = Redis(connection_pool=pool)
        self._failures = (RedisError, OSError, TimeoutError)
        self._refusal = ResponseError
        self._away_until = 0.0

    async def open(self) -> None:
        """Nothing is opened before the first command, so that a server starts without its Redis."""

    async def aclose(self) -> None:
        with anyio.move_on_after(ANSWER_SECS, shield=True):
            try:
                await self._redis.aclose()
                await self._redis.connection_pool.disconnect()
            except self._failures as problem:
                _log.warning("storage: redis could not be closed", problem=type(problem).__name__)

    def script(self, source: str, kind: Any) -> Callable[[Sequence[str], Sequence[Any]], Awaitable[Any]]:
        """Return a function that runs the Lua text `source` with keys and arguments.

        Its answer has the type `kind`.
        """
        prepared = self._redis.register_script(source)

        async def run(keys: Sequence[str], args: Sequence[Any]) -> Any:
            return await self._answer(lambda: prepared([*keys], [*args]), kind)

        return run

    async def command(self, kind: Any, *words: Any) -> Any:
        """Return the answer to one command, which has the type `kind`."""
        return await self._answer(lambda: self._redis.execute_command(*words), kind)  # type: ignore[no-untyped-call]

    async def together(self, kind: Any, commands: Sequence[Sequence[Any]]) -> Any:
        """Return the answers to `commands`, which Redis runs as one step, as a list of the type
        `kind`.
        """
        pipeline = self._redis.pipeline(transaction=True)
        for words in commands:
            pipeline.execute_command(*words)
        return await self._answer(pipeline.execute, kind)

    async def _answer(self, ask: Callable[[], Awaitable[Any]], kind: Any) -> Any:
        """Return what `ask` returns, as the type `kind`. Raises StorageUnavailable.

        A caller that is cancelled waits for the answer: leaving would cost the connection, and
        redis-py on Python 3.11 may lose a cancellation.
        """
        if time.monotonic() < self._away_until:
            raise StorageUnavailable(_AWAY)
        try:
            with anyio.CancelScope(shield=True), anyio.fail_after(ANSWER_SECS):
                return msgspec.convert(await ask(), kind)
        except self._refusal as problem:  # it answers, so that it is not away
            _log.warning("storage: redis refuses", problem=str(problem).partition(" ")[0])
            raise StorageUnavailable("The Redis of [storage] url refuses a command; it may be full.") from problem
        except self._failures as problem:
            self._away_until = time.monotonic() + AWAY_SECS
            _log.warning("storage: redis is away", problem=type(problem).__name__, again_in_secs=AWAY_SECS)
            raise StorageUnavailable(_AWAY, retry_after=AWAY_SECS) from problem
        except msgspec.ValidationError as problem:
            _log.warning("storage: no redis answers, or it has other records", problem=str(problem))
            raise StorageUnavailable("The Redis of [storage] url answers what no Redis of ours would.") from problem


def owned(kind: str, owner: str, id: str) -> str:
    """Return the key of a record.

    An owner is quoted, so that no id of another one makes the same key.
    """
    return f"{kind}:{quote(owner, safe='')}:{id}"


def milliseconds(bounds: Bounds) -> int:
    """Return how long a record is kept after its last change; 0 for ever."""
    return 0 if bounds.max_age_secs is None else max(1, round(bounds.max_age_secs * 1000))


def fields_of(answer: Any) -> dict[str, bytes]:
    """Return the fields of a hash, which a command returns as a dictionary and a script as a
    list.
    """
    pairs = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
    return {name.decode(): value for name, value in pairs}
