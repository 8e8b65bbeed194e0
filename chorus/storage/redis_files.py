"""Files in Redis. See `base.Files`.

A hash each, `chorus:file:<owner>:<id>`, its pieces by number in `chorus:file_pieces:<owner>:<id>`,
and `chorus:files:<owner>:`, an index of an owner's files.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from chorus.errors import InvalidRequest, NotFound
from chorus.storage import redis_batch_scripts as scripts
from chorus.storage.records import (
    NO_FILE,
    READ_BYTES,
    UPLOAD_SECS,
    BatchBounds,
    FilePage,
    FilePart,
    FilePurpose,
    Order,
    StoredFile,
)
from chorus.storage.redis import RedisServer, fields_of, owned

_UPLOAD_MS = round(UPLOAD_SECS * 1000)
_MAX_PIECES = 5000
"""Pieces of one part: lines of an output file may be short."""


class RedisFiles:
    """Files in `redis`, of each owner as many as `bounds` let."""

    def __init__(self, redis: RedisServer, bounds: BatchBounds) -> None:
        self._bounds = bounds
        self._redis = redis
        self._create = redis.script(scripts.CREATE_FILE, int)
        self._add = redis.script(scripts.ADD_PIECE, int)
        self._finish = redis.script(scripts.FINISH_FILE, list[bytes])
        self._page = redis.script(scripts.PAGE_FILES, list[int | list[bytes]] | Literal[0])
        self._read = redis.script(scripts.READ_FILE, list[int | bytes])
        self._delete = redis.script(scripts.DELETE_FILE, int)

    async def create(self, owner: str, id: str, purpose: FilePurpose, name: str) -> None:
        words = (self._bounds.max_files, owner, id, purpose, name)
        if not await self._create(_keys(owner, id), (_prefix(owner), _UPLOAD_MS, *words)):
            raise InvalidRequest(self._bounds.too_many_files)

    async def add(self, owner: str, id: str, number: int, data: bytes) -> None:
        words = (_prefix(owner), _UPLOAD_MS, self._bounds.max_bytes, number, data)
        added = await self._add(_keys(owner, id), words)
        if added < 0:
            raise NotFound(NO_FILE)
        if not added:
            raise InvalidRequest(self._bounds.too_many_bytes)

    async def finish(self, owner: str, id: str, keep_secs: float) -> StoredFile:
        fields = await self._finish(_keys(owner, id), (_prefix(owner), round(keep_secs * 1000)))
        if not fields:
            raise NotFound(NO_FILE)
        return _file(fields)

    async def get(self, owner: str, id: str) -> StoredFile | None:
        answer = await self._redis.command(dict[bytes, bytes], "HGETALL", file_keys(owner, id)[0])
        return _file(answer) if answer.get(b"is_ready") == b"1" else None

    async def page(
        self,
        owner: str,
        *,
        purpose: str | None = None,
        order: Order = "desc",
        after: str | None = None,
        limit: int = 20,
    ) -> FilePage:
        words = (_prefix(owner), 0, limit, order, purpose or "", *(() if after is None else (after,)))
        answer = await self._page(_keys(owner, ""), words)
        if answer == 0:
            raise NotFound(NO_FILE, param="after")
        has_more, *files = answer
        return FilePage([_file(fields) for fields in files], bool(has_more))

    async def read(self, owner: str, id: str, first: int = 0) -> FilePart | None:
        answer = await self._read(_keys(owner, id), (_prefix(owner), 0, first, READ_BYTES, _MAX_PIECES))
        if not answer:
            return None
        following, *pieces = answer
        return FilePart(pieces, following if following >= 0 else None)

    async def delete(self, owner: str, id: str) -> bool:
        return bool(await self._delete(_keys(owner, id), (_prefix(owner), 0, id)))


def file_keys(owner: str, id: str) -> tuple[str, str]:
    """Return the keys of a file and of its pieces."""
    return owned("chorus:file", owner, id), owned("chorus:file_pieces", owner, id)


def file_index(owner: str) -> str:
    """Return the key of the index of an owner's files."""
    return owned("chorus:files", owner, "")


def _keys(owner: str, id: str) -> tuple[str, str, str]:
    return (*file_keys(owner, id), file_index(owner))


def _prefix(owner: str) -> str:
    return owned("chorus:file", owner, "")


def _file(answer: Any) -> StoredFile:
    fields = {name: value.decode() for name, value in fields_of(answer).items()}
    return msgspec.convert(fields, StoredFile, strict=False)
