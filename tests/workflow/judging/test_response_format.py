"""Structured output through the ensemble (W10)."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
import structlog

from chorus.llm.fake import FakeUpstream, Says
from chorus.types import ToolPiece, Tools
from chorus.workflow.judging.response_format import ResponseFormat
from chorus.workflow.judging.schema import Schema
from tests.workflow.running import QUESTION, RunResult, on_trio, run_plan

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}
TREE = {"workers": ["x", "y"], "selector": "s", "synthesizer": "z"}


@pytest.mark.parametrize(
    ("schema", "text", "validated"),
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
def test_a_text_has_the_form_or_not(schema: Any, text: str, validated: str | None) -> None:
    assert ResponseFormat(schema).validated(text) == validated


BIG: Any = {"type": "object", "properties": {f"p{number}": {"type": "string"} for number in range(10_000)}}
COSTLY: Any = {"items": {"anyOf": [{"const": number} for number in range(100)]}}


@pytest.mark.parametrize(
    ("schema", "text", "unchecked"),
    [
        (BIG, '{"p1": 7}', "the schema is larger than what is enforced here"),
        (BIG, "[7]", "the schema is larger than what is enforced here"),
        (COSTLY, json.dumps([-1]), ""),
        (COSTLY, json.dumps([99] * 5000), "checking the answer takes more work than is done here"),
        (SCHEMA, "[" + "1," * 500_000 + "1]", "the answer has more values than are read here"),
        (
            {"$ref": "https://example.com/schema"},
            "[7]",
            "the schema cannot be applied here: a reference that is no pointer into",
        ),
    ],
)
@pytest.mark.requirement("W10")
def test_what_is_beyond_the_bound_counts_as_fitting(schema: Any, text: str, unchecked: str) -> None:
    response_format = ResponseFormat(schema)
    with structlog.testing.capture_logs() as lines:
        validated = response_format.validated(text)
    assert response_format.unchecked.startswith(unchecked)
    assert validated == (text if unchecked else None)
    for line in lines:
        assert (line["log_level"], line["event"]) == ("warning", "schema not enforced")
    assert response_format.validated("no JSON at all") is None


@pytest.mark.requirement("W10")
def test_a_fence_does_not_make_a_long_answer_expensive() -> None:
    text = "```json\n" + "`" * 30_000_000
    began = time.thread_time()
    assert ResponseFormat(SCHEMA).validated(text) is None
    assert ResponseFormat(None).validated(text + "\n```") is None
    assert time.thread_time() - began < 1


@on_trio
@pytest.mark.requirement("W10")
async def test_a_schema_that_is_not_enforced_is_in_the_trace() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": COSTLY}}
    long = json.dumps([99] * 5000)
    models = {
        name: FakeUpstream(Says(text))
        for name, text in (("x", long), ("y", long), ("s", '{"choice": "A"}'), ("z", long))
    }
    with structlog.testing.capture_logs():
        run = await run_plan(TREE, models, msgspec.structs.replace(QUESTION, response_format=form))
    assert run.delivered == long
    assert run.trace["synthesizer"]["schema_not_enforced"] == "checking the answer takes more work than is done here"


async def result(x: str, y: str, z: str, judged: str = '{"choice": "A"}') -> tuple[RunResult, dict[str, FakeUpstream]]:
    models = {name: FakeUpstream(Says(text)) for name, text in (("x", x), ("y", y), ("s", judged), ("z", z))}
    return await run_plan(TREE, models, msgspec.structs.replace(QUESTION, response_format=FORM)), models


@on_trio
@pytest.mark.requirement("W10")
async def test_a_schema_is_made_ready_once_for_all_workflows_and_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr(
        "chorus.workflow.judging.response_format.Schema", lambda schema: made.append(schema) or Schema(schema)
    )
    tree = {"workers": ["x", {"workers": ["x", {"workers": ["x", "y"]}]}], "selector": "s"}
    models = {name: FakeUpstream(Says('{"n": 1}')) for name in ("x", "y")} | {
        "s": FakeUpstream(Says('{"choice": "A"}'))
    }
    request = msgspec.structs.replace(QUESTION, response_format=FORM)
    run = await run_plan(tree, models, request, also=[request, request])
    assert len(run.finished.answers) == 3
    assert made == [SCHEMA]


@on_trio
@pytest.mark.requirement("W10")
async def test_the_synthesizer_is_held_to_the_schema() -> None:
    run, models = await result('{"n": 1}', '{"n": 2}', '```json\n{"n": 3}\n```')
    assert json.loads(run.delivered) == {"n": 3}
    assert run.trace["status"] == "ok"
    for name in ("x", "y", "z"):
        assert models[name].calls[0].request.response_format == FORM
    assert models["s"].calls[0].request.response_format is None


@on_trio
@pytest.mark.requirement("W10")
async def test_an_invalid_synthesis_falls_back_to_a_valid_candidate() -> None:
    run, models = await result("I would say one.", '{"n": 2}', "It is three.")
    assert json.loads(run.delivered) == {"n": 2}
    assert run.finished.answers[0].text == run.delivered
    assert run.trace["synthesizer"]["error"]["code"] == "invalid_output"
    assert models["s"].calls == []  # one candidate has the form, so there was nothing to choose


@on_trio
@pytest.mark.requirement("W10")
async def test_candidates_of_the_wrong_form_are_better_than_none() -> None:
    run, _ = await result("one", "two", '{"n": 3}')
    assert json.loads(run.delivered) == {"n": 3}


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
    tools = Tools([{"type": "function", "function": {"name": "look"}}])
    run = await run_plan(TREE, models, msgspec.structs.replace(QUESTION, tools=tools, tool_choice="auto"))
    assert models["x"].calls[0].request.tools == tools
    assert models["s"].calls[0].request.tools == Tools()
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
    assert ResponseFormat(schema).validated(text) == text


def test_a_property_may_be_called_pattern() -> None:
    schema = {"type": "object", "properties": {"pattern": {"type": "integer"}}, "required": ["pattern"]}
    assert ResponseFormat(schema).validated('{"pattern": 1}') == '{"pattern": 1}'
    assert ResponseFormat(schema).validated('{"pattern": "x"}') is None
