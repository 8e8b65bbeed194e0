"""JSON Schema: the same verdict as the reference implementation, and a bound on the work whatever
schema and value (W10)."""

from __future__ import annotations

import json
import time
from typing import Any, Final

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chorus.workflow.judging.schema import NotASchema, Schema, TooMuchWork

pytestmark = pytest.mark.requirement("W10")

NAMES: Final = ("a", "b", "c")
scalars = st.sampled_from([None, True, False, 0, 1, 1.0, -2, 2.5, 0.3, 10**20, "", "a", "ab", "好🙂"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
counts = st.sampled_from([0, 1, 2, 2.0, 5])
numbers = st.sampled_from([0, 1, -1, 2.5, 10**19])
types = st.sampled_from(["object", "array", "string", "null", "boolean", "number", "integer"])


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas with parts from `inner`."""
    some = st.lists(inner, min_size=1, max_size=3)
    named = st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    names = st.lists(st.sampled_from(NAMES), max_size=2, unique=True)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "maximum": numbers,
            "exclusiveMaximum": numbers,
            "minimum": numbers,
            "exclusiveMinimum": numbers,
            "maxLength": counts,
            "minLength": counts,
            "maxItems": counts,
            "minItems": counts,
            "maxProperties": counts,
            "minProperties": counts,
            "required": names,
            "dependentRequired": st.dictionaries(st.sampled_from(NAMES), names, max_size=2),
            "properties": named,
            "additionalProperties": inner,
            "propertyNames": inner,
            "prefixItems": some,
            "items": inner,
            "contains": inner,
            "minContains": counts,
            "maxContains": counts,
            "uniqueItems": st.booleans(),
            "allOf": some,
            "anyOf": some,
            "oneOf": some,
            "not": inner,
            "if": inner,
            "then": inner,
            "else": inner,
            "dependentSchemas": named,
            "$ref": st.sampled_from(["#/$defs/a", "#/$defs/b~1~0", "#/$defs/a/items"]),
            "title": st.just("nothing"),
            "format": st.just("date"),
        },
    ).map(lambda schema: dict(list(schema.items())[:5]))


leaves = st.booleans() | st.fixed_dictionaries({}, optional={"type": types, "const": scalars, "minimum": numbers})


@pytest.mark.slow
@settings(max_examples=60)
@given(
    schema=schemas(schemas(leaves) | leaves),
    parts=st.tuples(schemas(leaves), schemas(leaves), leaves),
    value=values,
)
def test_the_verdict_is_that_of_the_reference_implementation(schema: Any, parts: Any, value: Any) -> None:
    first, second, items = parts
    # no circles: the reference implementation runs in them
    first.pop("$ref", None), second.pop("$ref", None)
    whole = {**schema, "$defs": {"a": {**first, "items": items}, "b/~": second}}
    expected = jsonschema.Draft202012Validator(whole).is_valid(value)
    assert Schema(whole).is_valid(value) is expected


@given(schema=st.dictionaries(st.sampled_from(["type", "items", "properties", "required", "enum", "minLength", "allOf", "not",
    "multipleOf", "maximum", "uniqueItems", "dependentRequired", "additionalProperties", "if", "prefixItems"]), values, max_size=2))  # fmt: skip
def test_what_is_no_schema_is_told_from_what_is(schema: Any) -> None:
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError:
        # a name twice, an empty list, a tuple as it was: these are taken
        assume(
            not {"required", "dependentRequired", "enum"} & schema.keys() and not isinstance(schema.get("items"), list)
        )
        with pytest.raises(NotASchema):
            Schema(schema)
    else:
        Schema(schema)


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        # a list that holds itself
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}}, [[[]], []], True),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}}, [[[1]], []], False),
        ({"properties": {"a": {"$ref": "#"}}, "additionalProperties": False}, {"a": {"a": {}}}, True),
        ({"properties": {"a": {"$ref": "#"}}, "additionalProperties": False}, {"a": {"b": {}}}, False),
        ({"properties": {"a": {"$ref": "#/properties/b%20c"}, "b c": {"type": "null"}}}, {"a": 1}, False),
        ({"allOf": [{"type": "null"}], "items": {"$ref": "#/allOf/0"}}, None, True),
        # tuples as drafts before 2020 had them
        ({"items": [{"type": "null"}], "additionalItems": False}, [None], True),
        ({"items": [{"type": "null"}], "additionalItems": False}, [None, 1], False),
        # left to the upstream
        ({"pattern": "(a+)+$"}, "a" * 40 + "b", True),
        ({"patternProperties": {"^x": {}}, "additionalProperties": False}, {"x": 1}, True),
        ({"properties": {"pattern": {"type": "string"}}}, {"pattern": 1}, False),
        ({"multipleOf": 0.5}, 10**400, True),
        ({"multipleOf": 0.01}, 19.99, True),
        ({"multipleOf": 0.01}, 19.995, False),
        ({"multipleOf": 0.1}, 0.3, True),
        ({"multipleOf": 3}, 7.5, False),
        ({"multipleOf": 1e-300}, 1e300, True),
        ({"$id": "https://example.com/a", "type": "null"}, None, True),
    ],
)
def test_what_schemas_say(schema: Any, value: Any, fits: bool) -> None:
    assert Schema(schema).is_valid(value) is fits


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "https://example.com/schema"},
        {"$ref": "#name"},
        {"$ref": "#/nowhere"},
        {"$ref": "#/allOf/7", "allOf": [{}]},
        {"$ref": 7},
        {"$ref": "#/" + "a/" * 10_000},
        {"$dynamicRef": "#"},
        {"items": {"$id": "https://example.com/a"}},
        {"type": "anything"},
        {"properties": {"a": 7}},
        7,
        [],
        None,
    ],
)
def test_what_cannot_be_applied_is_none(schema: Any) -> None:
    with pytest.raises(NotASchema):
        Schema(schema)


def doubling(keyword: str) -> Any:
    """2 kB of references that come to 2^40 applications."""
    parts = {f"a{level}": {keyword: [{"$ref": f"#/$defs/a{level + 1}"}] * 2} for level in range(40)}
    return {"$ref": "#/$defs/a0", "$defs": {**parts, "a40": {"type": "string"}}}


def deep(keyword: str, depth: int) -> Any:
    schema: Any = {}
    for _ in range(depth):
        schema = {keyword: [schema] if keyword == "allOf" else schema}
    return schema


ITEM: Final = {"anyOf": [{"type": "object", "properties": {"a": {"anyOf": [{"const": 1}] * 5}}, "required": ["a"]}] * 5}
MANY: Final = 100_000
TOO_MUCH: Final[dict[str, tuple[Any, Any]]] = {
    "doubling": (doubling("allOf"), "x"),
    "doubling, nothing fits": (doubling("anyOf"), 7),
    "doubling, one of": (doubling("oneOf"), "x"),
    "a circle": ({"$ref": "#"}, 1),
    "a longer circle": ({"allOf": [{"not": {"$ref": "#"}}]}, 1),
    "deep": (deep("allOf", 120), 1),
    "very deep": (deep("not", 5_000), 1),
    "wide": ({"allOf": [{"type": "string"} for _ in range(MANY)]}, "x"),
    "wide and simple": ({"anyOf": [True] * 10 * MANY}, "x"),
    "many properties": ({"properties": {f"p{number}": {} for number in range(MANY)}}, {}),
    "many names": ({"required": ["a"] * 10 * MANY}, {}),
    "many types": ({"type": ["string"] * 10 * MANY}, ""),
    "a long enum": ({"enum": [f"v{number}" for number in range(MANY)]}, "v1"),
    "a large constant": ({"const": [{"a": number} for number in range(MANY)]}, 1),
    "many items": ({"items": ITEM}, [{"a": 1}] * MANY),
    "many items of an enum": ({"items": {"enum": [f"v{number}" for number in range(5000)]}}, ["v1"] * MANY),
    "many items and properties": (
        {"items": {"properties": {f"p{number}": {} for number in range(2000)}}},
        [{"p1": 1}] * MANY,
    ),
    "many that shall differ": ({"uniqueItems": True}, [{"a": [number]} for number in range(MANY)]),
    "many of which one shall fit": ({"contains": {"const": -1}}, list(range(MANY))),
    "many names of properties": ({"propertyNames": {"maxLength": 9}}, {f"p{number}": 1 for number in range(MANY)}),
    "many comparisons": ({"allOf": [{"const": list(range(500))} for _ in range(30)] * 9}, list(range(500))),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_work_is_not_done(name: str) -> None:
    """50 ms on an idle machine, a fifth of a second with the collection of garbage; jsonschema
    takes from 2 s to for ever."""
    schema, value = TOO_MUCH[name]
    began = time.thread_time()
    with pytest.raises(TooMuchWork):
        Schema(schema).is_valid(value)
    assert time.thread_time() - began < 1


def test_what_people_ask_for_is_far_within_the_bound() -> None:
    record = {
        "type": "object",
        "properties": {f"field{number}": {"type": ["string", "null"], "maxLength": 99} for number in range(30)},
        "required": [f"field{number}" for number in range(30)],
        "additionalProperties": False,
    }
    schema = Schema({"type": "object", "properties": {"records": {"type": "array", "items": record}}})
    value = {"records": [{f"field{number}": "words" for number in range(30)} for _ in range(1000)]}
    assert len(json.dumps(value)) > 500_000
    assert schema.is_valid(value)
    value["records"][-1]["field29"] = "x" * 100
    assert not schema.is_valid(value)
