"""Waiting for a condition over the upstream's state, from its own loop, another loop, or another
thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


class Changes:
    """Wakes waiters at each `notify()`; they look at their condition again."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def notify(self) -> None:
        """Something changed."""
        with self._condition:
            self._condition.notify_all()
            for loop, event in self._waiting:
                loop.call_soon_threadsafe(event.set)

    async def until(self, condition: Callable[[], bool], timeout: float, say: Callable[[], str]) -> None:
        """Wait until `condition()`.

        After `timeout` seconds fail with the sentence that `say()` gives.
        """
        event = asyncio.Event()
        entry = (asyncio.get_running_loop(), event)
        with self._condition:
            self._waiting.add(entry)
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    await event.wait()
                    event.clear()
        except TimeoutError:
            raise AssertionError(f"after {timeout} s: {say()}") from None
        finally:
            with self._condition:
                self._waiting.discard(entry)

    def until_blocking(self, condition: Callable[[], bool], timeout: float, say: Callable[[], str]) -> None:
        """The same for a thread without a loop."""
        with self._condition:
            if not self._condition.wait_for(condition, timeout):
                raise AssertionError(f"after {timeout} s: {say()}")
