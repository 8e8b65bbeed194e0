"""Tools that are left encoded are the same tools, whatever they look like."""

from __future__ import annotations

from typing import Any

import pytest

from chorus import wirejson
from chorus.errors import InvalidRequest
from chorus.server.dialects import DIALECTS
from chorus.types import Tools
from chorus.wirejson import EncodedArray

FUNCTION = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}, "strict": True}}
FLAT = {"type": "function", "name": "look", "parameters": {"type": "object"}}
CUSTOM = {"type": "custom", "custom": {"name": "patch", "description": "Patches."}}
NAMED = {"type": "function", "function": {"name": "look"}}
ALLOWED = {"type": "allowed_tools", "mode": "required", "tools": [NAMED]}
OUT_OF_RANGE = {"a large exponent": "1e999", "below": "-1e400", "many digits": "9" * 6000}
"""JSON numbers that neither a float nor an int of Python's holds."""
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


@pytest.mark.parametrize("number", OUT_OF_RANGE.values(), ids=OUT_OF_RANGE)
@pytest.mark.parametrize("hosted", [[], [{"type": "web_search"}]], ids=["plain", "with a hosted tool"])
def test_a_number_that_nothing_holds_goes_on_as_it_came(number: str, hosted: list[Any]) -> None:
    parameters = f'{{"maximum": {number}, "minimum": 1.5, "default": 7, "enum": [12345678901234567890123]}}'
    function = f'{{"type": "function", "function": {{"name": "f", "parameters": {parameters}}}}}'
    raw = f"[{function}, {wirejson.encode(FUNCTION).decode()}{',' if hosted else ''}{wirejson.encode(hosted).decode()[1:]}"
    body = {"model": "glm", "messages": [USER], "tools": EncodedArray(raw.encode())}
    request = BY_PATH["/v1/chat/completions"].parse(body).requests[0]
    found = Tools(request.tools.definitions)
    assert [tool["function"]["name"] for tool in found] == ["f", "look"]
    for digits in (number, "1.5", "7", "12345678901234567890123"):
        assert digits.encode() in found.encoded
    assert len(request.tools) == len(found)
