"""A history without the exchanges that failed and were asked again (M3). Pure.

The conversation keeps every exchange, those that were cut or failed included. A model that read
such a question twice would answer it twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chorus.sessions.history import SYSTEM_ROLES
from chorus.wirejson import JSON

Item = Mapping[str, Any]


@dataclass(slots=True)
class _Exchange:
    """Items of a request, and those of its answer."""

    asked: list[Item] = field(default_factory=list)
    answered: list[Item] = field(default_factory=list)

    @property
    def has_failed(self) -> bool:
        """Whether the answer was cut, or never came."""
        return any(item.get("status") == "incomplete" for item in self.answered)

    @property
    def question(self) -> list[JSON]:
        """What the request asked, without ids: equal questions are equal here."""
        return [_content(item) for item in self.asked if item.get("role") not in SYSTEM_ROLES]


def without_retries(items: Sequence[Item], asked: Sequence[Item]) -> list[Item]:
    """Return `items` of a conversation, oldest first, without each exchange that failed and whose
    question the next one repeats. `asked` are the items of the request that follows. System
    messages stay."""
    if not any(item.get("status") == "incomplete" for item in items):
        return [*items]
    exchanges = _exchanges(items)
    following = [*exchanges[1:], _Exchange([*asked])]
    kept: list[Item] = []
    for exchange, after in zip(exchanges, following, strict=True):
        if exchange.has_failed and exchange.question == after.question:
            kept += [item for item in exchange.asked if item.get("role") in SYSTEM_ROLES]
        else:
            kept += [*exchange.asked, *exchange.answered]
    return kept


def _exchanges(items: Sequence[Item]) -> list[_Exchange]:
    exchanges = [_Exchange()]
    for item in items:
        if _is_asked(item):
            if exchanges[-1].answered:
                exchanges.append(_Exchange())
            exchanges[-1].asked.append(item)
        else:
            exchanges[-1].answered.append(item)
    return exchanges


def _is_asked(item: Item) -> bool:
    """Return whether a client sends such an item, and no model."""
    return item.get("role", "assistant") != "assistant" or str(item.get("type")).endswith("_output")


def _content(item: Item) -> JSON:
    content = item.get("content")
    if isinstance(content, str):
        content = [{"type": "input_text", "text": content}]
    return [item.get("role"), content, item.get("call_id"), item.get("output")]
