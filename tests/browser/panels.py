"""A server whose workers do what a test says, and whose judge is the demo's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.kit import ScriptedUpstream, ServerProcess

WORKERS = ("first", "second", "third")
_WORKER = """
[[model]]
name = "{name}"
api_base = "{base}"
"""
_PANEL = """
[[model]]
name = "judge"
provider = "demo"
model = "demo-judge"

[workflow-integration]
workers = ["first", "second", "third"]
selector = "judge"
"""


def panel(upstream: ScriptedUpstream, before: str = "") -> str:
    """A configuration: three workers at `upstream`, and a judge whose choice goes out as it is.

    `before` goes to its begin.
    """
    models = (_WORKER.format(name=name, base=upstream.api_base) for name in WORKERS)
    return before + "".join(models) + _PANEL


@contextmanager
def served(before: str = "") -> Iterator[tuple[ServerProcess, ScriptedUpstream]]:
    """A server of that panel, and its upstream."""
    with (
        ScriptedUpstream.in_thread() as upstream,
        ServerProcess(panel(upstream, before), env={"CHORUS_LOG": "error"}) as server,
    ):
        yield server, upstream
