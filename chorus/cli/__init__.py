"""The command `chorus`: one thin file per subcommand (C11). Exit codes: 0, 1 at runtime, 2 for
usage and configuration."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from chorus import __version__
from chorus.cli.lazy import LazyCommands
from chorus.errors import ChorusError, ConfigError

app = typer.Typer(
    name="chorus",
    cls=LazyCommands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(__version__)
        raise typer.Exit


@app.callback()
def chorus(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Chorus: one local server in front of many language models. Several answer, one is chosen, and
    you see why."""


def main() -> None:
    """Run the command line; typed errors become one message and an exit code."""
    try:
        app()
    except ConfigError as error:
        print(error.message, file=sys.stderr)
        sys.exit(2)
    except ChorusError as error:
        print(f"chorus: {error.message}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # `chorus models | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"chorus: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
