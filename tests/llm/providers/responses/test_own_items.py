"""What only the Responses API knows, of a client that speaks it: passed on, brought back, and left
out elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.kit.providers import ModelAnswer
from tests.kit.providers.responses import ResponsesProvider
from tests.kit.providers.responses_wire import Item, function_call, message, reasoning, web_search
from tests.server.running import Running

FUNCTION = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}, "strict": None}
SEARCH = {"type": "web_search"}
SHELL: Item = {
    "type": "local_shell_call",
    "id": "lsh_1",
    "call_id": "call_1",
    "status": "completed",
    "action": {"type": "exec", "command": ["ls"], "env": {}, "timeout_ms": None},
}
CODE: Item = {
    "type": "code_interpreter_call",
    "id": "ci_1",
    "status": "completed",
    "code": "1 + 1",
    "container_id": "cntr_1",
    "outputs": [{"type": "logs", "logs": "2"}],
}
MCP: Item = {
    "type": "mcp_call",
    "id": "mcp_1",
    "name": "find",
    "server_label": "docs",
    "arguments": "{}",
    "output": "found",
    "error": None,
    "status": "completed",
}
APPROVAL: Item = {
    "type": "mcp_approval_request",
    "id": "mcpr_1",
    "name": "drop",
    "server_label": "docs",
    "arguments": "{}",
}

pytestmark = [pytest.mark.requirement("L2"), pytest.mark.requirement("A3")]


@pytest.fixture
def http(server: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.base, timeout=20, trust_env=False) as http:
        yield http


def answered(http: httpx.Client, **fields: Any) -> tuple[dict[str, Any], str]:
    reply = http.post("/v1/responses", json={"model": "m", "input": "hi", **fields})
    assert reply.status_code == 200, reply.text
    return reply.json(), reply.headers.get("x-chorus-warning", "")


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("required", "required"),
        ({"type": "web_search"}, {"type": "web_search"}),
        ({"type": "function", "name": "look"}, {"type": "function", "name": "look"}),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "web_search"}, {"type": "function", "name": "look"}],
            },
            None,
        ),
    ],
)
def test_tools_and_the_choice_among_them(
    http: httpx.Client, provider: ResponsesProvider, choice: Any, sent: Any
) -> None:
    _, warning = answered(http, tools=[FUNCTION, SEARCH], tool_choice=choice)
    body = provider.requests[-1].body
    assert (body["tools"], body["tool_choice"]) == ([FUNCTION, SEARCH], sent or choice)
    assert warning == ""


def test_fields_that_chat_has_not(http: httpx.Client, provider: ResponsesProvider) -> None:
    fields: dict[str, Any] = {
        "truncation": "auto",
        "max_tool_calls": 3,
        "metadata": {"a": "b"},
        "include": ["web_search_call.action.sources"],
        "reasoning": {"effort": "low", "summary": "detailed"},
        "text": {"verbosity": "low"},
        "tools": [SEARCH],
        "service_tier": "flex",
    }
    _, warning = answered(http, **fields)
    body = provider.requests[-1].body
    assert {key: body[key] for key in fields if key != "include"} == {k: v for k, v in fields.items() if k != "include"}
    assert body["include"] == ["web_search_call.action.sources", "reasoning.encrypted_content"]
    assert warning == ""


@pytest.mark.parametrize("item", [SHELL, CODE, MCP, APPROVAL], ids=lambda item: str(item["type"]))
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_item_of_its_own_goes_there_and_back_as_it_is(
    client: OpenAI, provider: ResponsesProvider, item: Item, stream: bool
) -> None:
    provider.outputs = [[reasoning("rs_1", encrypted="gAAA"), item, message("msg_1", "So.")]]
    first: Any = {"role": "user", "content": "Go."}
    if stream:
        events = list(client.responses.create(model="m", input=[first], stream=True, store=False))
        answer: Any = events[-1].response  # type: ignore[union-attr]
    else:
        answer = client.responses.create(model="m", input=[first], store=False)
    output = [each.model_dump(exclude_unset=True) for each in answer.output]
    assert output[1] == item
    more: list[Any] = []
    if item is SHELL:
        more = [{"type": "local_shell_call_output", "id": "lsho_1", "call_id": "call_1", "output": "a.txt"}]
    if item is APPROVAL:
        more = [{"type": "mcp_approval_response", "approval_request_id": "mcpr_1", "approve": True}]
    provider.script(ModelAnswer("Fine."))
    answer = client.responses.create(model="m", input=[first, *output, *more, first], store=False)
    assert answer.output_text == "Fine."
    assert not provider.refusals
    sent = provider.requests[-1].body["input"]
    assert [each.get("type", "message") for each in sent].count(item["type"]) == 1
    assert item in sent
    assert all(each in sent for each in more)
    assert [each["id"] for each in sent if each.get("type") == "reasoning"] == ["rs_1"]


def test_reasoning_of_openai_itself_goes_on(http: httpx.Client, provider: ResponsesProvider) -> None:
    """A client that spoke to OpenAI before brings its reasoning with it."""
    thought = reasoning("rs_9", "Hm.", encrypted="gZZZ")
    provider.issued["rs_9"] = {**thought, "next": "message"}
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "So."}]}
    answered(http, input=[{"role": "user", "content": "hi"}, thought, said, {"role": "user", "content": "and?"}])
    assert thought in provider.requests[-1].body["input"]
    assert not provider.refusals


def test_previous_response_id_is_kept_here(client: OpenAI, provider: ResponsesProvider) -> None:
    provider.outputs = [[reasoning("rs_1", "Hm.", encrypted="gAAA"), web_search("ws_1", "q"), message("msg_1", "So.")]]
    first = client.responses.create(model="m", input="Where?", tools=[SEARCH])  # type: ignore[list-item]
    client.responses.create(model="m", input="And?", previous_response_id=first.id)
    body = provider.requests[-1].body
    assert "previous_response_id" not in body
    kinds = [item.get("type", "message") for item in body["input"]]
    assert kinds == ["message", "reasoning", "web_search_call", "message", "message"]
    assert not provider.refusals


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/api/chat"])
def test_items_of_hosted_tools_stay_out_of_other_dialects(
    http: httpx.Client, provider: ResponsesProvider, path: str
) -> None:
    provider.outputs = [[web_search("ws_1", "q"), message("msg_1", "So.")]]
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False, "include_workflow": True}
    reply = http.post(path, json=body)
    assert reply.status_code == 200
    assert "So." in reply.text
    assert "ws_1" not in reply.text
    assert "web_search_call" in str(reply.json()["workflow"])


def test_a_workflow_gets_functions_only(http: httpx.Client, provider: ResponsesProvider) -> None:
    provider.script(ModelAnswer("So."))
    _, warning = answered(http, model="chorus/flow", tools=[FUNCTION, SEARCH])
    assert "web_search is left out" in warning
    for request in provider.requests:
        assert SEARCH not in request.body.get("tools", [])
    assert not provider.refusals


def test_a_call_in_a_namespace(http: httpx.Client, provider: ResponsesProvider) -> None:
    space = {"type": "namespace", "name": "agents", "description": "Of agents.", "tools": [FUNCTION]}
    call = {**function_call("fc_1", "call_1", "look", {}), "namespace": "agents"}
    provider.outputs = [[call]]
    body, _ = answered(http, tools=[space])
    assert body["output"] == [call]
    result = {"type": "function_call_output", "call_id": "call_1", "output": "seen"}
    answered(http, tools=[space], input=[{"role": "user", "content": "hi"}, *body["output"], result])
    assert provider.requests[-1].body["input"][1:] == [call, result]
    assert not provider.refusals
