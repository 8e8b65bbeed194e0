"""The one boundary from exceptions to the wire (A5). `ChorusError` carries status and code;
anything else is a 500 whose details stay in the log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import structlog

from chorus.errors import AllWorkersFailed, ChorusError, Internal, MethodNotAllowed, UnknownModel
from chorus.wirejson import JSON

ErrorStyle = Literal["openai", "ollama", "anthropic"]

_log = structlog.get_logger("chorus.server")

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


_ANTHROPIC_TYPES = {**_TYPES, 413: "request_too_large", 503: "overloaded_error", 504: "timeout_error"}


def style_of(path: str) -> ErrorStyle:
    """Return how the clients of `path` read errors."""
    if path.startswith("/v1/messages"):
        return "anthropic"
    return "ollama" if path.startswith("/api/") and not path.startswith("/api/v1/") else "openai"


def _type(status: int, types: Mapping[int, str], otherwise: str) -> str:
    return types.get(status) or ("invalid_request_error" if status < 500 else otherwise)


def as_chorus_error(error: Exception) -> ChorusError:
    """Return `error` as one that a client may read.

    An unforeseen one is logged here and becomes `Internal`.
    """
    if isinstance(error, ChorusError):
        return error
    _log.error("unexpected error", exc_info=error)
    return Internal()


def error_object(error: ChorusError, request_id: str) -> dict[str, Any]:
    """Return the `error` object of OpenAI's dialects (`AppError`)."""
    shown: dict[str, Any] = {
        "message": error.message,
        "type": _type(error.status, _TYPES, "server_error"),
        "param": error.param,
        "code": error.code,
        "request_id": request_id,
    }
    if isinstance(error, AllWorkersFailed):
        shown["workers"] = [{"name": name, "code": code, "message": message} for name, code, message in error.reasons]
    if isinstance(error, UnknownModel):
        shown["nearest"] = list(error.nearest)
    return shown


def error_body(error: ChorusError, style: ErrorStyle, request_id: str) -> dict[str, JSON]:
    """Return a whole error body.

    Ollama's clients read a string where OpenAI's and Anthropic's read an object.
    """
    if style == "ollama":
        return {"error": error.message, "code": error.code, "request_id": request_id}
    if style == "anthropic":
        shown = {**error_object(error, request_id), "type": _type(error.status, _ANTHROPIC_TYPES, "api_error")}
        return {"type": "error", "error": shown, "request_id": request_id}
    return {"error": error_object(error, request_id)}


def error_headers(error: ChorusError) -> list[tuple[bytes, bytes]]:
    """Return headers that tell a client's own retry logic what to do."""
    headers: list[tuple[bytes, bytes]] = []
    if not error.retryable_by_client:
        headers.append((b"x-should-retry", b"false"))
    if isinstance(error, MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allow).encode()))
    if error.retry_after is not None:
        headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after))).encode()))
    return headers
