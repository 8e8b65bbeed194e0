"""The store of a server: where it is when nobody says where, and whether it can be used at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import anyio
from pydantic import SecretStr

from chorus.auth.paths import database_path
from chorus.config import Config
from chorus.config.limits import MEMORY, StorageConfig
from chorus.errors import ConfigError, Problem, StorageUnavailable
from chorus.storage.opening import open_storage
from chorus.storage.sqlite import make_private

_IN_MEMORY: Final = "nothing outlives this server: no file can be made in the data folder of this user"
_ELSEWHERE: Final = '`url = "memory:"` keeps everything in the memory of the process'


def with_store(config: Config, warn: Callable[[str], None] = lambda sentence: None) -> Config:
    """Return `config` with a file in the user's data folder as its store, where it names none.

    Where this user can write no such file, it is the memory of the process, and `warn` is called.
    """
    if config.storage.url is not None:
        return config
    try:
        path = database_path().absolute()
        make_private(path)
    except (RuntimeError, StorageUnavailable) as problem:
        reason = "there is no home directory" if isinstance(problem, RuntimeError) else problem.message
        warn(f"{_IN_MEMORY} ({reason.rstrip('.')}). [storage] url names another place.")
        url = MEMORY
    else:
        url = f"sqlite:///{quote(path.as_posix(), safe='/:')}"
    return config.model_copy(update={"storage": StorageConfig(url=SecretStr(url))})


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
