"""What a kind of node does in a run (W12): a worker answers, a selector judges. `kinds.py` says how
a package adds one, `context.py` what it may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from chorus.types import Answer
from chorus.wirejson import JSON
from chorus.workflow.kinds import NodeKind
from chorus.workflow.nodes.context import NodeContext


@runtime_checkable
class WorkerKind(NodeKind, Protocol):
    """A kind of worker."""

    async def answer(self, context: NodeContext, spec: Mapping[str, JSON]) -> Answer:
        """Return this worker's answer to `context.request`.

        Raises:
            ChorusError: it has no answer; the other workers go on.
        """
        ...


@runtime_checkable
class SelectorKind(NodeKind, Protocol):
    """A kind of selector. One that makes up to a call for each candidate has an attribute
    `asks_each` that is true, one that makes none `asks_nobody`."""

    async def rank(self, context: NodeContext, spec: Mapping[str, JSON], candidates: Sequence[Answer]) -> Ranking:
        """Return a score for each of `candidates`.

        Raises:
            ChorusError: it cannot; the candidate that agrees most with the others is taken.
        """
        ...


class Ranking(Protocol):
    """A score for each candidate, in order, the highest the best; and a sentence for the trace."""

    @property
    def scores(self) -> Sequence[float]: ...

    @property
    def reason(self) -> str: ...
