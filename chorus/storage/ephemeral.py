"""A store in this process's memory, bounded in number and size; what was put longest ago goes first."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from chorus import wirejson
from chorus.wirejson import JSON


class EphemeralStore:
    """See `Store`. Values are held as JSON text: small, and nobody can change them from outside.
    `max_bytes` bounds the texts with their owners and keys, as they are encoded."""

    def __init__(self, max_entries: int = 1000, max_bytes: int = 64 * 1024 * 1024) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    async def get(self, owner: str, key: str) -> JSON | None:
        """See `Store.get`."""
        raw = self._entries.get((owner, key))
        return (
            msgspec.json.decode(raw) if raw is not None else None
        )  # our own text: it needs none of `wirejson`'s checks

    def put(self, owner: str, key: str, value: JSON) -> None:
        """See `Store.put`. A value larger than the whole store is not kept."""
        raw = wirejson.encode(value)
        place = (owner, key)
        self._forget(place)
        if _size(place, raw) > self._max_bytes:
            return
        self._entries[place] = raw
        self._bytes += _size(place, raw)
        while len(self._entries) > self._max_entries or self._bytes > self._max_bytes:
            self._forget(next(iter(self._entries)))

    async def delete(self, owner: str, key: str) -> bool:
        """See `Store.delete`."""
        return self._forget((owner, key))

    def _forget(self, place: tuple[str, str]) -> bool:
        raw = self._entries.pop(place, None)
        if raw is not None:
            self._bytes -= _size(place, raw)
        return raw is not None


def _size(place: tuple[str, str], raw: bytes) -> int:
    """Bytes that an entry counts as."""
    return sum(len(word.encode("utf-8", "surrogatepass")) for word in place) + len(raw)
