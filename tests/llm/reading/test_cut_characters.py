"""Answers whose characters were cut in two: they arrive, joined where the other half comes (L3)."""

from __future__ import annotations

import json

import pytest

from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest, Message, ToolCall
from tests.kit import ScriptedUpstream
from tests.llm.answers import calls_of, delta, events, lines, message, obj, reasoning_of, whole
from tests.llm.reaching import PROVIDERS, QUESTION, ask, reach, text_of

pytestmark = pytest.mark.requirement("L3")
FIRST, SECOND = "\\ud83d", "\\ude00"
HALVES = [
    # what comes in pieces, and what it is together
    ([f"hi {FIRST}", f"{SECOND} done"], "hi 😀 done"),
    ([f"{FIRST}{SECOND}"], "😀"),
    ([f"hi {FIRST}", " done"], "hi \ufffd done"),
    ([f"hi {FIRST}"], "hi \ufffd"),
    ([f"hi {FIRST}", ""], "hi \ufffd"),
    ([f"{SECOND} done"], "\ufffd done"),
    ([f"{SECOND}{FIRST}"], "\ufffd\ufffd"),
    ([FIRST, FIRST, SECOND, "好"], "\ufffd😀好"),
    ([f"a{FIRST}", f"{SECOND}b{FIRST}", f"{SECOND}c"], "a😀b😀c"),
    (["\udced\udca0\udcbd\udced\udcb8\udc80"], "😀"),  # CESU-8
    (["\udced\udca0\udcbd", "\udced\udcb8\udc80"], "😀"),
    (["a\udced\udca0\udcbd", "b"], "a\ufffdb"),
    (["\udcf0\udc9f", "\udc98", "\udc80!"], "😀!"),  # the bytes of UTF-8, one token each
    (["\udce5\udca5", "\udcbd"], "好"),
    (["a\udcff\udcfeb"], "a\ufffd\ufffdb"),
    (["\udce5\udca5", "x"], "\ufffdx"),
    (["a\tb"], "a\tb"),  # which JSON wants to have escaped
]


@pytest.mark.parametrize(("pieces", "expected"), HALVES)
@pytest.mark.parametrize("field", ["content", "reasoning_content", "reasoning"])
async def test_halves_of_characters_are_joined(
    scripted: ScriptedUpstream, clients: Clients, field: str, pieces: list[str], expected: str
) -> None:
    scripted.on("m", events(delta(content='""'), *(delta(**{field: f'"{each}"'}) for each in pieces), delta('"stop"')))
    chunks = await ask(reach(scripted, clients, "openai"))
    assert (text_of(chunks) if field == "content" else reasoning_of(chunks)) == expected


@pytest.mark.parametrize(("pieces", "expected"), HALVES)
async def test_halves_of_characters_in_the_middle_of_an_answer(
    scripted: ScriptedUpstream, clients: Clients, pieces: list[str], expected: str
) -> None:
    answer = (delta(content=f'"{each}"') for each in ("so ", *pieces, " on"))
    scripted.on("m", events(*answer, delta('"stop"')))
    assert text_of(await ask(reach(scripted, clients, "openai"))) == f"so {expected} on"


@pytest.mark.parametrize(("pieces", "expected"), HALVES)
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_halves_of_characters_in_a_whole_answer(
    scripted: ScriptedUpstream, clients: Clients, provider: str, pieces: list[str], expected: str
) -> None:
    text = "".join(pieces)
    fields = {"content": f'"{text}"', "reasoning_content": f'"{text}"', "thinking": f'"{text}"'}
    scripted.on(
        "m", whole(message(**fields)) if provider == "openai" else lines(obj(message=obj(**fields), done="true"))
    )
    chunks = await ask(reach(scripted, clients, provider), stream=False)
    together = expected if len(pieces) == 1 or "\ufffd" not in expected else None
    for said in (text_of(chunks), reasoning_of(chunks)):
        said.encode()
        assert together is None or said == together


@pytest.mark.parametrize(("pieces", "expected"), HALVES)
async def test_halves_of_characters_in_ollamas_lines(
    scripted: ScriptedUpstream, clients: Clients, pieces: list[str], expected: str
) -> None:
    said = [obj(message=obj(content=f'"{each}"', thinking=f'"{each}"')) for each in pieces]
    scripted.on("m", lines(*said, '{"done": true}'))
    chunks = await ask(reach(scripted, clients, "ollama"))
    assert (text_of(chunks), reasoning_of(chunks)) == (expected, expected)


@pytest.mark.parametrize(("pieces", "expected"), HALVES)
async def test_halves_of_characters_in_the_arguments_of_a_call(
    scripted: ScriptedUpstream, clients: Clients, pieces: list[str], expected: str
) -> None:
    head = '[{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}, {"index": 1, "id": "b", "function": {"name": "g"}}]'
    tails = [f'[{{"index": 0, "function": {{"arguments": "{each}"}}}}]' for each in pieces]
    scripted.on("m", events(delta(tool_calls=head), *(delta(tool_calls=each) for each in tails), delta('"stop"')))
    calls = calls_of(await ask(reach(scripted, clients, "openai")))
    assert calls == {0: ("a", "f", "{" + expected), 1: ("b", "g", "{}")}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"city": "\\ud83d"}', {"city": "\ufffd"}),
        ('{"city": "\\ud83d\\ude00", "n": NaN, "m": 1e999}', {"city": "😀", "n": None, "m": None}),
        ('{"\\ude00": ["\udcff", {"a": -Infinity}]}', {"\ufffd": ["\ufffd", {"a": None}]}),
        ('{"n": 123456789012345678901234567890}', {"n": 123456789012345678901234567890}),
        ("null", {}),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_arguments_that_are_objects(
    scripted: ScriptedUpstream, clients: Clients, provider: str, stream: bool, arguments: str, expected: object
) -> None:
    calls = f'[{{"function": {{"name": "f", "arguments": {arguments}}}}}]'
    if provider == "ollama":
        scripted.on("m", lines(obj(message=obj(tool_calls=calls), done="true")))
    else:
        scripted.on("m", events(delta('"stop"', tool_calls=calls)) if stream else whole(message(tool_calls=calls)))
    chunks = await ask(reach(scripted, clients, provider), stream=stream)
    [(id, name, text)] = calls_of(chunks).values()
    assert (id, name, json.loads(text or "{}")) == ("call_0", "f", expected)
    assert chunks[-1].finish_reason == "tool_calls"


async def test_a_history_with_odd_arguments_reaches_ollama(scripted: ScriptedUpstream, clients: Clients) -> None:
    calls = tuple(
        ToolCall(f"c{n}", "f", text) for n, text in enumerate(['{"a": "\\ud83d"}', "[1]", "{", "", "[" * 5000])
    )
    request = ChatRequest("m", (*QUESTION.messages, Message("assistant", "", tool_calls=calls)))
    await ask(reach(scripted, clients, "ollama"), request)
    sent = [call["function"]["arguments"] for call in scripted.requests[0].json["messages"][1]["tool_calls"]]
    assert sent == [{"a": "\ufffd"}, {"arguments": [1]}, {"arguments": "{"}, {}, {"arguments": "[" * 5000}]
