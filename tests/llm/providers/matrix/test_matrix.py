"""Dialect × provider × what is asked, whole and streamed (A2 to A5, L2, L3, L4)."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.kit.providers import Failure, ModelAnswer, ReceivedRequest, ScriptedProvider, ToolUse
from tests.kit.providers.http import KEY
from tests.llm.providers.matrix.clients import CLIENTS, Client
from tests.llm.providers.matrix.terms import Question, ToolResult

IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PARIS, BEIJING = ToolUse("weather", {"city": "Paris"}), ToolUse("weather", {"city": "北京"})

pytestmark = [
    pytest.mark.slow,  # 150 tests for each provider: `make test-fast` does without
    pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS.keys()),
    pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"]),
]


def asking(*turns: Any, stream: bool, **more: Any) -> Question:
    return Question(turns or ("What is the weather?",), stream=stream, **more)


def names(calls: tuple[ToolUse, ...]) -> list[tuple[str, Any]]:
    return [(call.name, call.arguments) for call in calls]


@pytest.mark.every_cell
@pytest.mark.requirement("L2")
def test_text(http: httpx.Client, provider: ScriptedProvider, client: Client, stream: bool) -> None:
    provider.script(ModelAnswer("The answer is 好🙂.", usage=(11, 7)))
    answer = client.ask(http, asking("How?", system="Be brief.", stream=stream))
    assert (answer.status, answer.text, answer.finish) == (200, "The answer is 好🙂.", "stop")
    assert answer.usage == (11, 7)
    [request] = provider.requests
    assert (request.system, [turn.text for turn in request.turns]) == ("Be brief.", ["How?"])
    assert request.key == KEY
    assert not provider.refusals


@pytest.mark.requirement("L2")
def test_an_answer_that_is_cut_at_its_limit(
    http: httpx.Client, provider: ScriptedProvider, client: Client, stream: bool
) -> None:
    provider.script(ModelAnswer("one two", finish="length"))
    answer = client.ask(http, asking(stream=stream))
    assert (answer.text, answer.finish) == ("one two", "length")


@pytest.mark.requirement("L2")
def test_a_refusal_keeps_its_words(
    http: httpx.Client, provider: ScriptedProvider, client: Client, stream: bool
) -> None:
    provider.script(ModelAnswer("I cannot say.", finish="content_filter"))
    answer = client.ask(http, asking(stream=stream))
    assert (answer.status, answer.text) == (200, "I cannot say.")
    # Ollama's clients know no word for it
    is_said = provider.says_filtered and client.name != "ollama"
    assert answer.finish == ("content_filter" if is_said else "stop")


@pytest.mark.every_cell
@pytest.mark.requirement("L2")
def test_tools(http: httpx.Client, provider: ScriptedProvider, client: Client, stream: bool) -> None:
    provider.script(ModelAnswer("I look.", calls=(PARIS,)), ModelAnswer("It rains."))
    question = asking(tools=("weather",), stream=stream)
    called = client.ask(http, question)
    assert (called.text, called.finish) == ("I look.", "tool_calls")
    assert names(called.calls) == names((PARIS,))
    answer = client.ask(http, question.after(called, ToolResult(called.calls[0], "rain")))
    assert (answer.text, answer.finish) == ("It rains.", "stop")
    first, second = provider.requests
    assert first.tools == second.tools == ("weather",)
    user, assistant, tool = second.turns
    assert (user.role, assistant.role, assistant.text) == ("user", "assistant", "I look.")
    assert names(assistant.calls) == names((PARIS,))
    assert (tool.role, tool.text, tool.call_id) == ("tool", "rain", assistant.calls[0].id)
    assert not provider.refusals


@pytest.mark.requirement("L2")
@pytest.mark.parametrize(
    "name", ["git.status", "mcp__plugin_everything-claude-code_github__create_pull_request_review"]
)
def test_names_of_tools(
    http: httpx.Client, provider: ScriptedProvider, client: Client, stream: bool, name: str
) -> None:
    """The client's name comes back, whatever name the provider takes."""

    def answer(request: ReceivedRequest) -> ModelAnswer:
        is_done = any(turn.role == "tool" for turn in request.turns)
        return ModelAnswer("Clean.") if is_done else ModelAnswer(calls=(ToolUse(request.tools[0], {"city": "Paris"}),))

    provider.script(answer)
    question = asking(tools=(name, "weather"), stream=stream)
    called = client.ask(http, question)
    assert names(called.calls) == [(name, {"city": "Paris"})], called
    said = client.ask(http, question.after(called, ToolResult(called.calls[0], "clean")))
    assert said.text == "Clean."
    first, second = provider.requests
    assert first.tools == second.tools
    assert [call.name for turn in second.turns for call in turn.calls] == [first.tools[0]]
    assert len(provider.refusals) <= 1  # which teaches


@pytest.mark.requirement("L2")
def test_parallel_tools(http: httpx.Client, provider: ScriptedProvider, client: Client, stream: bool) -> None:
    provider.script(ModelAnswer(calls=(PARIS, BEIJING)), ModelAnswer("Rain and sun."))
    question = asking(tools=("weather", "time"), stream=stream)
    called = client.ask(http, question)
    assert called.finish == "tool_calls"
    assert names(called.calls) == names((PARIS, BEIJING))
    results = [ToolResult(call, text) for call, text in zip(called.calls, ("rain", "sun"), strict=True)]
    answer = client.ask(http, question.after(called, *results))
    assert answer.text == "Rain and sun."
    _, assistant, *tools = provider.requests[-1].turns
    assert names(assistant.calls) == names((PARIS, BEIJING))
    assert [tool.text for tool in tools] == ["rain", "sun"]
    assert [tool.call_id for tool in tools] == [call.id for call in assistant.calls]
    assert not provider.refusals


@pytest.mark.requirement("L2")
def test_tool_results_with_images(http: httpx.Client, provider: ScriptedProvider, client: Client, stream: bool) -> None:
    provider.script(ModelAnswer(calls=(PARIS,)), ModelAnswer("A white dot."))
    question = asking(tools=("weather",), stream=stream)
    called = client.ask(http, question)
    answer = client.ask(http, question.after(called, ToolResult(called.calls[0], "a picture", IMAGE)))
    assert (answer.status, answer.text) == (200, "A white dot.")
    _, _, tool, *behind = provider.requests[-1].turns
    assert (tool.role, tool.text) == ("tool", "a picture")
    holder = tool if provider.tool_images else behind[0]
    assert holder.images == (IMAGE,)
    assert not provider.refusals


@pytest.mark.every_cell
@pytest.mark.requirement("L2")
def test_thinking_goes_there_and_back(
    http: httpx.Client, provider: ScriptedProvider, client: Client, stream: bool
) -> None:
    thought = ModelAnswer("I look.", thinking="Paris, I think.", signature="c2lnbmVk", calls=(PARIS,))
    provider.script(thought, ModelAnswer("It rains."))
    question = asking(tools=("weather",), thinks=True, stream=stream)
    called = client.ask(http, question)
    assert (called.text, called.thinking) == ("I look.", "Paris, I think.")
    answer = client.ask(http, question.after(called, ToolResult(called.calls[0], "rain")))
    assert answer.text == "It rains."
    assert not provider.refusals
    _, assistant, _ = provider.requests[-1].turns
    assert assistant.thinking == ("Paris, I think." if "thinking" in provider.keeps else "")
    assert assistant.signature == ("c2lnbmVk" if "signature" in provider.keeps else "")


@pytest.mark.requirement("L2")
def test_a_schema(http: httpx.Client, provider: ScriptedProvider, client: Client, stream: bool) -> None:
    provider.script(ModelAnswer('{"city": "Paris"}'))
    answer = client.ask(http, asking(schema=SCHEMA, stream=stream))
    assert json.loads(answer.text) == {"city": "Paris"}
    assert provider.requests[-1].schema == SCHEMA
    assert not provider.refusals


@pytest.mark.requirement("L2")
def test_a_system_prompt_of_200_000_characters(
    http: httpx.Client, provider: ScriptedProvider, client: Client, stream: bool
) -> None:
    system = "规则: be brief. " * (200_000 // 14)
    provider.script(ModelAnswer("Yes."))
    answer = client.ask(http, asking(system=system, stream=stream))
    assert answer.text == "Yes."
    assert provider.requests[-1].system == system
    assert not provider.refusals


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (Failure("refused", "The city is unknown to us."), 400, "upstream_refused"),
        (Failure("unauthorized", "That key is unknown."), 502, "upstream_status"),
        (Failure("rate_limited", "Slowly.", retry_after=7), 429, "upstream_rate_limited"),
        (Failure("server_error", "It fell over."), 502, "upstream_status"),
        (Failure("overloaded", "Too many ask."), 502, "upstream_status"),
    ],
    ids=lambda value: value.kind if isinstance(value, Failure) else "",
)
@pytest.mark.requirement("L3")
def test_an_error_has_its_status_and_its_reason(
    http: httpx.Client,
    provider: ScriptedProvider,
    client: Client,
    stream: bool,
    failure: Failure,
    status: int,
    code: str,
) -> None:
    provider.script(failure)
    answer = client.ask(http, asking(stream=stream))
    assert (answer.status, answer.code or code) == (status, code)
    assert failure.message in answer.error
    assert KEY not in answer.error
    if failure.retry_after is not None:
        assert answer.headers["retry-after"] == f"{failure.retry_after:g}"
    assert len(provider.requests) == 1


@pytest.mark.parametrize("kind", ["overloaded", "rate_limited", "server_error"])
@pytest.mark.requirement("L4")
def test_what_passes_is_tried_again(
    http: httpx.Client, provider: ScriptedProvider, client: Client, stream: bool, kind: Any
) -> None:
    provider.script(Failure(kind, retry_after=0), ModelAnswer("Here it is."))
    answer = client.ask(http, asking(model="again", stream=stream))
    assert (answer.status, answer.text) == (200, "Here it is.")
    assert len(provider.requests) == 2


@pytest.mark.requirement("L3")
def test_an_answer_that_breaks_off_is_no_answer(
    http: httpx.Client, provider: ScriptedProvider, client: Client, stream: bool
) -> None:
    provider.script(Failure("cut", text="Half an"))
    answer = client.ask(http, asking(stream=stream))
    assert answer.finish is None
    assert answer.error
    assert (answer.status, answer.text) == ((200, "Half an") if stream else (502, ""))
