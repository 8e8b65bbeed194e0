"""A store in this process's memory, bounded in number and size; what was put longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict

from chorus import wirejson
from chorus.wirejson import JSON


class EphemeralStore:
    """See `Store`. Values are held as JSON text: small, and nobody can change them from outside."""

    def __init__(self, max_entries: int = 1000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[str, bytes] = OrderedDict()

    async def get(self, key: str) -> JSON | None:
        """See `Store.get`."""
        raw = self._entries.get(key)
        return wirejson.decode(raw) if raw is not None else None

    def put(self, key: str, value: JSON) -> None:
        """See `Store.put`. A value larger than the whole store is not kept."""
        raw = wirejson.encode(value)
        self._forget(key)
        if len(raw) > self._max_bytes:
            return
        self._entries[key] = raw
        self._bytes += len(raw)
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._forget(next(iter(self._entries)))

    async def delete(self, key: str) -> bool:
        """See `Store.delete`."""
        return self._forget(key)

    def _forget(self, key: str) -> bool:
        raw = self._entries.pop(key, None)
        self._bytes -= len(raw or b"")
        return raw is not None
