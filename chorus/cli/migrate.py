"""`chorus migrate`: an old configuration file in the new form (C10)."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from chorus import config as configuration
from chorus.config.load import read_text
from chorus.texts import Text

_NOTHING: Final = Text("{path} has the new form already; nothing was changed.", "{path} 已是新格式，未作改动。")
_REWRITTEN: Final = Text("{path} was rewritten; the old file is {backup}.", "{path} 已改写；旧文件为 {backup}。")
EXAMPLE = "chorus migrate test-old-config.toml --dry-run"


def run(
    path: Annotated[Path, typer.Argument(help="The file to rewrite.", exists=True, dir_okay=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the result, write nothing.")] = False,
) -> None:
    """Rewrite a file of the old form and keep a backup beside it. A second run changes
    nothing."""
    if dry_run:
        print(configuration.migrate(read_text(path)).text, end="")
        return
    migration = configuration.rewrite(path, now=datetime.now())
    if not migration.changed:
        print(_NOTHING.filled(path=path))
        return
    for note in migration.notes:
        print(f"- {note}")
    print(_REWRITTEN.filled(path=path, backup=migration.backup))
