"""The node kind `majority`: a selector that asks nobody and takes the most frequent answer.

`{"kind": "majority", "compare"?: "normalised" | "exact" | "json"}`; of answers that are as
frequent, the one whose worker stands first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import get_args

from chorus.types import Answer
from chorus.wirejson import JSON
from chorus.workflow.judging.agreement import key
from chorus.workflow.nodes.context import NodeContext
from chorus.workflow.nodes.reranker import Scored
from chorus.workflow.plan import Compare


class MajorityKind:
    """See `custom.SelectorKind`."""

    name = "majority"
    asks_nobody = True

    def problems(self, spec: Mapping[str, JSON]) -> Sequence[str]:
        """See `NodeKind.problems`."""
        problems = [f"unknown key `{key}` of a majority" for key in spec if key not in ("kind", "name", "compare")]
        if spec.get("compare", "normalised") not in get_args(Compare):
            problems.append(f"`compare` of a majority: expected one of {', '.join(get_args(Compare))}")
        return problems

    def refs(self, spec: Mapping[str, JSON]) -> Sequence[str]:
        """See `NodeKind.refs`."""
        return ()

    async def rank(self, context: NodeContext, spec: Mapping[str, JSON], candidates: Sequence[Answer]) -> Scored:
        """See `SelectorKind.rank`: the score is how many candidates give the same answer."""
        keys = [key(candidate, spec.get("compare", "normalised")) for candidate in candidates]
        times = Counter(keys)
        return Scored([float(times[one]) for one in keys], f"{max(times.values())} of {len(keys)} answers agree.")


MAJORITY = MajorityKind()
