"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from chorus.errors import ConfigError, Problem
from chorus.secret_files import SecretFileError, from_environment

KEY_VARIABLE: Final = "CHORUS_API_KEY"
"""The key with which a command comes to a server."""

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", help="The configuration file; else $CHORUS_CONFIG, else ~/.config/chorus/config.toml."
    ),
]
HostOption = Annotated[str | None, typer.Option("--host", help="The address to listen on; [server] host otherwise.")]
PortOption = Annotated[
    int | None, typer.Option("--port", "-p", min=1, max=65535, help="The port; [server] port otherwise.")
]


def secret_of(variable: str) -> str | None:
    """Return the value of the variable, else the text of the file that its `_FILE` variable names.

    Raises:
        ConfigError: the file cannot be read.
    """
    try:
        return from_environment(variable, os.environ)
    except SecretFileError as problem:
        raise ConfigError([Problem("", str(problem))]) from None
