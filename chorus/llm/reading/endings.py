"""How an answer ended: what a finish reason means, and what is an error (L2, L3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import structlog

from chorus.errors import ContentFiltered, LLMError, UpstreamProtocol, excerpt
from chorus.llm.reading.content_filters import filter_reason
from chorus.llm.reading.error_bodies import error_message
from chorus.types import FinishReason
from chorus.wirejson import JSON

_log = structlog.get_logger("chorus.llm")

_FINISH: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",  # Mistral
    "tool_calls": "tool_calls",
    "tool_call": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "content_filtered": "content_filter",  # Bedrock
    "guardrail_intervened": "content_filter",
    "refusal": "content_filter",  # Anthropic
    "sensitive": "content_filter",  # Zhipu
    "safety": "content_filter",  # Gemini, as the next four
    "recitation": "content_filter",
    "blocklist": "content_filter",
    "prohibited_content": "content_filter",
    "spii": "content_filter",
}
_FAILURES: Final = frozenset(
    {
        "error",  # OpenRouter, SGLang
        "failed",
        "abort",  # vLLM, SGLang
        "aborted",
        "cancelled",
        "network_error",  # Zhipu
        "insufficient_system_resource",  # DeepSeek
        "malformed_function_call",  # Gemini
    }
)


_CODES: Final = frozenset({"code", "status", "statusCode", "status_code", "error_code", "error_type"})


def finish_of(reason: JSON) -> FinishReason | None:
    """Return what a finish reason means.

    None of one that is unknown, which is logged, and where there is none.
    """
    if not isinstance(reason, str) or not reason:
        return None
    known = _FINISH.get(reason) or _FINISH.get(reason.lower())
    if known is None:
        _log.warning("unknown_finish_reason", reason=excerpt(reason, 40))
    return known


def is_failure(reason: JSON) -> bool:
    """Return whether a finish reason says that the answer broke off."""
    return isinstance(reason, str) and reason.lower() in _FAILURES


def failed_choice(name: str, error: JSON, reason: JSON) -> LLMError:
    """Return the typed error for a choice that holds an `error`, or ended with a finish reason that
    says so.
    """
    if error:
        return in_band_error(name, error)
    return LLMError(f"Upstream '{name}' broke off its answer (finish reason '{excerpt(str(reason), 40)}')")


def is_error(error: JSON) -> bool:
    """Return whether an `error` field reports one.

    Some proxies put `{"code": 0, "message": ""}` into every chunk.
    """
    return any(error.values()) if isinstance(error, dict) else bool(error)


def bare_error(event: JSON) -> JSON:
    """Return the error that an event without choices reports without an `error` field.

    None where it reports none.

    vLLM wrote `{"object": "error", "message": ...}` into streams, FastAPI's servers write
    `{"detail": ...}`. A message alone may say something else, such as that the request is being
    processed.
    """
    if not isinstance(event, dict) or "choices" in event:
        return None
    is_named = event.get("object") == "error" or event.get("type") == "error"
    is_told = bool(event.get("detail") or event.get("errors"))
    is_coded = bool(event.get("message")) and not event.keys().isdisjoint(_CODES)
    return event if is_named or is_told or is_coded else None


def in_band_error(name: str, error: JSON) -> LLMError:
    """Return the typed error for an `error` object inside a 200."""
    if (reason := filter_reason(error)) is not None:
        return ContentFiltered(f"Upstream '{name}' stopped the answer by its content filter", detail=reason)
    return LLMError(f"Upstream '{name}' reported an error in its answer", detail=error_message(error))


def final_finish(finish: FinishReason | None, *, has_calls: bool) -> FinishReason:
    """Return the finish reason that goes out: an answer with tool calls that says "stop", or
    nothing, ended for them.
    """
    if has_calls and finish in (None, "stop"):
        return "tool_calls"
    return finish or "stop"


def page_or(raw: bytes, otherwise: str) -> str:
    """Words for an answer that cannot be read: that it is an HTML page, or else `otherwise`."""
    return "an HTML page" if raw.lstrip()[:1] == b"<" else otherwise


def check_empty(name: str, finish: FinishReason | None) -> None:
    """Check an answer without text, reasoning and tool calls.

    With a finish reason it is what the model said: after the result of a tool there may be nothing
    to add, and clients of OpenAI's take it so. Workflows pass over it (`workflow/nodes/worker.py`).

    Raises:
        ContentFiltered: a filter took all of it.
        UpstreamProtocol: it has no finish reason, or one that is unknown: nobody says that it is
            whole.
    """
    if finish == "content_filter":
        raise ContentFiltered(f"Upstream '{name}' stopped the answer by its content filter")
    if finish is None:
        raise UpstreamProtocol(f"Upstream '{name}' ended without an answer")
