"""Structured output through the ensemble (W10)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from chorus.llm.fake import FakeUpstream, Says
from chorus.types import ToolPiece
from chorus.workflow.shape import Shape
from tests.workflow.singing import QUESTION, Sung, on_trio, sing

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
TREE = {"workers": ["x", "y"], "selector": "s", "synthesizer": "z"}


@pytest.mark.parametrize(
    ("schema", "text", "fitted"),
    [
        (SCHEMA, '{"n": 1}', '{"n": 1}'),
        (SCHEMA, '```json\n{"n": 1}\n```', '{"n": 1}'),
        (SCHEMA, '{"n": "1"}', None),
        (SCHEMA, '{"n": 1, "m": 2}', None),
        (SCHEMA, 'Sure: {"n": 1}', None),
        (SCHEMA, "", None),
        (None, '{"any": "thing"}', '{"any": "thing"}'),
        (None, "[1]", None),
        ({"type": 7}, '{"a schema": "that is none"}', '{"a schema": "that is none"}'),
    ],
)
@pytest.mark.requirement("W10")
def test_a_text_has_the_form_or_not(schema: Any, text: str, fitted: str | None) -> None:
    assert Shape(schema).fitted(text) == fitted


async def sung(x: str, y: str, z: str, judged: str = '{"choice": "A"}') -> tuple[Sung, dict[str, FakeUpstream]]:
    models = {name: FakeUpstream(Says(text)) for name, text in (("x", x), ("y", y), ("s", judged), ("z", z))}
    return await sing(TREE, models, msgspec.structs.replace(QUESTION, response_format=FORM)), models


@on_trio
@pytest.mark.requirement("W10")
async def test_the_synthesizer_is_held_to_the_schema() -> None:
    run, models = await sung('{"n": 1}', '{"n": 2}', '```json\n{"n": 3}\n```')
    assert json.loads(run.heard) == {"n": 3}
    assert run.trace["status"] == "ok"
    for name in ("x", "y", "z"):
        assert models[name].calls[0].request.response_format == FORM
    assert models["s"].calls[0].request.response_format is None


@on_trio
@pytest.mark.requirement("W10")
async def test_an_invalid_synthesis_falls_back_to_a_valid_candidate() -> None:
    run, models = await sung("I would say one.", '{"n": 2}', "It is three.")
    assert json.loads(run.heard) == {"n": 2}
    assert run.finished.answers[0].text == run.heard
    assert run.trace["synthesizer"]["error"]["code"] == "invalid_output"
    assert models["s"].calls == []  # one candidate has the form, so there was nothing to choose


@on_trio
@pytest.mark.requirement("W10")
async def test_candidates_of_the_wrong_form_are_better_than_none() -> None:
    run, _ = await sung("one", "two", '{"n": 3}')
    assert json.loads(run.heard) == {"n": 3}


@on_trio
@pytest.mark.requirement("W10")
async def test_workers_get_the_tools_and_a_winning_call_goes_out_as_it_is() -> None:
    call = ToolPiece(0, "call_1", "look", "{}")
    models = {
        "x": FakeUpstream(Says("", tool_calls=(call,))),
        "y": FakeUpstream(Says("", tool_calls=(call,))),
        "s": FakeUpstream(Says('{"choice": "A"}')),
        "z": FakeUpstream(),
    }
    tools = ({"type": "function", "function": {"name": "look"}},)
    run = await sing(TREE, models, msgspec.structs.replace(QUESTION, tools=tools, tool_choice="auto"))
    assert models["x"].calls[0].request.tools == tools
    assert models["s"].calls[0].request.tools == ()
    assert [each.name for each in run.finished.answers[0].tool_calls] == ["look"]
    assert models["z"].calls == []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "http://127.0.0.1:9/never-fetched.json"},
        {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}},
        {"type": "object", "patternProperties": {"^(a+)+$": {}}, "additionalProperties": False},
    ],
)
@pytest.mark.requirement("W10")
def test_a_hostile_schema_fetches_nothing_and_keeps_nobody_busy(schema: Any) -> None:
    text = json.dumps({"a": "a" * 60 + "b"})
    assert Shape(schema).fitted(text) == text


def test_a_property_may_be_called_pattern() -> None:
    schema = {"type": "object", "properties": {"pattern": {"type": "integer"}}, "required": ["pattern"]}
    assert Shape(schema).fitted('{"pattern": 1}') == '{"pattern": 1}'
    assert Shape(schema).fitted('{"pattern": "x"}') is None
