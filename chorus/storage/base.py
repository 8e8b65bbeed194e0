"""The one protocol for everything that remembers."""

from __future__ import annotations

from typing import Protocol

from chorus.wirejson import JSON


class Store(Protocol):
    """JSON values by their owner and key: what one owner keeps does not exist for another (M2).
    What is put must not be changed afterwards."""

    async def get(self, owner: str, key: str) -> JSON | None:
        """The value of `key`; None when `owner` has none (any more)."""
        ...

    def put(self, owner: str, key: str, value: JSON) -> None:
        """Remember `value`. Does not wait, so that it works where a journal is observed; a store that writes elsewhere
        queues it, and its own `get` sees it at once."""
        ...

    async def delete(self, owner: str, key: str) -> bool:
        """Forget `key` of `owner`; tells whether it was there."""
        ...
