"""The progress of `chorus eval` on a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chorus.evaluation.runner import Tick


@contextmanager
def progress(console: Console, what: str, total: int, done: int) -> Iterator[Tick]:
    """A bar on the terminal while the block lasts."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=bool(os.environ.get("CI"))) as bar:
        task = bar.add_task(what, total=total, completed=done)
        yield lambda: bar.advance(task)
