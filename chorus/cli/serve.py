"""`chorus serve`: the server, on a configuration file."""

from __future__ import annotations

import os
from datetime import datetime
from functools import partial
from typing import Annotated

import typer

from chorus import config as configuration
from chorus.cli.common import ConfigOption, HostOption, PortOption, read_config
from chorus.cli.running import run_server

EXAMPLE = "chorus serve --config config-example.toml --port 11435"

_ANNOUNCEMENT = "Chorus answers at {address}: OpenAI clients at {address}/v1, Ollama clients at {address}. {what}"


def run(
    config: ConfigOption = None,
    host: HostOption = None,
    port: PortOption = None,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Rewrite a file of the old form first, as `chorus migrate` does.")
    ] = False,
    require_auth: Annotated[
        bool, typer.Option("--require-auth", help="Let in only who shows a key; `chorus keys` makes them.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Read the configuration again whenever its file changes.")
    ] = False,
) -> None:
    """Start the server. SIGTERM stops it after its streams have ended; SIGHUP lets it read its configuration again."""
    if migrate:
        configuration.rewrite(configuration.find(config, os.environ), now=datetime.now())
    loaded = read_config(config)
    workflows = (1 if loaded.integration else 0) + len(loaded.workflows)
    what = f"{len(loaded.models)} models, {workflows} workflows."
    run_server(
        loaded,
        host,
        port,
        _ANNOUNCEMENT.replace("{what}", what),
        partial(read_config, config),
        require_auth=require_auth,
        watch=watch,
    )
