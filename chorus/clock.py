"""The running event loop's clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import anyio


def running_clock() -> Callable[[], float]:
    """Return `anyio.current_time` without its look-up of the running loop at each call.

    It is called for every token, and the look-up took a third of a relayed stream's CPU
    (benchmarks/passthrough.py).

    On asyncio this is the monotonic clock itself: the loop's own time has the same origin, but with
    uvloop it moves in steps of a millisecond, which is long for a trace.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another backend, as in tests on trio
        return anyio.current_time
    return time.monotonic
