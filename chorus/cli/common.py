"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
