"""Tool calls of streams, as providers send them, put together by sense (L2)."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.llm.providers.openai_reading import ChunkReader, read_whole
from chorus.llm.reading.tool_calls import CallAssembler, CallPart, ObjectEnd
from chorus.types import ToolPiece

Piece = dict[str, Any]


def entry(arguments: Any = None, name: str | None = None, **more: Any) -> Piece:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"function": function, **more}


def sent(*entries: Piece, finish: str = "stop") -> list[ToolPiece]:
    reader = ChunkReader("m", prompt_estimate=lambda: 1)
    pieces: list[ToolPiece] = []
    for each in entries:
        chunk = reader.read(json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": [each]}}]}).encode())
        pieces += chunk.tool_calls if chunk is not None else ()
    reader.read(json.dumps({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}).encode())
    end = reader.end(done=True)
    assert end.finish_reason == "tool_calls"
    return [*pieces, *end.tool_calls]


def joined(pieces: list[ToolPiece]) -> list[tuple[str, str]]:
    """Name and arguments of each call; id and name must stand in its first piece, once."""
    calls: dict[int, tuple[str, str]] = {}
    ids: list[str] = []
    for piece in pieces:
        if piece.index not in calls:
            assert piece.index == len(calls)
            assert piece.id
            assert piece.name
            ids.append(piece.id)
            calls[piece.index] = (piece.name, piece.arguments)
        else:
            assert piece.id is None
            assert piece.name is None
            calls[piece.index] = (calls[piece.index][0], calls[piece.index][1] + piece.arguments)
    assert len(set(ids)) == len(ids)
    return list(calls.values())


TWO = [("a", '{"c":1}'), ("b", '{"d":2}')]
ONE = [("a", '{"c":1}')]
A, B = ('{"c":1}', "a"), ('{"d":2}', "b")


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([entry(*A, index=0, id=""), entry(*B, index=0, id="")], TWO),
        ([entry(*A, index=0, id=None), entry(*B, index=0, id=None)], TWO),
        ([entry(*A), entry(*B)], TWO),
        ([entry(*A), entry('{"c":2}', "a")], [("a", '{"c":1}'), ("a", '{"c":2}')]),
        ([entry(*A, index=0, id="x"), entry(*B, index=0, id="y")], TWO),
        ([entry(*A, index=0, id="x"), entry(*B, index=1, id="x")], TWO),
        ([entry({"c": 1}, "a", index=0), entry({"d": 2}, "b", index=0)], TWO),
        ([entry("", "a", index=0, id="x"), entry("", "b", index=1, id="y"), entry('{"d":2}', index=1),
          entry('{"c":1}', index=0)], TWO),
        ([entry(index=0, id="x"), entry(name="a", index=0), entry('{"c":1}', index=0)], ONE),
        ([entry('{"c"', index=0, id="x"), entry(name="a", index=0), entry(":1}", index=0)], ONE),
        ([entry('{"c"', "a", index=0, id="x"), entry(":1", index=1), entry("}", index=1)], ONE),
        ([entry('{"c"', "a", index=0, id="x"), entry(":1}")], ONE),
        ([entry('{"c"', "a", index=0, id="x"), entry(":1}", index=0, id="y"), entry("", index=0, id="z")], ONE),
        ([entry('{"c"', "a", index=0, id="x"), entry(":1}", "a", index=0, id="y")], ONE),
        ([entry("", "a", index=0, id="x"), entry('{"c":', index=0, id="y"), entry("1}", index=0, id="z")], ONE),
        ([entry('{"c"', "a", index=0, id="x"), entry(":1}", "a", index=0, id="x")], ONE),
        ([entry('{"c"', "a", index=0, id="x"), entry(":1}", "", index=0, id="")], ONE),
        ([entry('{"c"', "a", index=0, id="x"), entry(":1}", index=0), entry('{"c":1}', index=0)], ONE),
        ([entry('{"c"', "a", index=0, id="x"), entry(":1", index=0), *[entry(*B, index=1, id="y")], entry("}", index=1)],
         TWO),
        ([entry("", "a", index=0, id="x")], [("a", "{}")]),
        ([entry(None, "a", index=0, id="x"), entry(None, "b", index=1, id="y")], [("a", "{}"), ("b", "{}")]),
        ([entry("null", "a", index=0, id="x")], [("a", "{}")]),
        ([entry({}, "a", index=0, id="x")], [("a", "{}")]),
        ([entry("", "a", index=0, id="x"), entry("", "b", index=0, id="y")], [("a", "{}"), ("b", "{}")]),
        ([entry(*A, index="0", id="x"), entry("", index=0)], ONE),
        ([{"name": "a", "arguments": '{"c":1}', "index": 0}], ONE),
        ([entry("", "a", index=0), entry("", "a", index=0)], [("a", "{}")]),
        ([entry("", "a", index=0), entry('{"c":1}', "a", index=0)], ONE),
    ],
)  # fmt: skip
def test_calls_are_told_apart(entries: list[Piece], expected: list[tuple[str, str]]) -> None:
    assert joined(sent(*entries)) == expected


NOW = [("now", "{}"), ("now", "{}")]


@pytest.mark.parametrize("more", [{"index": 0}, {}, {"index": 0, "id": ""}])
@pytest.mark.parametrize("arguments", [None, "", "{}"])
def test_a_call_that_its_upstream_has_ended_is_not_gone_on_with(more: Piece, arguments: str | None) -> None:
    reader = ChunkReader("m", prompt_estimate=lambda: 1)
    pieces: list[ToolPiece] = []
    for _ in range(2):  # Gemini ends each chunk that holds a call
        choice = {"index": 0, "delta": {"tool_calls": [entry(arguments, "now", **more)]}, "finish_reason": "stop"}
        chunk = reader.read(json.dumps({"choices": [choice]}).encode())
        pieces += chunk.tool_calls if chunk is not None else ()
    assert joined([*pieces, *reader.end(done=True).tool_calls]) == NOW


@pytest.mark.parametrize("more", [{"index": 0}, {}, {"index": 0, "id": ""}])
@pytest.mark.parametrize("arguments", [None, "", "{}"])
def test_two_entries_of_one_chunk_that_name_a_tool_are_two_calls(more: Piece, arguments: str | None) -> None:
    reader = ChunkReader("m", prompt_estimate=lambda: 1)
    delta = {"tool_calls": [entry(arguments, "now", **more)] * 2}
    chunk = reader.read(json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}]}).encode())
    pieces = list(chunk.tool_calls) if chunk is not None else []
    assert joined([*pieces, *reader.end(done=True).tool_calls]) == NOW


def test_what_is_neither_named_nor_has_arguments_is_no_call() -> None:
    pieces = sent(entry(*A, index=0, id="x"), entry(index=1, id="y"))
    assert joined(pieces) == ONE


@pytest.mark.parametrize("arguments", ["", None, "null", {}, " "])
def test_whole_calls_without_arguments_have_an_empty_object(arguments: object) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [entry(arguments, "now", id="x")]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    chunk = read_whole(json.dumps(body).encode(), "m", prompt_estimate=lambda: 1)
    assert chunk.tool_calls == (ToolPiece(0, "x", "now", "{}"),)
    assert chunk.finish_reason == "tool_calls"


def test_the_function_call_of_old_is_a_call() -> None:
    message = {"role": "assistant", "content": None, "function_call": {"name": "a", "arguments": "{}"}}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "function_call"}]}
    chunk = read_whole(json.dumps(body).encode(), "m", prompt_estimate=lambda: 1)
    assert [(piece.name, piece.arguments) for piece in chunk.tool_calls] == [("a", "{}")]


def test_unknown_fields_of_calls_survive() -> None:
    signature = {"google": {"thought_signature": "abc"}}
    pieces = sent(entry(*A, index=0, id="x", extra_content=signature, foo=None), entry("", index=0, late=[1]))
    assert [piece.extra for piece in pieces] == [{"extra_content": signature}, {"late": [1]}]
    message = {"tool_calls": [entry(*A, id="x", extra_content=signature)]}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    [piece] = read_whole(json.dumps(body).encode(), "m", prompt_estimate=lambda: 1).tool_calls
    assert piece.extra == {"extra_content": signature}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4), st.lists(st.integers(0, 200), max_size=8))
def test_the_end_of_an_object_is_found_however_it_is_cut(value: dict[str, Any], cuts: list[int]) -> None:
    text = json.dumps(value, ensure_ascii=False)
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    end = ObjectEnd()
    fed = 0
    for start, stop in pairwise(edges):
        assert not end.is_complete or fed == len(text)
        end.feed(text[start:stop])
        fed += stop - start
    assert end.is_complete


@given(
    st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=4),
    st.lists(st.integers(1, 9), min_size=1),
    st.booleans(),
)
def test_calls_one_after_another_are_whole_however_they_are_cut(
    names: list[str], sizes: list[int], with_ids: bool
) -> None:
    calls = [(name, json.dumps({"n": place, "}": '"{'})) for place, name in enumerate(names)]
    entries: list[Piece] = []
    for place, (name, text) in enumerate(calls):
        more = {"id": f"id{place}", "index": place} if with_ids else {}
        start = step = 0
        while start < len(text):
            size = sizes[step % len(sizes)]
            part = text[start : start + size]
            entries.append(entry(part, name if start == 0 else None, **(more if start == 0 else {**more, "id": None})))
            start, step = start + size, step + 1
    assert joined(sent(*entries)) == calls


def test_the_cost_of_a_call_is_linear_in_its_pieces() -> None:
    def secs(count: int) -> float:
        calls = CallAssembler("m")
        calls.take(CallPart(0, "x", "a", '{"text":"'))
        piece = CallPart(0, "", "", 'word \\" ')
        began = time.process_time()
        for _ in range(count):
            calls.take(piece)
        return time.process_time() - began

    secs(1000)
    assert secs(40_000) < 40 * max(secs(4_000), 0.002)  # were it quadratic: 100 times
