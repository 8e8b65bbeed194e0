"""What every store does with the outcomes of runs.

What `base` says of all protocols holds for this one.
"""

from __future__ import annotations

from typing import Protocol

from chorus.storage.records import Credit, Outcome


class Outcomes(Protocol):
    """What came of runs, and the counts of their credits by workflow.

    A store adds and takes away; no process writes a sum that it has read.
    """

    async def put(self, outcome: Outcome) -> None:
        """Keep `outcome` and add its credits, in place of what its source has said of this run
        before, whose credits are taken away. Nothing changes where that is newer. May be
        repeated."""
        ...

    async def get(self, run: str) -> list[Outcome]:
        """Return what came of a run, without its credits."""
        ...

    async def query(self, workflow: str, since: int) -> list[Credit]:
        """Return the counts of a workflow, in all buckets from `since` on."""
        ...

    async def reset(self, workflow: str | None) -> None:
        """Forget the counts of a workflow; None: of all. A feedback stays with its run."""
        ...
