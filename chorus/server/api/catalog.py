"""Models and workflows as the lists of every protocol show them: which a key may ask for, and what they can do."""

from __future__ import annotations

from starlette.types import Scope

from chorus.server.http.auth import may_ask
from chorus.service import Chorus
from chorus.workflow.engine import Plan
from chorus.workflow.plan import Flow, refs

_CAPABILITIES = ("tools", "vision", "thinking", "embedding")


def plans_for(chorus: Chorus, scope: Scope) -> list[Plan]:
    """Return what the request's key may ask for."""
    return [plan for plan in chorus.snapshot.plans.values() if may_ask(scope, plan.name)]


def capabilities(chorus: Chorus, plan: Plan, *, assumes: bool = True) -> list[str]:
    """Return what a plan can do, in Ollama's words. A workflow can what all of its workers can."""
    workers = plan.root.workers if isinstance(plan.root, Flow) else (plan.root,)
    infos = [chorus.descriptions.info(ref, assumes=assumes) for worker in workers for ref in refs(worker)]
    shared = frozenset.intersection(*(info.has for info in infos))
    if "embedding" in shared and all("completion" in info.lacks for info in infos):
        return ["embedding"]
    return ["completion", *(name for name in _CAPABILITIES if name in shared)]


def context_window(chorus: Chorus, plan: Plan) -> int:
    """Return the smallest context window of the models involved; 0 where none is known."""
    windows = [chorus.descriptions.info(ref).context_window for ref in refs(plan.root)]
    return min((window for window in windows if window is not None), default=0)
