"""The ids of tool calls as an API takes them: of its characters, not too long, each once. Pure.

Agents bring ids of other providers (`functions.weather:0`, `call_1|fc_2`), and servers that count
the calls of one turn give the same id again in the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

NO_RESULT: Final = "(no result: the call was not answered)"
"""What stands for the result of a call that has none, where an API refuses such."""
_LENGTH: Final = 64
"""Characters of an id that was made here."""


class CallIds:
    """Gives the ids of one conversation out, in its order.

    `legal` writes one as the API takes it.
    """

    def __init__(self, legal: Callable[[str], str]) -> None:
        self._legal = legal
        self._given: set[str] = set()
        self._waiting: dict[str, list[str]] = {}
        """The ids that were given out to calls without a result, by those of the conversation."""

    def of_call(self, call_id: str) -> str:
        """Return the id for the next call, which the conversation knows as `call_id`."""
        base = self._legal(call_id) or "call"
        given, number = base, 2
        while given in self._given:
            ending = f"_{number}"
            given, number = base[: _LENGTH - len(ending)] + ending, number + 1
        self._given.add(given)
        self._waiting.setdefault(call_id, []).append(given)
        return given

    def keep(self, call_id: str) -> None:
        """Note a call that goes out with the id that it has."""
        self._given.add(call_id)
        self._waiting.setdefault(call_id, []).append(call_id)

    def of_result(self, call_id: str) -> str | None:
        """Return the id for the result of a call; None where no call waits for one."""
        waiting = self._waiting.get(call_id)
        if not waiting:
            return None
        given = waiting.pop(0)
        if not waiting:
            del self._waiting[call_id]
        return given

    def first_waiting(self) -> str | None:
        """Return the conversation's id of the earliest call without a result."""
        return next(iter(self._waiting), None)

    def close(self) -> list[str]:
        """Return the ids of the calls that have no result, and forget them."""
        waiting = [given for ids in self._waiting.values() for given in ids]
        self._waiting.clear()
        return waiting
