"""Schemas of earlier drafts and of other languages: refused once, then written as the API reads
them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.llm.providers.anthropic.schema_draft import in_draft_2020
from tests.kit.providers import ModelAnswer
from tests.kit.providers.anthropic import AnthropicProvider
from tests.server.running import running

OLD = {
    "type": "object",
    "$schema": "http://json-schema.org/draft-04/schema#",
    "id": "#query",
    "properties": {
        "page": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
        "place": {"type": "array", "items": [{"type": "number"}, {"type": "number"}], "additionalItems": False},
        "name": {"type": "str", "required": True, "description": None},
        "any": {"type": "any"},
        "maybe": {"type": ["string", "None"], "enum": None},
        "nothing": None,
    },
    "required": ["page"],
    "additionalProperties": None,
}
NEW = {
    "type": "object",
    "properties": {
        "page": {"type": "integer", "exclusiveMinimum": 0},
        "place": {"type": "array", "items": False, "prefixItems": [{"type": "number"}, {"type": "number"}]},
        "name": {"type": "string"},
        "any": {},
        "maybe": {"type": ["string"]},
        "nothing": {},
    },
    "required": ["page"],
}

KEYWORDS = st.sampled_from(
    [
        "type",
        "items",
        "properties",
        "required",
        "minimum",
        "exclusiveMinimum",
        "enum",
        "anyOf",
        "not",
        "minLength",
        "$ref",
    ]
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from(["object", "int", "any", "#", "x"])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(KEYWORDS, inner, max_size=3)),
    max_leaves=8,
)


def test_a_schema_is_written_in_the_draft_that_is_read() -> None:
    assert in_draft_2020(OLD) == NEW


def test_a_schema_of_the_draft_stays_as_it_is() -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"], "minLength": 1, "default": None}}}
    assert in_draft_2020(schema) == schema


@given(st.dictionaries(KEYWORDS, VALUES, max_size=4))
def test_whatever_comes_is_a_schema_then(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(in_draft_2020(schema))


@pytest.fixture(scope="module")
def provider() -> Iterator[AnthropicProvider]:
    with AnthropicProvider.serving() as serving:
        yield serving


@pytest.mark.requirement("L2")
def test_the_api_teaches_its_draft_once(provider: AnthropicProvider) -> None:
    provider.script(ModelAnswer("Good."))
    tools = [{"type": "function", "function": {"name": "find", "parameters": OLD}}]
    asked = {"model": "claude", "messages": [{"role": "user", "content": "How?"}], "tools": tools}
    config = f'[[model]]\nname = "claude"\nretries = 0\n{provider.settings()}'
    with running(config) as server, httpx.Client(base_url=server.base, timeout=20, trust_env=False) as client:
        for _ in range(2):
            assert client.post("/v1/chat/completions", json=asked).status_code == 200
    assert len(provider.refusals) == 1
    assert [body["tools"][0]["input_schema"] for body in provider.bodies] == [NEW, NEW]
