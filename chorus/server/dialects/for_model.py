"""A request as the model takes that answers it, and where its calls go: what only one provider's
own API knows goes to that provider, and stays out of requests to others. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from chorus.server.dialects.anthropic.own_blocks import for_provider
from chorus.server.dialects.base import Options, ParsedRequest
from chorus.server.dialects.responses.upstream_items import for_chat
from chorus.types import Priority

_MAX_SESSION: Final = 200
"""Characters of a session's id that tell it from others."""
_RESPONSES: Final = "responses"
"""The provider whose upstreams get all of a request in the dialect of Responses."""


def for_model(
    parsed: ParsedRequest[Options], provider_of: Callable[[str], str | None], betas: str | None
) -> ParsedRequest[Options]:
    """Return `parsed` as its model takes it.

    `provider_of` returns the provider of a model, None of a workflow. `betas` is the
    `anthropic-beta` header of a client that speaks Anthropic's dialect, None of others.

    Raises:
        MissingInput: nothing is left of a request that came in the dialect of Responses.
    """
    if not parsed.requests:
        return parsed
    request = parsed.requests[0]
    if request.responses_options:
        parsed = _for_responses_or_chat(parsed, provider_of(request.model))
    if betas is not None:
        parsed = for_provider(parsed, provider_of(request.model), betas)
    return parsed


def _for_responses_or_chat(parsed: ParsedRequest[Options], provider: str | None) -> ParsedRequest[Options]:
    """Return `parsed`, of a client that speaks Responses: a model behind the Responses API gets all
    of it, others what chat has a place for.
    """
    if provider == _RESPONSES:
        kept = tuple(warning for warning in parsed.warnings if warning not in parsed.warnings_of_chat)
        return msgspec.structs.replace(parsed, warnings=kept)
    return msgspec.structs.replace(parsed, requests=tuple(map(for_chat, parsed.requests)))


def addressed(
    parsed: ParsedRequest[Options], session: str | None, owner: str, priority: Priority
) -> ParsedRequest[Options]:
    """Return `parsed` with this priority (K2) and the address of its session.

    Its calls go where earlier ones of this session of `owner` went (D3).
    """
    whose = f"{owner}:{session[:_MAX_SESSION]}" if session is not None else None
    requests = tuple(msgspec.structs.replace(request, session=whose, priority=priority) for request in parsed.requests)
    return msgspec.structs.replace(parsed, requests=requests)
