"""`POST /v1/messages/count_tokens`: how long an Anthropic request is."""

from __future__ import annotations

from typing import Final

import anyio
import structlog
from starlette.types import Receive, Scope, Send

from chorus.errors import ChorusError
from chorus.server.dialects.anthropic.messages import AnthropicMessages
from chorus.server.dialects.anthropic.wire import input_tokens
from chorus.server.dialects.for_model import for_model
from chorus.server.http.auth import check_model
from chorus.server.http.context import header
from chorus.server.http.wire import read_body, send_json
from chorus.service import Chorus
from chorus.types import ChatRequest
from chorus.workflow.plan import Leaf

COUNT_PATH: Final = "/v1/messages/count_tokens"
COUNT_SECS: Final = 3.0
"""How long a model may take to count; an estimate comes at once."""
_log = structlog.get_logger("chorus.server")


class TokenCount:
    """A handler over one `Chorus`; an ASGI application."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send how many tokens an Anthropic request has: counted by its model, else estimated."""
        body, _ = await read_body(scope, receive)
        parsed = AnthropicMessages().parse(body)
        check_model(scope, parsed.model)
        betas = header(scope, b"anthropic-beta") or ""
        parsed = for_model(parsed, self._chorus.snapshot.provider_of, betas)
        [request] = parsed.requests
        counted = await self._counted(request)
        await send_json(send, {"input_tokens": counted if counted is not None else input_tokens(request)})

    async def _counted(self, request: ChatRequest) -> int | None:
        """Return what the model itself says; None where it does not, or not soon."""
        snapshot = self._chorus.snapshot
        root = snapshot.resolve(request.model).root
        if not isinstance(root, Leaf):
            return None
        with anyio.move_on_after(COUNT_SECS):
            try:
                return await snapshot.models[root.ref].pool.count_tokens(request, connect_timeout=COUNT_SECS)
            except ChorusError as error:
                _log.debug("a model does not count tokens", model=root.ref, reason=error.log_message)
        return None
