"""The tool `list_models`: what `ask` can ask."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from chorus.auth.access import may_ask
from chorus.mcp.tool import Call, Result, Tool
from chorus.service import Chorus
from chorus.workflow.engine import Plan
from chorus.workflow.plan import Flow


class NoArguments(Struct, forbid_unknown_fields=True):
    """The tool takes none."""


class ListedModel(Struct, frozen=True):
    """One model or workflow. `context_length` is in tokens, null where it is not known."""

    id: str
    kind: Literal["model", "workflow"]
    capabilities: list[str]
    context_length: int | None


class ModelsResult(Result, frozen=True):
    """What the caller may ask."""

    models: list[ListedModel]


def list_models_tool(chorus: Chorus) -> Tool[Any]:
    """Return the tool."""

    async def work(call: Call, given: NoArguments) -> Result:
        plans = [plan for plan in chorus.snapshot.plans.values() if may_ask(call.principal, plan.name)]
        await chorus.descriptions.refresh(plans)
        return ModelsResult([_listed(chorus, plan) for plan in plans])

    description = "List the models and workflows that `ask` can ask. A workflow asks several models and chooses."
    return Tool("list_models", "List models", description, NoArguments, ModelsResult, work, is_read_only=True)


def _listed(chorus: Chorus, plan: Plan) -> ListedModel:
    known = chorus.descriptions.capabilities(plan, assumes=False)
    window = chorus.descriptions.context_window(plan) or None
    return ListedModel(plan.name, "workflow" if isinstance(plan.root, Flow) else "model", known, window)
