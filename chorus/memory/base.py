"""The one protocol for everything that remembers."""

from __future__ import annotations

from typing import Protocol

from chorus.wirejson import JSON


class Store(Protocol):
    """JSON values by key. What is put must not be changed afterwards."""

    async def get(self, key: str) -> JSON | None:
        """The value of `key`; None when there is none (any more)."""
        ...

    def put(self, key: str, value: JSON) -> None:
        """Remember `value`. Does not wait, so that it works where a journal is observed; a store that writes elsewhere
        queues it, and its own `get` sees it at once."""
        ...

    async def delete(self, key: str) -> bool:
        """Forget `key`; tells whether it was there."""
        ...
