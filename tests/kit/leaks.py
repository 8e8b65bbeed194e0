"""What a server that runs in this process must not leave behind: tasks of its loop, and sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Sequence

from .upstream import ScriptedUpstream

SETTLE_SECONDS = 5.0
_LOOK_SECONDS = 0.003


@contextlib.contextmanager
def nothing_left(
    loop: asyncio.AbstractEventLoop, upstreams: Sequence[ScriptedUpstream], *, within: float = SETTLE_SECONDS
) -> Iterator[None]:
    """The block leaves no task on `loop`, which runs in another thread, and no socket in this
    process.

    Connections that are kept for the next request are no leak: those that the `upstreams` hold are
    left out, both ends, and there may be one to each, since one request at a time needs no more.

    Raises:
        AssertionError: with what is left, `within` seconds after it.
    """
    tasks, sockets = _tasks(loop), _steady_sockets(upstreams)
    yield
    deadline = time.monotonic() + within
    while True:
        more_tasks, more_sockets = _tasks(loop) - tasks, _sockets(upstreams) - sockets
        kept = [upstream.open_connections for upstream in upstreams]
        if not more_tasks and not more_sockets and max(kept) <= 1:
            return
        assert time.monotonic() < deadline, f"left: {more_tasks}, {more_sockets} sockets, to the upstreams {kept}"
        # polling with a deadline: connections are closed after their last byte
        time.sleep(_LOOK_SECONDS)


def _tasks(loop: asyncio.AbstractEventLoop) -> set[str]:
    return {f"{task.get_name()} {task.get_coro()}" for task in asyncio.all_tasks(loop)}


def _sockets(upstreams: Sequence[ScriptedUpstream]) -> int:
    """Open sockets of this process, without those between it and the upstreams, which live in it
    too.
    """
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed since, or the listing itself
            count += os.readlink(f"/proc/self/fd/{number}").startswith("socket:")
    return count - 2 * sum(upstream.open_connections for upstream in upstreams)


def _steady_sockets(upstreams: Sequence[ScriptedUpstream]) -> int:
    """Not counted in the moment in which one end of a kept connection is closed and the other is
    not yet.
    """
    count = _sockets(upstreams)
    while True:
        time.sleep(_LOOK_SECONDS)
        before, count = count, _sockets(upstreams)
        if count == before:
            return count
