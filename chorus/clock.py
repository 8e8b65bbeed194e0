"""The running event loop's clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import anyio


def running_clock() -> Callable[[], float]:
    """`anyio.current_time` without finding out at each call which loop is running: it is asked for
    every token, and the finding out took a third of a relayed stream's CPU
    (benchmarks/passthrough.py).

    On asyncio this is the monotonic clock itself: the loop's own time has the same origin, but with
    uvloop it moves in steps of a millisecond, which is long for a trace.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:  # another backend, as in tests on trio
        return anyio.current_time
    return time.monotonic
