"""Responses, affinities, runs, traces and profiles in Redis. See the protocols of `base`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from chorus.errors import InvalidRequest, StorageUnavailable
from chorus.storage import redis_scripts as scripts
from chorus.storage.records import LEASE_OVER, Bounds, Change, Profile, Run, RunStatus, Trace, too_large
from chorus.storage.redis import CONTENDED, TRIES, RedisServer, fields_of, milliseconds, owned


class RedisResponses:
    """See `base.Responses`. One key each: `chorus:response:<owner>:<id>`."""

    def __init__(self, redis: RedisServer, bounds: Bounds) -> None:
        self._redis = redis
        self._ttl = milliseconds(bounds)

    async def get(self, owner: str, id: str) -> bytes | None:
        value: bytes | None = await self._redis.command(bytes | None, "GET", _response(owner, id))
        return value

    async def put(self, owner: str, id: str, value: bytes) -> None:
        until = ("PX", self._ttl) if self._ttl else ()
        await self._redis.command(Any, "SET", _response(owner, id), value, *until)

    async def delete(self, owner: str, id: str) -> bool:
        return bool(await self._redis.command(int, "DEL", _response(owner, id)))


class RedisAffinities:
    """See `base.Affinities`. `session_affinity:<session>` is a hash with a field for each owner and
    model."""

    def __init__(self, redis: RedisServer, bounds: Bounds) -> None:
        self._redis = redis
        self._ttl = milliseconds(bounds)

    async def get(self, owner: str, session: str, model: str) -> str | None:
        field = msgspec.json.encode((owner, model))
        replica: bytes | None = await self._redis.command(bytes | None, "HGET", f"session_affinity:{session}", field)
        return replica.decode() if replica is not None else None

    async def put(self, owner: str, session: str, model: str, replica: str) -> None:
        key, field = f"session_affinity:{session}", msgspec.json.encode((owner, model))
        commands: list[tuple[Any, ...]] = [("HSET", key, field, replica)]
        if self._ttl:
            commands.append(("PEXPIRE", key, self._ttl))
        await self._redis.together(list[Any], commands)


class RedisRuns:
    """See `base.Runs`. A hash each, and a set of the running ones of each process."""

    def __init__(self, redis: RedisServer, bounds: Bounds, lease_secs: float) -> None:
        self._redis = redis
        self._ttl = milliseconds(bounds)
        self._lease_secs = lease_secs
        self._start = redis.script(scripts.START, int)
        self._run = redis.script(scripts.RUN, tuple[int, list[bytes]])
        self._finish = redis.script(scripts.FINISH, int)
        self._renew = redis.script(scripts.RENEW, list[tuple[bytes, bytes]])

    async def start(self, owner: str, id: str, process: str, value: bytes) -> None:
        words = (self._ttl, self._lease_secs, owner, id, process, value)
        await self._start([_run(owner, id), _process(process)], words)

    async def get(self, owner: str, id: str) -> Run | None:
        return await self._asked(owner, id, "")

    async def request_cancel(self, owner: str, id: str) -> Run | None:
        return await self._asked(owner, id, "cancel")

    async def renew(self, process: str) -> set[tuple[str, str]]:
        words = (self._ttl, self._lease_secs, LEASE_OVER, process)
        runs = await self._renew([_process(process)], words)
        return {(owner.decode(), id.decode()) for owner, id in runs}

    async def finish(self, owner: str, id: str, process: str, status: RunStatus) -> bool:
        return bool(await self._finish([_run(owner, id), _process(process)], (self._ttl, process, status)))

    async def delete(self, owner: str, id: str) -> bool:
        return bool(await self._redis.command(int, "DEL", _run(owner, id)))

    async def _asked(self, owner: str, id: str, request: str) -> Run | None:
        is_lost, answer = await self._run([_run(owner, id)], [request])
        if not answer:
            return None
        fields = fields_of(answer)
        run = Run(
            owner=owner,
            id=id,
            process=fields["process"].decode(),
            status=msgspec.convert(fields["status"].decode(), RunStatus),
            value=fields["value"],
            reason=fields["reason"].decode(),
            is_cancel_requested=fields["is_cancel_requested"] == b"1",
        )
        return msgspec.structs.replace(run, status="failed", reason=LEASE_OVER) if is_lost else run


class RedisTraces:
    """See `base.Traces`. A hash each, and a list of all in their order."""

    def __init__(self, redis: RedisServer, bounds: Bounds) -> None:
        self._bounds = bounds
        self._ttl = milliseconds(bounds)
        self._put = redis.script(scripts.PUT_TRACE, int)
        self._find = redis.script(scripts.FIND_TRACES, list[list[bytes]])

    async def put(self, traces: Sequence[Trace]) -> None:
        bounds = self._bounds
        most_records = -1 if bounds.max_records is None else bounds.max_records
        most_bytes = -1 if bounds.max_bytes is None else bounds.max_bytes
        args: list[str | bytes | int] = [self._ttl, most_records, most_bytes]
        refused = None
        for trace in traces:
            size = len(trace.events) + len(trace.requests)
            if 0 <= most_bytes < size:
                refused = InvalidRequest(too_large(size, most_bytes))
                continue
            member = owned("", trace.owner, trace.id)[1:]
            args += (member, size, trace.owner, trace.id, trace.events, trace.requests)
        await self._put([], args)
        if refused is not None:
            raise refused

    async def get(self, owner: str | None, id: str) -> Trace | None:
        begins = "" if owner is None else owned("", owner, id)[1:]
        for events, found_owner, found_id, requests in await self._find(
            [], (1, begins, id, "events", "owner", "id", "requests")
        ):
            return Trace(found_owner.decode(), found_id.decode(), events, requests)
        return None

    async def recent(self, limit: int) -> list[tuple[str, bytes]]:
        rows = await self._find([], (limit, "", "", "events", "id"))
        return [(id.decode(), events) for events, id in rows]


class RedisProfiles:
    """See `base.Profiles`. One key each: `chorus:profile:<owner>:<user>`."""

    def __init__(self, redis: RedisServer, bounds: Bounds) -> None:
        self._redis = redis
        self._ttl = milliseconds(bounds)
        self._swap = redis.script(scripts.SWAP, int)

    async def get(self, owner: str, user: str) -> Profile | None:
        text = await self._redis.command(bytes | None, "GET", _profile(owner, user))
        return msgspec.json.decode(text, type=Profile) if text is not None else None

    async def update(self, owner: str, user: str, change: Change) -> Profile:
        key = _profile(owner, user)
        for _ in range(TRIES):
            before = await self._redis.command(bytes | None, "GET", key) or b""
            notes = msgspec.json.decode(before, type=Profile).notes if before else {}
            profile = Profile(change(notes), time.time())
            if await self._swap([key], (self._ttl, before, msgspec.json.encode(profile))):
                return profile
        raise StorageUnavailable(CONTENDED)

    async def delete(self, owner: str, user: str) -> bool:
        return bool(await self._redis.command(int, "DEL", _profile(owner, user)))


def _response(owner: str, id: str) -> str:
    return owned("chorus:response", owner, id)


def _run(owner: str, id: str) -> str:
    return owned("chorus:run", owner, id)


def _process(process: str) -> str:
    return f"chorus:runs_of:{process}"


def _profile(owner: str, user: str) -> str:
    return owned("chorus:profile", owner, user)
