"""Batches in Redis. See `base.Batches`.

A hash each, `chorus:batch:<owner>:<id>`; `chorus:batches:<owner>:` is an index of an owner's
batches, `chorus:open_batches` one of all that are not over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from chorus.errors import NotFound, TooManyRuns
from chorus.storage import redis_batch_scripts as scripts
from chorus.storage.records import NO_BATCH, Batch, BatchBounds, BatchPage, LineResult
from chorus.storage.redis import RedisServer, fields_of, owned
from chorus.storage.redis_files import file_index, file_keys


class RedisBatches:
    """Batches in `redis`, of each owner as many as `bounds` let."""

    def __init__(self, redis: RedisServer, bounds: BatchBounds) -> None:
        self._redis = redis
        self._bounds = bounds
        self._ttl = round(bounds.max_age_secs * 1000)
        self._create = redis.script(scripts.CREATE_BATCH, int)
        self._page = redis.script(scripts.PAGE_BATCHES, list[int | list[bytes]] | Literal[0])
        self._cancel = redis.script(scripts.CANCEL_BATCH, list[bytes])
        self._claim = redis.script(scripts.CLAIM_BATCH, list[bytes])
        self._renew = redis.script(scripts.RENEW_BATCHES, list[list[bytes]])
        self._release = redis.script(scripts.RELEASE_BATCHES, int)
        self._update = redis.script(scripts.UPDATE_BATCH, int)
        self._record = redis.script(scripts.RECORD_LINES, int)
        self._finish = redis.script(scripts.FINISH_BATCH, int)

    async def create(self, batch: Batch) -> Batch:
        fields = [word for pair in msgspec.structs.asdict(batch).items() for word in pair]
        bounds = (self._ttl, self._bounds.max_open, self._bounds.max_batches)
        words = (_key(batch.owner, ""), *bounds, batch.id, *fields)
        if not await self._create([_key(batch.owner, batch.id), _index(batch.owner)], words):
            raise TooManyRuns(self._bounds.too_many_batches)
        return batch

    async def get(self, owner: str, id: str) -> Batch | None:
        answer = await self._redis.command(dict[bytes, bytes], "HGETALL", _key(owner, id))
        return _batch(answer) if answer else None

    async def page(self, owner: str, *, after: str | None = None, limit: int = 20) -> BatchPage:
        words = (_key(owner, ""), limit, *(() if after is None else (after,)))
        answer = await self._page([_index(owner)], words)
        if answer == 0:
            raise NotFound(NO_BATCH, param="after")
        has_more, *batches = answer
        return BatchPage([_batch(fields) for fields in batches], bool(has_more))

    async def request_cancel(self, owner: str, id: str) -> Batch | None:
        answer = await self._cancel([_key(owner, id)], [])
        return _batch(answer) if answer else None

    async def claim(self, process: str) -> Batch | None:
        answer = await self._claim([], (process, self._bounds.lease_secs))
        return _batch(answer) if answer else None

    async def renew(self, process: str) -> list[Batch]:
        return [_batch(fields) for fields in await self._renew([], (process, self._bounds.lease_secs))]

    async def release(self, process: str) -> None:
        await self._release([], [process])

    async def update(self, batch: Batch) -> bool:
        words = (batch.process, batch.status, batch.total, batch.value)
        return bool(await self._update([_key(batch.owner, batch.id)], words))

    async def record(self, batch: Batch, results: Sequence[LineResult]) -> bool:
        lines = [
            word for result in results for word in (result.number, int(result.is_error), result.data, *result.tokens)
        ]
        words = (batch.process, self._bounds.lease_secs, self._ttl, *lines)
        batch_key, *files = _keys(batch)
        return bool(await self._record([batch_key, file_index(batch.owner), *files], words))

    async def done(self, batch: Batch) -> set[int]:
        _, _, output, _, error = _keys(batch)
        answers = await self._redis.together(list[list[bytes]], [("HKEYS", output), ("HKEYS", error)])
        return {int(number) for numbers in answers for number in numbers}

    async def finish(self, batch: Batch, keep_secs: float) -> bool:
        words = (batch.process, batch.status, batch.value, round(keep_secs * 1000))
        return bool(await self._finish(_keys(batch), words))


def _key(owner: str, id: str) -> str:
    return owned("chorus:batch", owner, id)


def _index(owner: str) -> str:
    return owned("chorus:batches", owner, "")


def _keys(batch: Batch) -> tuple[str, str, str, str, str]:
    """Return the keys of a batch, of its output file and of its error file, each with its
    pieces.
    """
    output, error = file_keys(batch.owner, batch.output_file), file_keys(batch.owner, batch.error_file)
    return (_key(batch.owner, batch.id), *output, *error)


def _batch(answer: Any) -> Batch:
    fields = fields_of(answer)
    texts: dict[str, Any] = {name: value.decode() for name, value in fields.items() if name != "value"}
    return msgspec.convert({**texts, "value": fields["value"]}, Batch, strict=False, builtin_types=(bytes,))
