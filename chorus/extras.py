"""Provider fields that arrive in pieces (`types.Extra`), put together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chorus.types import Extra
from chorus.wirejson import JSON


class Extras:
    """Collects the extra fields of a streamed message.

    Lists grow, objects merge, texts inside of objects are joined, and other values are replaced.
    `{"audio": {"data": "AA"}}` and `{"audio": {"data": "BB"}}` are `{"audio": {"data": "AABB"}}`.
    """

    def __init__(self) -> None:
        self._fields: dict[str, JSON] = {}

    def add(self, extra: Extra) -> None:
        """Take the fields of one piece."""
        _merge(self._fields, extra, is_outermost=True)

    def whole(self) -> dict[str, Any]:
        """Return all fields so far."""
        return self._fields


def _merge(into: dict[str, JSON], piece: Mapping[str, JSON], *, is_outermost: bool = False) -> None:
    for key, value in piece.items():
        before = into.get(key)
        if isinstance(value, list):
            if isinstance(before, list):
                before.extend(value)
            else:
                into[key] = [*value]  # the piece itself is read by others
        elif isinstance(value, dict):
            if not isinstance(before, dict):
                before = into[key] = {}
            _merge(before, value)
        elif isinstance(value, str) and isinstance(before, str) and not is_outermost and key != "id":
            into[key] = before + value
        elif value is not None or key not in into:
            into[key] = value
