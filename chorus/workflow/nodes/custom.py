"""What a kind of node does in a run (W12): a worker answers, a selector judges. `kinds.py` says how a package adds one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from chorus.events import Path
from chorus.types import Answer
from chorus.wirejson import JSON
from chorus.workflow.kinds import NodeKind
from chorus.workflow.run import Run


@runtime_checkable
class WorkerKind(NodeKind, Protocol):
    """A kind of worker."""

    async def answer(self, run: Run, path: Path, spec: Mapping[str, JSON]) -> Answer:
        """Be a worker of `run` at `path`.

        Raises:
            ChorusError: it has no answer; the other workers go on.
        """
        ...


@runtime_checkable
class SelectorKind(NodeKind, Protocol):
    """A kind of selector. One that makes up to a call for each candidate has an attribute `asks_each` that is true."""

    async def rank(self, run: Run, path: Path, spec: Mapping[str, JSON], candidates: Sequence[Answer]) -> Ranking:
        """Judge `candidates` for `run` at `path`.

        Raises:
            ChorusError: it cannot; the candidate that agrees most with the others is taken.
        """
        ...


class Ranking(Protocol):
    """A score for each candidate, in their order, the highest the best; and a sentence for the trace."""

    @property
    def scores(self) -> Sequence[float]: ...

    @property
    def reason(self) -> str: ...
