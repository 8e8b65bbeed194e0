"""Whether a request's headers refuse memory (M4)."""

from __future__ import annotations

from typing import Final

from starlette.types import Scope

from chorus.server.http.context import header

_FALSE: Final = frozenset({"0", "false", "no", "off"})


def refuses_memory(scope: Scope) -> bool:
    """Return whether `X-Chorus-Memory` says that no notes on the user may go with the request."""
    return (header(scope, b"x-chorus-memory") or "").strip().lower() in _FALSE
