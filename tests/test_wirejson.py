"""Reading JSON within bounds of depth, number of values, time and memory."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorus import wirejson

SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text('ab"\\\\,[]{}', max_size=6)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('a",[{\\\\', max_size=3), inner, max_size=4),
)


def depth_of(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    return 1 + max(map(depth_of, value.values() if isinstance(value, dict) else value), default=0)


def separators_of(value: Any) -> int:
    """Commas and opening brackets outside of strings."""
    if not isinstance(value, dict | list):
        return 0
    inner = list(value.values()) if isinstance(value, dict) else value
    return max(len(inner), 1) + sum(map(separators_of, inner))


@given(VALUES)
@settings(deadline=None)
def test_what_is_decoded_is_what_json_loads_says(value: Any) -> None:
    assert wirejson.decode(json.dumps(value)) == value


@given(VALUES, st.integers(1, 9))
@settings(deadline=None)
def test_values_are_counted_outside_of_strings_wherever_a_slice_ends(value: Any, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wirejson, "_SLICE", size)
        raw = json.dumps(value).encode()
        limit = separators_of(value)
        patch.setattr(wirejson, "MAX_VALUES", limit)
        wirejson.check(raw)
        if limit:
            patch.setattr(wirejson, "MAX_VALUES", limit - 1)
            with pytest.raises(ValueError, match="more than"):
                wirejson.check(raw)


@given(VALUES)
@settings(deadline=None)
def test_depth_is_counted_outside_of_strings(value: Any) -> None:
    nested: Any = value
    for _ in range(wirejson.MAX_DEPTH - depth_of(value)):
        nested = [nested, "[" * 20]
    assert wirejson.decode(json.dumps(nested)) == nested
    with pytest.raises(ValueError, match="nested deeper"):
        wirejson.decode(json.dumps([nested]))


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 5_000, "[" * 5_000 + "]" * 5_000, '"' + "[" * 1000 + '"', "]" * 100_000, "1[", ""]
)
def test_what_is_no_json_or_too_deep_is_a_value_error_or_read(text: str) -> None:
    if text.startswith('"'):
        assert wirejson.decode(text) == "[" * 1000
    else:
        with pytest.raises(ValueError):
            wirejson.decode(text)


WIDE = {
    "arrays": "[" + "[]," * 400_000 + "1]",
    "objects": "[" + "{}," * 400_000 + "1]",
    "numbers": "[" + "1," * 400_000 + "1]",
    "strings": "[" + '"",' * 400_000 + "1]",
    "keys": "{" + ",".join(f'"{n}":0' for n in range(400_000)) + "}",
    "quotes": '"' * 2_000_000 + "," * 300_000,
}


@pytest.mark.parametrize("text", WIDE.values(), ids=WIDE.keys())
def test_too_many_values_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="more than"):
        wirejson.decode(text)


@pytest.mark.parametrize("filler", ["a,", "[", '\\"', "\\\\", ",\n", "中,"], ids=repr)
def test_a_long_string_is_one_value_whatever_is_in_it(filler: str) -> None:
    text = filler.replace('\\"', '"').replace("\\\\", "\\") * 400_000
    assert wirejson.decode(json.dumps({"text": text})) == {"text": text}


TOOLS = VALUES.map(lambda value: [{"function": value}] * 100)


@given(TOOLS | VALUES, VALUES)
@settings(deadline=None)
def test_a_field_that_is_left_encoded_holds_the_same(tools: Any, other: Any) -> None:
    body = {"tools": tools, "other": other, "many": [[]] * 10_000}
    raw = json.dumps(body).encode()
    fields, _ = wirejson.decode_fields(raw, {"tools": wirejson.encoded_array})
    if isinstance(fields["tools"], wirejson.EncodedArray):
        fields["tools"] = fields["tools"].decoded()
    else:
        assert not isinstance(tools, list) or len(json.dumps(tools)) < 20_000
    assert fields == body


@pytest.mark.parametrize(
    ("tools", "problem"),
    [
        (b'["\xff"]', "not valid UTF-8"),
        (b'["\\ud800"]', "truncated"),
        (b"[1,]", "trailing comma"),
        (b"[NaN]", "invalid character"),
        (b"[" * 200 + b"]" * 200, "nested deeper"),
        (b"[" * 100_000, "nested deeper"),
    ],
)
def test_what_is_wrong_in_a_field_that_is_left_encoded_is_refused(tools: bytes, problem: str) -> None:
    many = b" " * 20_000
    raw = b'{"tools": ' + tools[:1] + many + tools[1:] + b"}"
    with pytest.raises(ValueError, match=problem):
        wirejson.decode_fields(raw, {"tools": wirejson.encoded_array})


def test_what_readers_do_not_read_is_decoded() -> None:
    body = {"messages": "a" * 20_000, "tools": [1], "other": {"deep": [[]]}}
    raw = json.dumps(body).encode()
    given: list[bytes] = []
    fields, structure = wirejson.decode_fields(raw, {"messages": lambda raw: given.append(bytes(raw)), "no": bool})
    assert fields == body
    assert given == [json.dumps(body["messages"]).encode()]
    assert structure == (4, 4)


def test_the_structure_of_what_readers_read_is_not_counted() -> None:
    raw = json.dumps({"messages": ["a,[{"] * 5000, "stop": ["a", "b"]}).encode()
    fields, structure = wirejson.decode_fields(raw, {"messages": len})
    assert fields == {"messages": len(json.dumps(["a,[{"] * 5000)), "stop": ["a", "b"]}
    assert structure == (2, 1)


@pytest.mark.parametrize("wanted", [127, 128])
def test_fields_are_no_deeper_than_the_whole_may_be(wanted: int) -> None:
    raw = b'{"messages": "' + b"a" * 20_000 + b'", "x": ' + b"[" * wanted + b"]" * wanted + b"}"

    def read() -> object:
        return wirejson.decode_fields(raw, {"messages": len})

    if wanted < wirejson.MAX_DEPTH:
        read()
    else:
        with pytest.raises(ValueError, match="deeper"):
            read()


def test_an_object_of_many_fields_is_decoded_at_once() -> None:
    body = {f"field {number}": number for number in range(2000)}
    fields, _ = wirejson.decode_fields(json.dumps(body).encode(), {"field 1": lambda raw: pytest.fail("one by one")})
    assert fields == body
