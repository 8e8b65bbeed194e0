"""`chorus _worker`: one of the processes of `chorus serve --workers`, which starts it."""

from __future__ import annotations

import msgspec
import typer

from chorus.serving.worker import Assignment, serve


def run(assignment: str = typer.Argument()) -> None:
    """Serve as one of several processes, until the parent stops this one or is gone."""
    serve(msgspec.json.decode(assignment, type=Assignment))
