"""Tools that are left encoded are the same tools, whatever they look like."""

from __future__ import annotations

from typing import Any

import pytest

from chorus import wirejson
from chorus.errors import InvalidRequest
from chorus.server.dialects import DIALECTS
from chorus.wirejson import EncodedArray

FUNCTION = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}, "strict": True}}
FLAT = {"type": "function", "name": "look", "parameters": {"type": "object"}}
CUSTOM = {"type": "custom", "custom": {"name": "patch", "description": "Patches."}}
NAMED = {"type": "function", "function": {"name": "look"}}
ALLOWED = {"type": "allowed_tools", "mode": "required", "tools": [NAMED]}
BY_PATH = {dialect.path: dialect for dialect in DIALECTS}
USER = {"role": "user", "content": "hi"}

TOOLS: dict[str, list[Any]] = {
    "functions": [FUNCTION, {"function": {"name": "hear"}}],
    "none": [],
    "flat": [FLAT, FUNCTION],
    "custom": [FUNCTION, CUSTOM],
    "hosted": [{"type": "web_search"}, FUNCTION],
    "no name": [{"type": "function", "function": {}}],
    "no object": ["look"],
}
MORE: dict[str, dict[str, Any]] = {
    "no choice": {},
    "word": {"tool_choice": "any"},
    "named": {"tool_choice": NAMED},
    "allowed": {"tool_choice": ALLOWED},
    "old": {"functions": [{"name": "old"}], "function_call": "auto"},
    "old choice": {"function_call": "none"},
}


@pytest.mark.parametrize("more", MORE.values(), ids=MORE)
@pytest.mark.parametrize("tools", TOOLS.values(), ids=TOOLS)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat"])
def test_encoded_tools_are_read_as_decoded_ones(path: str, tools: list[Any], more: dict[str, Any]) -> None:
    body = {"model": "glm", "messages": [USER], "tools": tools, **more}
    encoded = {**body, "tools": EncodedArray(wirejson.encode(tools))}

    def outcome(sent: dict[str, Any]) -> object:
        try:
            asked = BY_PATH[path].parse(sent)
        except InvalidRequest as error:
            return error.param
        request = asked.requests[0]
        return list(request.tools), request.tool_choice, request.extra, asked.warnings

    assert outcome(encoded) == outcome(body)
