"""A store by its address."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from chorus.errors import ConfigError, Problem
from chorus.storage.base import Storage
from chorus.storage.memory import memory_storage
from chorus.storage.records import IN_MEMORY, Retention
from chorus.storage.sqlite import sqlite_storage

_REDIS: Final = ("redis", "rediss", "unix")
_EXPECTED: Final = (
    'expected "memory:", "sqlite:///" with the path of a file, such as "sqlite:////var/lib/chorus/chorus.db", or the '
    'address of a Redis, such as "redis://127.0.0.1:6379/0"'
)


def open_storage(url: str, retention: Retention | None = None) -> Storage:
    """Return the store at `url`, which its `async with` opens.

    What follows `sqlite:///` is a path, where `~` is the home directory and a fourth slash begins
    an absolute path.

    Raises:
        ConfigError: no store has such an address. The message quotes nothing of it, since it may
            hold a password.
    """
    scheme = url.partition(":")[0].lower()
    if url == "memory:":
        return memory_storage(retention or IN_MEMORY)
    if scheme == "sqlite" and url.startswith("sqlite:///") and (path := unquote(urlsplit(url).path[1:])):
        return sqlite_storage(Path(path).expanduser(), retention or Retention())
    if scheme in _REDIS:
        from chorus.storage.redis_storage import redis_storage  # most servers do without its 1 MB

        return redis_storage(url, retention or Retention())
    raise ConfigError([Problem("[storage] url", _EXPECTED)])
