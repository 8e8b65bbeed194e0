"""`chorus ask`: one question on the terminal, its workers shown as they write."""

from __future__ import annotations

from typing import Annotated

import anyio
import typer

from chorus.cli.common import KEY_VARIABLE, ConfigOption, secret_of
from chorus.cli.demo import demo_config
from chorus.cli.run_events import ask_here, ask_server
from chorus.cli.run_view import view
from chorus.serving.configuration import read_config
from chorus.telemetry import log

EXAMPLE = 'chorus ask --demo "What is 17 * 23?"'


def run(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A model or workflow; `chorus`, else the first, otherwise.")
    ] = None,
    config: ConfigOption = None,
    demo: Annotated[bool, typer.Option("--demo", help="Ask the built-in demo models.")] = False,
    server: Annotated[
        str | None, typer.Option("--server", metavar="URL", help="Ask the server at this address.")
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", envvar=KEY_VARIABLE, help="The key for the server, where it needs one.")
    ] = None,
) -> None:
    """Ask one question. On a terminal the workers are shown side by side; the answer goes to
    standard output as it comes, the stages to standard error."""
    if not question.strip():
        raise typer.BadParameter("expected a question")
    if server is not None and (demo or config is not None):
        raise typer.BadParameter("--server has its own configuration: leave out --demo and --config")
    log.configure("error")
    shown = view()
    try:
        if server is not None:
            anyio.run(ask_server, server, key or secret_of(KEY_VARIABLE), question, model, shown.show)
        else:
            anyio.run(ask_here, demo_config() if demo else read_config(config), question, model, shown.show)
    finally:
        shown.close()
