"""The progress of `chorus eval` on a terminal."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from chorus.evaluation.runner import Tick
from chorus.texts import Text

ANSWERS: Final = Text("answers", "答案")
VERDICTS: Final = Text("verdicts", "评审")
JUDGEMENTS: Final = Text("judgements", "评审测量")


@contextmanager
def progress(console: Console, what: Text, total: int, done: int) -> Iterator[Tick]:
    """A bar on the terminal while the block lasts."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=bool(os.environ.get("CI"))) as bar:
        task = bar.add_task(str(what), total=total, completed=done)
        yield lambda: bar.advance(task)
