"""Fields of a request's body: which of them a model gets, and what the configuration adds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, Final

import msgspec

from chorus.llm.providers.traits import Traits
from chorus.types import Extra, Tools
from chorus.wirejson import JSON

OF_TOOLS: Final = frozenset({"cache_control", "strict"})
"""Fields of tool definitions that some providers refuse."""
_LIMITS: Final = frozenset({"max_tokens", "max_completion_tokens"})


class Fields:
    """Which fields one request sends.

    `left_out` collects the names of those that it had and does not send.
    """

    def __init__(self, traits: Traits) -> None:
        self._traits = traits
        self.left_out: set[str] = set()

    def takes(self, name: str) -> bool:
        """Return whether the field `name`, which the request has, is sent."""
        if name in self._traits.omit:
            self.left_out.add(name)
            return False
        return True

    def omitted(self, names: Set[str]) -> Set[str]:
        """Return those of `names` that are not sent."""
        return names & self._traits.omit

    def of(self, extra: Extra) -> dict[str, JSON]:
        """Return those of the extra fields of a message, a part or a tool call that are sent."""
        return {name: value for name, value in extra.items() if self.takes(name)}

    def leave_out(self, body: dict[str, Any]) -> None:
        """Take the fields out of `body` that are not sent."""
        for name in self._traits.omit & body.keys():
            del body[name]
            self.left_out.add(name)


def without_tool_fields(tools: Tools, fields: Fields) -> msgspec.Raw | list[JSON]:
    """Return the tool definitions, encoded once, without fields that are not sent."""
    encoded = tools.encoded
    names = {name for name in fields.omitted(OF_TOOLS) if f'"{name}"'.encode() in encoded}
    fields.left_out |= names
    return msgspec.Raw(encoded) if not names else [_without(tool, names) for tool in tools]


def _without(tool: JSON, names: set[str]) -> JSON:
    if not isinstance(tool, dict):
        return tool
    kept = {key: value for key, value in tool.items() if key not in names}
    if isinstance(function := kept.get("function"), dict):
        kept["function"] = {key: value for key, value in function.items() if key not in names}
    return kept


def overlaid(body: Mapping[str, Any], extra_body: Mapping[str, JSON]) -> dict[str, Any]:
    """`body` with the configured `extra_body` over it: objects merge, any other configured value
    wins. A configured limit takes the place of the request's, whichever of the two names it has.
    """
    merged = dict(body)
    if limits := _LIMITS & extra_body.keys():
        for name in _LIMITS - limits:
            merged.pop(name, None)
    for key, value in extra_body.items():
        before = merged.get(key)
        merged[key] = overlaid(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return merged
