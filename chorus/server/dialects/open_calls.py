"""Results of tools that came without the id of their call: which call they belong to."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Final

from chorus.types import ToolCall

_LOOKED_AT: Final = 64
"""Open calls among which the one of a result is looked for: a turn has fewer, and a history of
nothing but calls would take quadratic time."""


class OpenCalls:
    """The calls of a conversation that have no result yet, in their order."""

    def __init__(self) -> None:
        self._calls: dict[str, ToolCall] = {}

    def add(self, calls: Iterable[ToolCall]) -> None:
        """Take the calls of a turn."""
        for call in calls:
            self._calls[call.id] = call

    def close(self, call_id: str | None, name: str | None) -> str | None:
        """Return the id of the call to which a result belongs: the one that it names, else the
        first open one of its `name`, else the first open one; None where none is open. The call is
        open no longer.
        """
        if not call_id:
            oldest = list(islice(self._calls.values(), _LOOKED_AT))
            fitting = [call for call in oldest if call.name == name] or oldest
            if not fitting:
                return None
            call_id = fitting[0].id
        self._calls.pop(call_id, None)
        return call_id
