"""Reasoning of several steps in one answer: it returns unchanged, each item before what it was for,
in every dialect.
"""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.kit.providers import ModelAnswer
from tests.kit.providers.responses import ResponsesProvider
from tests.kit.providers.responses_wire import function_call, message, reasoning
from tests.llm.providers.matrix.clients import CLIENTS, Client
from tests.llm.providers.matrix.terms import Question, ToolResult
from tests.server.running import Running

KEEPING = [name for name in CLIENTS if name != "ollama"]
"""Ollama's protocol has no place for what a provider wants back."""
STEPS = [
    reasoning("rs_1", "First.", "Second part.", encrypted="gAAA"),
    message("msg_1", "I look twice.", phase="commentary"),
    reasoning("rs_2", encrypted="gBBB"),
    function_call("fc_1", "call_1", "weather", {"city": "Paris"}),
    reasoning("rs_3", "And there.", encrypted="gCCC"),
    function_call("fc_2", "call_2", "weather", {"city": "北京"}),
]


@pytest.fixture
def http(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base, timeout=20, trust_env=False) as http:
        yield http


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.requirement("L2")
def test_every_step_returns_before_its_call(
    http: httpx.Client, provider: ResponsesProvider, name: str, stream: bool
) -> None:
    client: Client = CLIENTS[name]
    provider.output = STEPS
    question = Question(("Where?",), model="m", tools=("weather",), thinks=True, stream=stream)
    called = client.ask(http, question)
    assert [call.id for call in called.calls] == ["call_1", "call_2"]
    provider.output = None
    provider.script(ModelAnswer("Sun."))
    results = [ToolResult(call, "sun") for call in called.calls]
    assert client.ask(http, question.after(called, *results)).text == "Sun."
    assert not provider.refusals
    sent = provider.requests[-1].body["input"]
    assert [item for item in sent if item.get("type") == "reasoning"] == [STEPS[0], STEPS[2], STEPS[4]]
    assert [item.get("type", "message") for item in sent[1:7]] == [item["type"] for item in STEPS]
    assert sent[2]["phase"] == "commentary"


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.requirement("L2")
def test_a_conversation_that_began_elsewhere_goes_on(
    http: httpx.Client, provider: ResponsesProvider, name: str
) -> None:
    """What the client has dropped, or another upstream has signed, is no reason to refuse the
    conversation.
    """
    client = CLIENTS[name]
    provider.output = STEPS
    question = Question(("Where?",), model="m", tools=("weather",), thinks=True)
    called = client.ask(http, question)
    provider.forget()  # another organisation: it can read none of the reasoning
    results = [ToolResult(call, "sun") for call in called.calls]
    assert client.ask(http, question.after(called, *results)).text == "ready"
    assert len(provider.refusals) <= 1


@pytest.mark.parametrize("name", CLIENTS)
@pytest.mark.requirement("W1")
def test_a_workflow_of_such_models(http: httpx.Client, provider: ResponsesProvider, name: str) -> None:
    question = Question(("Where?",), model="chorus/flow", system="Be brief.", tools=("weather",))
    provider.script(ModelAnswer("It rains."))
    answer = CLIENTS[name].ask(http, question)
    assert (answer.status, answer.text) == (200, "It rains.")
    assert not provider.refusals
