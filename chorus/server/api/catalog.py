"""Models and workflows as the lists of every protocol show them: which a key may ask for."""

from __future__ import annotations

from starlette.types import Scope

from chorus.server.http.auth import may_ask
from chorus.service import Chorus
from chorus.workflow.engine import Plan


def plans_for(chorus: Chorus, scope: Scope) -> list[Plan]:
    """Return what the request's key may ask for."""
    return [plan for plan in chorus.snapshot.plans.values() if may_ask(scope, plan.name)]
