"""`chorus check`: everything that is wrong with a configuration, or what it will do (C6, C8)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chorus.cli.common import ConfigOption, read_config
from chorus.llm.clients import Clients
from chorus.snapshot import compose
from chorus.workflow.plan import Flow, drawn

EXAMPLE = "chorus check config-example.toml"


def run(
    path: Annotated[Path | None, typer.Argument(help="The file; the same as --config.")] = None,
    config: ConfigOption = None,
) -> None:
    """Check a configuration; print its workflows as trees and the calls that one request makes."""
    loaded = read_config(path or config)
    snapshot = compose(loaded, Clients())
    print(f"{loaded.source}: ok, {len(loaded.models)} models")
    for plan in snapshot.plans.values():
        if isinstance(plan.root, Flow):
            print("\n" + "\n".join(drawn(plan.root)))
