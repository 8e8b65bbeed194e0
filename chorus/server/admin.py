"""Everything that is not an answer: health, the lists of models, traces, and what of Ollama's management we refuse."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from chorus import __version__
from chorus.errors import InvalidRequest, NotSupported
from chorus.server.dialects.anthropic.messages import AnthropicMessages
from chorus.server.dialects.anthropic.wire import input_tokens
from chorus.server.dialects.ollama.wire import created_at
from chorus.server.http.auth import check_model, may_ask
from chorus.server.http.wire import read_json, send_json
from chorus.service import Chorus
from chorus.snapshot import LATEST
from chorus.telemetry.metrics import CONTENT_TYPE
from chorus.wirejson import JSON
from chorus.workflow.engine import Plan
from chorus.workflow.plan import Flow, refs, total_calls

OLLAMA_VERSION = "0.13.0"
"""What `/api/version` says: the protocol we speak, above every client's minimum. Our own version is in `/health`."""

_FAMILY = "chorus"
_CAPABILITIES = ("tools", "vision", "thinking", "embedding")


class Admin:
    """Handlers over one `Chorus`; each is an ASGI application."""

    def __init__(self, chorus: Chorus, max_body_bytes: int) -> None:
        self._chorus = chorus
        self._max_body_bytes = max_body_bytes

    async def health(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The process lives."""
        await send_json(send, {"status": "ok", "version": __version__})

    async def ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whether to send requests here: something can be asked, and the server does not stop (A8)."""
        now, models = anyio.current_time(), self._chorus.snapshot.models
        pools = [model.pool for model in models.values() if model.pool is not None]
        status = "every upstream is quarantined"
        if self._chorus.is_stopping:
            status = "stopping"
        elif any(each.breaker.state(now) != "open" for pool in pools for each in pool.replicas):
            status = "ready"
        await send_json(send, {"status": status, "models": len(models)}, 200 if status == "ready" else 503)

    async def root(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What Ollama's clients look for to see whether somebody is there."""
        await _send_text(send, b"Ollama is running (Chorus)", "text/plain; charset=utf-8")

    async def metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Metrics for Prometheus (O2)."""
        await _send_text(send, self._chorus.metrics.page(), CONTENT_TYPE)

    async def models(self, scope: Scope, receive: Receive, send: Send) -> None:
        """OpenAI's list of the models that the key may ask for; workflows are models too."""
        plans = self._plans(scope)
        await self._chorus.discover(plans)
        data = [self._model(plan, plan.name) for plan in plans]
        await send_json(send, {"object": "list", "data": data})

    async def model(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One model. Its id may hold a slash, raw or as %2F."""
        name = scope["path_params"]["name"]
        check_model(scope, name)
        plan = self._chorus.snapshot.resolve(name)
        await self._chorus.discover([plan])
        await send_json(send, self._model(plan, name))

    def _plans(self, scope: Scope) -> list[Plan]:
        """What the request's key may ask for."""
        return [plan for plan in self._chorus.snapshot.plans.values() if may_ask(scope, plan.name)]

    def _model(self, plan: Plan, name: str) -> dict[str, Any]:
        created = int(self._chorus.started_at)
        model: dict[str, Any] = {"id": name, "object": "model", "created": created, "owned_by": "chorus"}
        if window := self._context(plan):
            model |= {"context_length": window, "max_model_len": window}  # as OpenRouter and vLLM call it
        if known := self._capabilities(plan, assumes=False)[1:]:
            model["capabilities"] = ["completion", *known]
        return model

    async def upstreams(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Every replica of every model, and how it does (D4)."""
        now = anyio.current_time()
        models = self._chorus.snapshot.models.values()
        told = [
            {"model": model.name, "replicas": [replica.told(now) for replica in model.pool.replicas]}
            for model in models
            if model.pool is not None
        ]
        await send_json(send, {"upstreams": told})

    async def trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The trace of an earlier run (W9)."""
        await send_json(send, self._chorus.trace(scope["path_params"]["id"]))

    async def traces(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The newest traces, newest first."""
        await send_json(send, {"workflows": self._chorus.traces.recent()})

    async def version(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ollama's version."""
        await send_json(send, {"version": OLLAMA_VERSION})

    async def tags(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ollama's list of models."""
        plans = self._plans(scope)
        await self._chorus.discover(plans)
        await send_json(send, {"models": [self._tag(plan) for plan in plans]})

    async def ps(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ollama's list of loaded models: all of ours always are."""
        plans = self._plans(scope)
        await self._chorus.discover(plans)
        far = created_at(self._chorus.started_at + 10 * 365 * 86400)
        loaded = [
            {
                **self._tag(plan, modified=False),
                "expires_at": far,
                "size_vram": 0,
                "context_length": self._context(plan),
            }
            for plan in plans
        ]
        await send_json(send, {"models": loaded})

    async def show(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One model as Ollama describes it. The old field `name` is understood."""
        body = await read_json(scope, receive, self._max_body_bytes)
        name = body.get("model") or body.get("name") if isinstance(body, Mapping) else None
        if not isinstance(name, str):
            raise InvalidRequest("Missing required field 'model'.", param="model")
        check_model(scope, name)
        plan = self._chorus.snapshot.resolve(name)
        await self._chorus.discover([plan])
        info: dict[str, JSON] = {"general.architecture": _FAMILY, "general.basename": plan.name}
        if context := self._context(plan):
            info[f"{_FAMILY}.context_length"] = context
        await send_json(
            send,
            {
                "modelfile": f"# {plan.description or plan.name}\nFROM {plan.name}\n",
                "parameters": "",
                "template": "{{ .Prompt }}",
                "details": _details(plan),
                "model_info": info,
                "capabilities": self._capabilities(plan),
                "modified_at": created_at(self._chorus.started_at),
            },
        )

    async def count_tokens(self, scope: Scope, receive: Receive, send: Send) -> None:
        """About how many tokens an Anthropic request has; an estimate, since each model counts in its own way."""
        asked = AnthropicMessages().parse(await read_json(scope, receive, self._max_body_bytes))
        check_model(scope, asked.model)
        self._chorus.snapshot.resolve(asked.model)
        [request] = asked.requests
        await send_json(send, {"input_tokens": input_tokens(request)})

    async def unmanaged(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ollama's management of model files, of which we have none."""
        raise NotSupported("Chorus keeps no model files; add or remove models in its configuration.")

    def _tag(self, plan: Plan, *, modified: bool = True) -> dict[str, Any]:
        name = plan.name if ":" in plan.name else plan.name + LATEST
        tag: dict[str, Any] = {
            "name": name,
            "model": name,
            "size": 0,
            "digest": hashlib.sha256(plan.name.encode()).hexdigest(),
            "details": _details(plan),
            "capabilities": self._capabilities(plan),
        }
        if modified:
            tag["modified_at"] = created_at(self._chorus.started_at)
        return tag

    def _capabilities(self, plan: Plan, *, assumes: bool = True) -> list[str]:
        """In Ollama's words. A workflow can what all of its workers can."""
        workers = plan.root.workers if isinstance(plan.root, Flow) else (plan.root,)
        infos = [self._chorus.model_info(ref, assumes=assumes) for worker in workers for ref in refs(worker)]
        shared = frozenset.intersection(*(info.has for info in infos))
        if "embedding" in shared and all("completion" in info.lacks for info in infos):
            return ["embedding"]
        return ["completion", *(name for name in _CAPABILITIES if name in shared)]

    def _context(self, plan: Plan) -> int:
        """The smallest context window of the models involved; 0 where none is known."""
        windows = [self._chorus.model_info(ref).context_window for ref in refs(plan.root)]
        return min((window for window in windows if window is not None), default=0)


async def _send_text(send: Send, body: bytes, content_type: str) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


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
