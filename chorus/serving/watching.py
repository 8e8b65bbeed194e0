"""Notices a change of the configuration file (C12), by `watchfiles` (extra `watch`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import structlog

from chorus.errors import ChorusError
from chorus.tasks import surviving

_log = structlog.get_logger("chorus.server")

_FIRST_PAUSE_SECS = 1.0
_LONGEST_PAUSE_SECS = 60.0
"""How long a watch that has failed rests: twice as long each time."""


def check() -> None:
    """Raises ChorusError when `watchfiles` is not installed."""
    try:
        import watchfiles  # noqa: F401
    except ImportError as error:
        raise ChorusError("watching the configuration needs an extra: pip install 'chorus-llm[watch]'") from error


async def watch(path: Path, changed: Callable[[], None], stopped: anyio.Event) -> None:
    """Call `changed` whenever the contents of `path` have become others, until `stopped` happens.

    (Cancelled, it would wait for the thread that watches, for seconds.)

    Its folder is watched: editors, and Kubernetes with its links, put another file in the place of
    the old one. Where the system cannot watch, the log says so, it is tried again after a while,
    and SIGHUP works meanwhile.
    """
    import watchfiles

    last = _contents(path)
    pause = _FIRST_PAUSE_SECS
    while not stopped.is_set():
        try:
            async for _ in watchfiles.awatch(path.parent, watch_filter=None, recursive=False, stop_event=stopped):
                pause = _FIRST_PAUSE_SECS
                last = _compare(path, last, changed)
        except Exception as error:
            why = str(error) if isinstance(error, OSError) else type(error).__name__
            _log.error("the configuration is not watched", error=why, again_in_secs=pause)
        with anyio.move_on_after(pause):
            await stopped.wait()
        pause = min(2 * pause, _LONGEST_PAUSE_SECS)
        last = _compare(path, last, changed)  # what happened while nobody watched


def _compare(path: Path, last: bytes | None, changed: Callable[[], None]) -> bytes | None:
    """Call `changed` where `path` does not hold `last` any more; what it holds, or held."""
    now = _contents(path)
    if now is not None and now != last:
        with surviving("the configuration has changed, and it was not read again"):
            changed()
    return now or last


def _contents(path: Path) -> bytes | None:
    """None while there is none: between the old file and the new one."""
    try:
        return path.read_bytes()
    except OSError:
        return None
