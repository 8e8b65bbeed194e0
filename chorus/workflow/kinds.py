"""Kinds of worker nodes beyond models and nested workflows, by name (W12).

A package adds one by an entry point in the group `chorus.nodes` whose object is a `NodeKind`; a configuration then
names it as `{"kind": NAME, ...}` among its workers. The engine does not change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Protocol

from chorus.types import Answer
from chorus.wirejson import JSON

if TYPE_CHECKING:
    from chorus.events import Path
    from chorus.workflow.base import Run

ENTRY_POINTS = "chorus.nodes"


class NodeKind(Protocol):
    """A kind of node. `spec` is always the node's JSON as configured."""

    name: str

    def problems(self, spec: Mapping[str, JSON]) -> Sequence[str]:
        """What is wrong with `spec`, a sentence each; empty when it is right."""
        ...

    def refs(self, spec: Mapping[str, JSON]) -> Sequence[str]:
        """The models that it will call, so that start can refuse undefined ones (C8)."""
        ...

    async def answer(self, run: Run, path: Path, spec: Mapping[str, JSON]) -> Answer:
        """Be a worker of `run` at `path`.

        Raises:
            ChorusError: it has no answer; the other workers go on.
        """
        ...


def installed() -> dict[str, NodeKind]:
    """The kinds that installed packages bring, by name."""
    kinds = (point.load() for point in entry_points(group=ENTRY_POINTS))
    return {kind.name: kind for kind in kinds}
