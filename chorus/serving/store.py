"""The store of a server: where it is when nobody says where, and whether it can be used at all."""

from __future__ import annotations

from urllib.parse import quote

import anyio
from pydantic import SecretStr

from chorus.auth.paths import database_path
from chorus.config import Config
from chorus.config.limits import StorageConfig
from chorus.errors import ConfigError, Problem, StorageUnavailable
from chorus.storage.opening import open_storage

_ELSEWHERE = '`url = "memory:"` keeps everything in the memory of the process'


def with_store(config: Config) -> Config:
    """`config` with a file in the user's data folder as its store, where it names none.

    Raises:
        ConfigError: this user has no home directory.
    """
    if config.storage.url is not None:
        return config
    try:
        path = database_path().absolute().as_posix()
    except RuntimeError:
        missing = f"none is configured, and there is no home directory for a file; {_ELSEWHERE}"
        raise ConfigError([Problem("[storage] url", missing)], source=config.source) from None
    url = SecretStr(f"sqlite:///{quote(path, safe='/:')}")
    return config.model_copy(update={"storage": StorageConfig(url=url)})


def check_store(config: Config) -> None:
    """Open the store and close it again. One that is only away passes, with a warning in the log.

    Raises:
        ConfigError: it can never be used as it is: a damaged file, one of a newer version or of
            another program, a folder that cannot be written.
    """
    try:
        anyio.run(_open, config.storage.address)
    except StorageUnavailable as problem:
        fault = Problem("[storage] url", f"{problem.message} {_ELSEWHERE}.")
        raise ConfigError([fault], source=config.source) from problem


async def _open(url: str) -> None:
    async with open_storage(url):
        pass
