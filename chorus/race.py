"""Work for somebody who may leave before it is done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from chorus.errors import ClientGone

T = TypeVar("T")


async def unless(gone: Callable[[], Awaitable[None]], work: Callable[[], Awaitable[T]]) -> T:
    """What `work` returns; it is cancelled when `gone` returns first (W13).

    Raises:
        ClientGone: it did.
        Exception: whatever `work` raised.
    """
    outcome: list[T] = []
    failure: Exception | None = None
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            await gone()
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            outcome.append(await work())
        except Exception as error:  # carried past the group, which would wrap it
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not outcome:
        raise ClientGone("The client left before its answer was complete.")
    return outcome[0]
