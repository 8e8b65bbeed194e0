"""Kinds of nodes beyond models and nested workflows, by name (W12).

A package adds one by an entry point in the group `chorus.nodes` whose object is a `NodeKind`: a
`WorkerKind` answers, a `SelectorKind` judges (`nodes/custom.py`), and one object may do both. A
configuration names it as `{"kind": NAME, ...}` among its workers, or as its selector. The engine
does not change; `reranker` is such a kind. docs/WORKFLOWS.md has a whole example.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from chorus import plugins
from chorus.wirejson import JSON

ENTRY_POINTS = "chorus.nodes"


class NodeKind(Protocol):
    """A kind of node. `spec` is always the node's JSON as configured."""

    name: str

    def problems(self, spec: Mapping[str, JSON]) -> Sequence[str]:
        """Return what is wrong with `spec`, one sentence per problem; empty when it is right."""
        ...

    def refs(self, spec: Mapping[str, JSON]) -> Sequence[str]:
        """Return the models that it will call, so that start can refuse undefined ones (C8)."""
        ...


def installed() -> dict[str, NodeKind]:
    """Return the kinds that installed packages bring, by name.

    Raises:
        ConfigError: one of them cannot be loaded.
    """
    kinds: dict[str, NodeKind] = {}
    for point in plugins.installed(ENTRY_POINTS):
        kind: NodeKind = plugins.load(point, "node kind")
        try:
            kinds[kind.name] = kind
        except Exception as error:  # no name, or one that cannot be a key
            raise plugins.unloadable(point, "node kind", error) from error
    return kinds
