"""Ollama's lists of models, and what of its management of model files is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from starlette.types import Receive, Scope, Send

from chorus.errors import InvalidRequest, NotSupported
from chorus.server.api.catalog import plans_for
from chorus.server.dialects.ollama.wire import created_at
from chorus.server.http.auth import check_model
from chorus.server.http.bodies import RequestBody
from chorus.server.http.routes import Route, posted
from chorus.server.http.wire import send_json, send_text
from chorus.service import Chorus
from chorus.snapshot import LATEST
from chorus.wirejson import JSON
from chorus.workflow.engine import Plan
from chorus.workflow.plan import total_calls

OLLAMA_VERSION = "0.13.0"
"""What `/api/version` says: the protocol we speak, above every client's minimum.

Our own version is in `/health`.
"""

_FAMILY = "chorus"


_MANAGEMENT: Final = ("/pull", "/push", "/create", "/copy", "/delete", "/blobs/{digest}")
"""What Ollama does with model files."""


class ShowBody(msgspec.Struct):
    """The body of `/api/show`. `name` is what `model` was called before."""

    model: str | None = None
    name: str | None = None


class OllamaModels:
    """Handlers over one `Chorus`."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    def routes(self) -> Iterator[Route]:
        """Return the routes below `/api`."""
        yield Route("/version", self.version, "Ollama's version", access="open")
        yield Route("/tags", self.tags, "Models and workflows, as Ollama lists them", access="client")
        yield Route("/ps", self.ps, "Loaded models, as Ollama lists them", access="client")
        yield posted("/show", ShowBody, self.show, "One model, as Ollama describes it", access="client")
        for path in _MANAGEMENT:
            summary = "Not supported: Chorus keeps no model files"
            yield Route(path, self.unmanaged, summary, ("POST", "DELETE"), access="client")

    async def root(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what Ollama's clients look for to see whether somebody is there."""
        await send_text(send, b"Ollama is running (Chorus)", "text/plain; charset=utf-8")

    async def version(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send Ollama's version."""
        await send_json(send, {"version": OLLAMA_VERSION})

    async def tags(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send Ollama's list of models."""
        plans = plans_for(self._chorus, scope)
        await self._chorus.descriptions.refresh(plans)
        await send_json(send, {"models": [self._tag(plan) for plan in plans]})

    async def ps(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send Ollama's list of loaded models: all of ours always are."""
        plans = plans_for(self._chorus, scope)
        await self._chorus.descriptions.refresh(plans)
        far = created_at(self._chorus.started_at + 10 * 365 * 86400)
        loaded = [
            {
                **self._tag(plan, modified=False),
                "expires_at": far,
                "size_vram": 0,
                "context_length": self._chorus.descriptions.context_window(plan),
            }
            for plan in plans
        ]
        await send_json(send, {"models": loaded})

    async def show(self, scope: Scope, body: RequestBody[ShowBody], send: Send) -> None:
        """Send one model as Ollama describes it."""
        name = body.fields.model or body.fields.name
        if name is None:
            raise InvalidRequest("Missing required field 'model'.", param="model")
        check_model(scope, name)
        plan = self._chorus.snapshot.resolve(name)
        await self._chorus.descriptions.refresh([plan])
        info: dict[str, JSON] = {"general.architecture": _FAMILY, "general.basename": plan.name}
        if context := self._chorus.descriptions.context_window(plan):
            info[f"{_FAMILY}.context_length"] = context
        await send_json(
            send,
            {
                "modelfile": f"# {plan.description or plan.name}\nFROM {plan.name}\n",
                "parameters": "",
                "template": "{{ .Prompt }}",
                "details": _details(plan),
                "model_info": info,
                "capabilities": self._chorus.descriptions.capabilities(plan),
                "modified_at": created_at(self._chorus.started_at),
            },
        )

    async def unmanaged(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse Ollama's management of model files, of which we have none."""
        raise NotSupported("Chorus keeps no model files; add or remove models in its configuration.")

    def _tag(self, plan: Plan, *, modified: bool = True) -> dict[str, Any]:
        name = plan.name if ":" in plan.name else plan.name + LATEST
        tag: dict[str, Any] = {
            "name": name,
            "model": name,
            "size": 0,
            "digest": hashlib.sha256(plan.name.encode()).hexdigest(),
            "details": _details(plan),
            "capabilities": self._chorus.descriptions.capabilities(plan),
        }
        if modified:
            tag["modified_at"] = created_at(self._chorus.started_at)
        return tag


def _details(plan: Plan) -> dict[str, Any]:
    calls = total_calls(plan.root)
    return {
        "parent_model": "",
        "format": "chorus",
        "family": _FAMILY,
        "families": [_FAMILY],
        "parameter_size": "" if calls == 1 else f"{calls} calls",
        "quantization_level": "",
    }
