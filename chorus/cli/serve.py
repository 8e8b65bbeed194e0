"""`chorus serve`: the server, on a configuration file."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from functools import partial
from typing import Annotated, Final

import typer

from chorus import config as configuration
from chorus.cli.common import ConfigOption, HostOption, PortOption
from chorus.serving.configuration import read_config, reload_config, warn
from chorus.serving.processes import run_workers
from chorus.serving.server import run_server
from chorus.serving.store import with_store
from chorus.serving.worker import Assignment
from chorus.texts import Text, counted

EXAMPLE = "chorus serve --config config-example.toml --port 11435"

_ANNOUNCEMENT: Final = Text(
    "Chorus answers at {address}: OpenAI clients at {address}/v1, Ollama clients at {address}.{page} {what}",
    "Chorus 已在 {address} 提供服务：OpenAI 客户端用 {address}/v1，Ollama 客户端用 {address}。{page} {what}",
)
_PAGE: Final = Text(" See it work at {address}/ui/.", "页面：{address}/ui/ 。")
_WHAT: Final = Text("{models}, {workflows}.", "{models}，{workflows}。")


def run(
    config: ConfigOption = None,
    host: HostOption = None,
    port: PortOption = None,
    migrate: Annotated[
        bool, typer.Option("--migrate", help="Rewrite a file of the old form first, as `chorus migrate` does.")
    ] = False,
    require_auth: Annotated[
        bool, typer.Option("--require-auth", help="Require a key of every client; `chorus keys` makes them.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Read the configuration again whenever its file changes.")
    ] = False,
    workers: Annotated[int, typer.Option("--workers", min=1, help="How many processes serve, on one port.")] = 1,
) -> None:
    """Start the server.

    SIGTERM stops it after its streams have ended; SIGHUP makes it read its configuration again.
    """
    if migrate and (path := configuration.find(config, os.environ)) is not None:
        configuration.rewrite(path, now=datetime.now())
    loaded = with_store(read_config(config), warn)
    models = counted(len(loaded.models), "model", "个模型")
    workflows = counted((1 if loaded.integration else 0) + len(loaded.workflows), "workflow", "个工作流")
    what = str(_WHAT.filled(models=models, workflows=workflows))
    page = str(_PAGE) if loaded.server.ui else ""
    announcement = str(_ANNOUNCEMENT).replace("{page}", page).replace("{what}", what)
    if workers == 1:
        reread = partial(reload_config, config)
        run_server(loaded, host, port, announcement, reread, require_auth=require_auth, watch=watch)
    else:
        named = str(config) if config is not None else None
        given = Assignment(config=named, host=host, port=port, require_auth=require_auth, watch=watch)
        sys.exit(run_workers(loaded, given, workers, announcement))
