"""`chorus mcp`: the tools of Chorus for an MCP client, over standard input and output (M5)."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Annotated, Final

import anyio
import typer

from chorus.auth.keys import KeyFile, KeyRing
from chorus.auth.paths import keys_path
from chorus.auth.principal import Principal
from chorus.cli.common import KEY_VARIABLE, ConfigOption, secret_of
from chorus.cli.demo import demo_config
from chorus.config import Config
from chorus.errors import NotSupported
from chorus.mcp.tool import Call
from chorus.mcp.toolbox import Toolbox
from chorus.service import Chorus
from chorus.serving.configuration import read_config
from chorus.serving.store import check_store, with_store
from chorus.telemetry import log

EXAMPLE = "chorus mcp --user ann"

_ROUTE: Final = "/mcp"
_INSTALL: Final = "this needs `pip install 'chorus-llm[mcp]'`"


def run(
    config: ConfigOption = None,
    demo: Annotated[bool, typer.Option("--demo", help="Serve the built-in demo models.")] = False,
    user: Annotated[str, typer.Option("--user", "-u", help="The user whose memory the tools read and write.")] = "",
) -> None:
    """Serve the tools of Chorus to a client of MCP, over standard input and output. The models and
    the store are those of the configuration. Where `[server] require_auth` is on, $CHORUS_API_KEY
    has to hold a key, or $CHORUS_API_KEY_FILE to name a file with one."""
    log.configure(os.environ.get("CHORUS_LOG", "error"))
    log.take_over()
    loaded = demo_config() if demo else with_store(read_config(config))
    principal = Principal(_ROUTE, user=user)
    if loaded.server.require_auth:
        path = Path(loaded.server.keys_file) if loaded.server.keys_file is not None else keys_path()
        principal.key = KeyRing(KeyFile(path)).check(secret_of(KEY_VARIABLE))
    check_store(loaded)
    anyio.run(_serve, loaded, principal)


async def _serve(config: Config, principal: Principal) -> None:
    try:
        from chorus.mcp.sdk import serve_stdio
    except ModuleNotFoundError:
        raise NotSupported(_INSTALL) from None

    def new_call() -> Call:
        unique = os.urandom(12).hex()
        return Call(Principal(_ROUTE, principal.key, principal.user), principal.user, f"req_{unique}", unique)

    chorus = Chorus(config)
    over, scope = anyio.Event(), anyio.CancelScope()
    signalled = False

    async def stop_on_signals() -> None:
        nonlocal signalled
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                signalled = True
                over.set()

    async def serve() -> None:
        with scope:
            await serve_stdio(Toolbox(chorus), new_call)
        over.set()

    async with anyio.create_task_group() as group:
        try:
            async with chorus.serving():
                group.start_soon(serve)
                group.start_soon(stop_on_signals)
                await over.wait()
                scope.cancel()
        finally:
            await chorus.aclose()
        if signalled:
            os._exit(0)  # a thread waits for a line of input, and nothing can wake it
        group.cancel_scope.cancel()
