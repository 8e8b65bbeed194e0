"""The command `chorus`: one thin file per subcommand (C11). Exit codes: 0, 1 at runtime, 2 for usage and configuration."""

from __future__ import annotations

import os
import sys

import typer

from chorus.cli import ask, check, demo, eval, init, keys, migrate, models, replay, serve, version, worker
from chorus.errors import ChorusError, ConfigError

app = typer.Typer(
    name="chorus",
    help="Chorus: one local server in front of many language models. Several answer, one is chosen, and you see why.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (serve, demo, init, check, migrate, models, ask, eval, replay, version):
    _name = _command.__name__.rpartition(".")[2]
    app.command(_name, epilog=f"Example:  {_command.EXAMPLE}")(_command.run)
app.command("_worker", hidden=True)(worker.run)
app.add_typer(keys.app, name="keys", epilog=f"Example:  {keys.EXAMPLE}")


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
    except KeyboardInterrupt:
        sys.exit(130)
