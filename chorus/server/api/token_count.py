"""`POST /v1/messages/count_tokens`: how long an Anthropic request is."""

from __future__ import annotations

from typing import Final

from starlette.types import Receive, Scope, Send

from chorus.server.dialects.anthropic.messages import AnthropicMessages
from chorus.server.dialects.anthropic.wire import input_tokens
from chorus.server.http.auth import check_model
from chorus.server.http.wire import read_body, send_json
from chorus.service import Chorus

COUNT_PATH: Final = "/v1/messages/count_tokens"


class TokenCount:
    """A handler over one `Chorus`; an ASGI application."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send about how many tokens an Anthropic request has; an estimate, since each model counts
        in its own way."""
        body, _ = await read_body(scope, receive)
        parsed = AnthropicMessages().parse(body)
        check_model(scope, parsed.model)
        self._chorus.snapshot.resolve(parsed.model)
        [request] = parsed.requests
        await send_json(send, {"input_tokens": input_tokens(request)})
