"""The subcommands by name. Only the one that is called is imported: all of them together take over
a second."""

from __future__ import annotations

import gc
from importlib import import_module
from types import ModuleType
from typing import Any, Final

import typer
from typer.core import TyperGroup

from chorus.texts import language

COMMANDS: Final = {
    "serve": "Start the server.",
    "demo": "Start the server with built-in demo models: no key, no network, no configuration file.",
    "init": "Find a local Ollama and API keys in the environment, and write a configuration that uses them.",
    "check": "Check a configuration; print its workflows as trees, with the calls, time and cost of one request.",
    "migrate": "Rewrite a file of the old form and keep a backup beside it.",
    "models": "List the models and workflows of a configuration.",
    "ask": "Ask one question.",
    "eval": "Ask single models and workflows your own questions; print their quality, speed and cost.",
    "tune": "Find the panel of models that is worth its calls, from the stored answers of an evaluation.",
    "replay": "Run the request of a stored trace again; print both results.",
    "worker": "Serve one model over gRPC, as an inference worker for gateways.",
    "mcp": "Serve the tools of Chorus to a client of MCP, over standard input and output.",
    "health": "Ask a server whether it is ready: exit code 0 if so, else 1 and a sentence that says why.",
    "version": "Print the version.",
    "keys": "Make, list and revoke client keys.",
}
"""The modules of this package that are commands, each with the first sentence of its help."""

_HIDDEN: Final = {"_worker": "worker_process"}
"""Commands that only Chorus itself calls, with their modules."""


class LazyCommands(TyperGroup):
    """A group of the commands above. Each module has `run` and `EXAMPLE`, or `app` where it has
    subcommands."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command `cmd_name`, its module imported; None where there is none."""
        name = _HIDDEN.get(cmd_name, cmd_name)
        if cmd_name not in COMMANDS and cmd_name not in _HIDDEN:
            return None
        module = _imported(f"chorus.cli.{name}")
        if hasattr(module, "app"):
            return _in_language(typer.main.get_command(module.app))
        own = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        example = getattr(module, "EXAMPLE", None)
        own.command(cmd_name, epilog=f"Example:  {example}" if example else None)(module.run)
        return _in_language(typer.main.get_command(own))

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the table into the help, without an import."""
        rows = list(COMMANDS.items())
        if language() == "zh":
            from chorus.cli.chinese import HELP

            rows = [(name, HELP[text]) for name, text in rows]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def get_help(self, ctx: Any) -> str:
        """Return the help of the whole program."""
        if language() == "en":
            return super().get_help(ctx)
        from chorus.cli.chinese import framed, translate_texts

        translate_texts(self)
        return framed(super().get_help(ctx))


def _in_language(command: Any) -> Any:
    """Return the command with its help in the language of this process."""
    if language() == "zh":
        from chorus.cli.chinese import translated

        return translated(command)
    return command


def _imported(name: str) -> ModuleType:
    """Return the module `name`.

    What it and its imports make stays for good: to look for garbage meanwhile is a tenth of the
    time.
    """
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.enable()
