"""`GET /v1/models`: models and workflows, as OpenAI lists them."""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Scope, Send

from chorus.server.api.catalog import plans_for
from chorus.server.http.auth import check_model
from chorus.server.http.wire import send_json
from chorus.service import Chorus
from chorus.workflow.engine import Plan
from chorus.workflow.plan import Leaf


class Models:
    """Handlers over one `Chorus`; each is an ASGI application."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    async def models(self, scope: Scope, receive: Receive, send: Send) -> None:
        """OpenAI's list of the models that the key may ask for; workflows are models too."""
        plans = plans_for(self._chorus, scope)
        await self._chorus.descriptions.refresh(plans)
        data = [self._model(plan, plan.name) for plan in plans]
        await send_json(send, {"object": "list", "data": data})

    async def model(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one model. Its id may hold a slash, raw or as %2F."""
        name = scope["path_params"]["name"]
        check_model(scope, name)
        plan = self._chorus.snapshot.resolve(name)
        await self._chorus.descriptions.refresh([plan])
        await send_json(send, self._model(plan, name))

    def _model(self, plan: Plan, name: str) -> dict[str, Any]:
        created = int(self._chorus.started_at)
        model: dict[str, Any] = {"id": name, "object": "model", "created": created, "owned_by": "chorus"}
        model["kind"] = "model" if isinstance(plan.root, Leaf) else "workflow"
        if plan.description:
            model["description"] = plan.description
        if window := self._chorus.descriptions.context_window(plan):
            # as OpenRouter and vLLM call it
            model |= {"context_length": window, "max_model_len": window}
        if known := self._chorus.descriptions.capabilities(plan, assumes=False)[1:]:
            model["capabilities"] = ["completion", *known]
        return model
