"""Bodies of every dialect, one thing wrong at a time: the field is named, and nothing but a
ChorusError comes of it (A6, S3).
"""

from __future__ import annotations

import copy
import typing
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus import wirejson
from chorus.errors import ChorusError, InvalidRequest
from chorus.llm.filters.stop_words import MAX_STOP_CHARS, MAX_STOPS
from chorus.server.dialects import DIALECTS, Dialect, ParsedRequest
from chorus.server.dialects.ollama.context import context_of
from chorus.server.dialects.responses import inputs
from chorus.server.dialects.responses.tools import ToolTable
from chorus.server.dialects.warnings import Warnings
from chorus.server.http.reading import is_object
from chorus.types import Image, Message, Part, Role, Text

USER = {"role": "user", "content": "How?"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
PARTS = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "http://a/b.png"}}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
COMMON: dict[str, Any] = {"model": "glm", "stream": True, "temperature": 0.5, "top_p": 0.9, "include_workflow": True}
OPENAI: dict[str, Any] = {**COMMON, "max_tokens": 9, "n": 2, "seed": 7, "stop": ["x"], "stream_options": {}}
OLLAMA: dict[str, Any] = {
    "model": "glm", "stream": False, "options": {"temperature": 1, "stop": ["x"], "seed": 1, "num_ctx": 9},
    "format": {"type": "object"}, "think": True, "keep_alive": "5m", "include_workflow": False,
}  # fmt: skip

RICH: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        **OPENAI,
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": PARTS},
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "1"}]},
        ],
        "tools": [TOOL],
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "logprobs": True,
        "top_logprobs": 2,
    },
    "/v1/completions": {**OPENAI, "prompt": ["One?", "Two?"], "echo": True, "suffix": "end", "logprobs": 2},
    "/v1/responses": {
        **COMMON,
        "instructions": "Be kind.",
        "input": [
            USER,
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
            {"type": "reasoning", "id": "rs_1", "summary": []},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": [{"type": "output_text", "text": "1"}]},
        ],
        "messages": [{"role": "assistant", "tool_calls": [CALL], "content": None}],
        "tools": [{"type": "function", "name": "f", "parameters": {}}],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
        "reasoning": {"effort": "low"},
        "max_output_tokens": 9,
        "metadata": {"a": "b"},
    },
    "/v1/messages": {
        **COMMON,
        "max_tokens": 9,
        "system": [{"type": "text", "text": "Be kind."}],
        "messages": [
            USER,
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "1"}]},
        ],
        "tools": [{"name": "f", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "auto"},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "stop_sequences": ["x"],
        "output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}},
    },
    "/api/chat": {
        **OLLAMA,
        "messages": [
            {"role": "user", "content": "What?", "images": ["iVBORw0KGgo="]},
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}]},
            {"role": "tool", "content": "1", "tool_name": "f"},
        ],
        "tools": [TOOL],
    },
    "/api/generate": {
        **OLLAMA, "prompt": "How?", "system": "Be kind.", "images": ["/9j/"], "raw": False,
        "context": context_of([Message("user", "Who?")], "Me."),
    },
}  # fmt: skip
BY_PATH = {dialect.path: dialect for dialect in DIALECTS}
Result = TypeVar("Result")
every_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.path)


def fields() -> Iterator[tuple[Dialect, str, Any]]:
    """Every field of every request body, with values of each kind that its type does not have."""
    wrong = {str: "word", bool: True, int: 3, float: 1.5, list: [{"a": 1}], dict: {"a": 1}}
    for dialect in DIALECTS:
        for name, kind in typing.get_type_hints(dialect.body).items():
            for value in wrong.values():
                try:
                    msgspec.convert(value, kind)
                except msgspec.ValidationError:
                    yield dialect, name, value


@pytest.mark.requirement("A6")
def test_the_rich_bodies_are_good() -> None:
    assert set(RICH) == set(BY_PATH)
    for path, body in RICH.items():
        assert BY_PATH[path].parse(body).model == "glm"


@pytest.mark.parametrize(
    ("dialect", "name", "value"), list(fields()), ids=lambda part: getattr(part, "path", None) or str(part)
)
@pytest.mark.requirement("A6")
def test_every_field_of_a_wrong_type_is_named(dialect: Dialect, name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest) as refused:
        dialect.parse({**RICH[dialect.path], name: value})
    assert refused.value.status == 400
    assert (refused.value.param or "").startswith(name)
    assert f"'{refused.value.param}" in refused.value.message


@every_dialect
@pytest.mark.requirement("A6")
def test_a_bool_is_no_number(dialect: Dialect) -> None:
    hints = typing.get_type_hints(dialect.body)
    numbers = [name for name, kind in hints.items() if {int, float} & set(typing.get_args(kind)) and name != "think"]
    assert numbers
    for name in numbers:
        with pytest.raises(InvalidRequest) as refused:
            dialect.parse({**RICH[dialect.path], name: True})
        assert refused.value.param == name


@every_dialect
@pytest.mark.requirement("A6")
def test_a_model_is_required(dialect: Dialect) -> None:
    body = {key: value for key, value in RICH[dialect.path].items() if key != "model"}
    with pytest.raises(InvalidRequest) as refused:
        dialect.parse(body)
    assert (refused.value.param, refused.value.message) == ("model", "Missing required field 'model'.")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/chat/completions", "max_tokens"),
        ("/v1/chat/completions", "max_completion_tokens"),
        ("/v1/completions", "max_tokens"),
        ("/v1/responses", "max_output_tokens"),
        ("/v1/messages", "max_tokens"),
    ],
)
@pytest.mark.requirement("A6")
def test_a_limit_of_nothing_is_named_as_the_client_did(path: str, name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        BY_PATH[path].parse({**RICH[path], name: 0})
    assert refused.value.param == name
    assert refused.value.message == f"Invalid value for '{name}': expected at least 1, got 0."


@every_dialect
@pytest.mark.requirement("A6")
def test_unknown_fields_are_no_error(dialect: Dialect) -> None:
    unknown = {"top_k": 3, "x_vendor": {"a": [1, None]}, "": None}
    assert dialect.parse({**RICH[dialect.path], **unknown}).model == "glm"


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["user", "tool", "text", "input_text", "function", "message", "image_url", "json", "auto", "glm"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    if place:
        yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield from places(each, (*place, key))


@st.composite
def nearly_right(draw: st.DrawFn, path: str) -> dict[str, Any]:
    """A good body with one or two places replaced or removed."""
    body = copy.deepcopy(RICH[path])
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(list(places(body))))
        holder: Any = body
        for key in place[:-1]:
            holder = holder[key]
        if draw(st.booleans()):
            holder[place[-1]] = draw(JSON_VALUES)
        else:
            del holder[place[-1]]
        if not body:
            break
    return body


def attempted(work: Callable[[], Result]) -> Result | ChorusError:
    """What `work` returns, or the error that it may raise; any other goes through."""
    try:
        return work()
    except ChorusError as refused:
        return refused


@every_dialect
@given(data=st.data())
@pytest.mark.requirement("A6")
def test_a_nearly_right_body_is_understood_or_refused_by_name(dialect: Dialect, data: st.DataObject) -> None:
    body = data.draw(nearly_right(dialect.path))
    outcome = attempted(lambda: dialect.parse(body))
    if isinstance(outcome, ChorusError):
        assert outcome.status == 400
        assert outcome.param
        assert outcome.message
        return
    assert outcome.model == body["model"]
    for request in outcome.requests:
        assert request.messages
        for message in request.messages:
            check_types(message)
        wirejson.encode(msgspec.to_builtins(request, enc_hook=list))  # it can travel


def word_of(part: Part) -> Any:
    """What says what a part is: its text, its address, or the kind of a part that is passed on."""
    if isinstance(part, Text):
        return part.text
    return part.url if isinstance(part, Image) else part.data["type"]


def check_types(message: Message) -> None:
    """A message is what its type says, so that no upstream is sent what a client made up."""
    assert message.role in typing.get_args(Role)
    parts = (Text(message.content),) if isinstance(message.content, str) else message.content
    assert all(isinstance(word_of(part), str) for part in parts)
    assert isinstance(message.reasoning, str)
    assert all(isinstance(word, str | None) for word in (message.tool_call_id, message.name))
    for call in message.tool_calls:
        assert all(isinstance(word, str) for word in (call.id, call.name, call.arguments))


@every_dialect
@given(body=JSON_VALUES)
@pytest.mark.requirement("A6")
def test_any_json_at_all_is_understood_or_refused(dialect: Dialect, body: Any) -> None:
    outcome = attempted(lambda: dialect.parse(body))
    assert isinstance(outcome, ParsedRequest) or outcome.status == 400


@given(given=JSON_VALUES, instructions=JSON_VALUES, turns=JSON_VALUES, prompt=JSON_VALUES)
@pytest.mark.requirement("A3")
def test_any_input_becomes_messages_or_is_refused(given: Any, instructions: Any, turns: Any, prompt: Any) -> None:
    outcome = attempted(lambda: inputs.messages(instructions, given, turns, prompt, ToolTable(), Warnings()))
    if isinstance(outcome, ChorusError):
        assert outcome.param
    else:
        assert outcome
        for message in outcome:
            check_types(message)


@given(words=st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4), depth=st.integers(0, 5))
@pytest.mark.requirement("A3")
def test_nesting_loses_no_word_and_keeps_their_order(words: list[str], depth: int) -> None:
    nested: Any = [{"role": "user", "content": [[{"type": "input_text", "text": word}]]} for word in words]
    for _ in range(depth):
        nested = [nested]
    found = inputs.messages(None, nested, None, None, ToolTable(), Warnings())
    assert [message.text for message in found] == words


@given(text=st.text(max_size=20) | JSON_VALUES.map(lambda value: wirejson.encode(value).decode()))
@pytest.mark.requirement("A3")
def test_a_whole_object_is_no_beginning_of_another(text: str) -> None:
    """That is why a call whose arguments are an object is over, and one whose arguments are not may
    go on.
    """
    if is_object(text):
        assert all(not is_object(text[:end]) for end in range(len(text.rstrip())))


STOPS = {
    "/v1/chat/completions": "stop",
    "/v1/completions": "stop",
    "/v1/messages": "stop_sequences",
    "/api/chat": "options.stop",
    "/api/generate": "options.stop",
}


@pytest.mark.parametrize("path", STOPS)
@pytest.mark.parametrize(
    ("words", "is_good"),
    [
        (["x" * MAX_STOP_CHARS] * MAX_STOPS, True),
        (["x"] * (MAX_STOPS + 1), False),
        ([""] * 100_000, False),
        (["x" * (MAX_STOP_CHARS + 1)], False),
        (["x" * 8_000_000], False),
    ],
)
@pytest.mark.requirement("A6")
def test_stop_words_have_a_limit_in_every_dialect(path: str, words: list[str], is_good: bool) -> None:
    outer, _, inner = STOPS[path].partition(".")
    body = RICH[path] | {outer: {inner: words} if inner else words}
    if is_good:
        assert BY_PATH[path].parse(body).requests[0].sampling.stop == tuple(words)
        return
    with pytest.raises(InvalidRequest, match="stop words") as refused:
        BY_PATH[path].parse(body)
    assert refused.value.param == STOPS[path]
