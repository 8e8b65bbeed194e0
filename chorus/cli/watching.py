"""Noticing that the configuration file has changed (C12), by `watchfiles`, which the extra `chorus-llm[watch]` brings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
import structlog

from chorus.errors import ChorusError

_log = structlog.get_logger("chorus.server")


def check() -> None:
    """Raises ChorusError when `watchfiles` is not installed."""
    try:
        import watchfiles  # noqa: F401
    except ImportError as error:
        raise ChorusError("watching the configuration needs an extra: pip install 'chorus-llm[watch]'") from error


async def watch(path: Path, changed: Callable[[], None], until: anyio.Event) -> None:
    """Call `changed` whenever the contents of `path` have become others, until `until` happens. (Cancelled, it would wait for the
    thread that watches, for seconds.)

    Its folder is watched: editors, and Kubernetes with its links, put another file in the place of the old one. Where the
    system cannot watch, the log says so, and SIGHUP is left.
    """
    import watchfiles

    last = _contents(path)
    try:
        async for _ in watchfiles.awatch(path.parent, watch_filter=None, recursive=False, stop_event=until):
            now = _contents(path)
            if now is not None and now != last:
                changed()
            last = now or last
    except OSError as error:
        _log.error("the configuration is not watched any more", error=str(error))


def _contents(path: Path) -> bytes | None:
    """None while there is none: between the old file and the new one."""
    try:
        return path.read_bytes()
    except OSError:
        return None
