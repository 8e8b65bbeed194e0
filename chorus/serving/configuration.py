"""Read the configuration for a command, with the checks of the rooms above `config`."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from chorus import config as configuration
from chorus.config import Config
from chorus.errors import Problem
from chorus.snapshot import workflow_problems


def _config_problems(config: Config, declared: frozenset[str]) -> list[Problem]:
    """Return what only the floors above the configuration know to be wrong with it."""
    return [*workflow_problems(config, declared), *(_unknown_routes(config) if config.limits.routes else ())]


def _unknown_routes(config: Config) -> list[Problem]:
    """Return a problem for each path in `[limits.routes]` at which nothing is limited."""
    # 0.2 s, which `check`, `models` and `ask` mostly do without
    from chorus.server.app import limited_routes

    known = limited_routes()
    hint = f"nothing is limited at this path; expected one of {', '.join(sorted(known))}"
    unknown = sorted(config.limits.routes.keys() - known)
    return [Problem(f'[limits.routes."{route}"]', hint) for route in unknown]


def warn(text: str) -> None:
    """Print a warning to standard error before the server runs.

    One that cannot be printed stops nothing.
    """
    with suppress(OSError, ValueError):
        print(f"warning: {text}", file=sys.stderr, flush=True)


def read_config(option: Path | None) -> Config:
    """Return the configuration of `option` and the environment; warnings go to standard error.

    Raises:
        ConfigError: there is none, or it has problems: all of them.
    """
    config = load_config(option)
    for warning in warnings_of(config):
        warn(warning)
    return config


def warnings_of(config: Config) -> list[str]:
    """Return what is allowed and probably not meant in `config`, one sentence each."""
    sentences, path = list(config.warnings), config.source
    if config.migrated:
        sentences.append(f"{path} has the old form and was migrated in memory; `chorus migrate {path}` rewrites it.")
    return sentences


def reload_config(option: Path | None) -> Config:
    """Read the configuration for a running server; warnings go to the log.

    A print may wait for a reader, or fail.
    """
    return load_config(option)


def load_config(option: Path | None) -> Config:
    """Return the configuration as `read_config` does, without its warnings."""
    path = configuration.find(option, os.environ)
    return configuration.load(path, os.environ, _config_problems)
