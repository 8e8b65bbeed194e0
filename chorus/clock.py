"""The running event loop's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import anyio


def running_clock() -> Callable[[], float]:
    """`anyio.current_time` without finding out at each call which loop is running: it is asked for every token, and the
    finding out took a third of a relayed stream's CPU (benchmarks/passthrough.py)."""
    try:
        return asyncio.get_running_loop().time
    except RuntimeError:  # another backend, as in tests on trio
        return anyio.current_time
