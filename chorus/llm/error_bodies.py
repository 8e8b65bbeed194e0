"""What an upstream says went wrong, whatever the shape in which it says so (L3)."""

from __future__ import annotations

from typing import Final

from chorus.llm.lenient import value_of
from chorus.llm.surrogates import mend
from chorus.wirejson import JSON

MAX_ERROR_BODY: Final = 64 * 1024
"""Bytes of an error body that are read. A caller is shown a few words of it."""


def error_text(body: bytes) -> str:
    """What an error body says: OpenAI's, Ollama's, FastAPI's, HTML or plain text."""
    try:
        value = value_of(body)
    except ValueError:
        text = body[:MAX_ERROR_BODY].decode("utf-8", "replace").strip()
        return "(an HTML page)" if text[:1] == "<" else text
    return error_message(value.get("error", value) if isinstance(value, dict) else value)


def error_message(error: JSON) -> str:
    """What an `error` field says: its text, or the `message` or `detail` of an object."""
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail")
    return mend(error)[0] if isinstance(error, str) else ""
