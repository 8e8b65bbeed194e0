"""`POST /v1/messages/count_tokens`: how long an Anthropic request is."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from chorus.server.dialects.anthropic.messages import AnthropicMessages
from chorus.server.dialects.anthropic.wire import input_tokens
from chorus.server.http.auth import check_model
from chorus.server.http.wire import read_json, send_json
from chorus.service import Chorus


class TokenCount:
    """A handler over one `Chorus`; an ASGI application."""

    def __init__(self, chorus: Chorus, max_body_bytes: int) -> None:
        self._chorus = chorus
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """About how many tokens an Anthropic request has; an estimate, since each model counts in its own way."""
        parsed = AnthropicMessages().parse(await read_json(scope, receive, self._max_body_bytes))
        check_model(scope, parsed.model)
        self._chorus.snapshot.resolve(parsed.model)
        [request] = parsed.requests
        await send_json(send, {"input_tokens": input_tokens(request)})
