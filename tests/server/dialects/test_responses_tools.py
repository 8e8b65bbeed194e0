"""The tools of a Responses request: offered as functions, called as the items that clients expect
(A3, W10).
"""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from chorus.errors import InvalidRequest
from tests.kit import Say, ScriptedUpstream
from tests.server.dialects.responses import asked, calling, chat, functions, output, streamed

FUNCTION = {"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits files.", "format": GRAMMAR}
NAMESPACE = {
    "type": "namespace",
    "name": "agents",
    "description": "Of agents.",
    "tools": [{**FUNCTION, "name": "spawn"}],
}
HOSTED = (
    {"type": "web_search", "external_web_access": False},
    {"type": "web_search_preview"},
    {"type": "file_search", "vector_store_ids": ["vs_1"]},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "image_generation"},
    {"type": "computer_use_preview", "display_width": 1, "display_height": 1, "environment": "browser"},
    {"type": "mcp", "server_label": "x", "server_url": "https://example.com"},
    {"type": "shell", "environment": {"type": "container_auto"}},
    {"type": "tool_search"},
    {"type": "telepathy"},
    {"type": ["web_search"]},
)


@pytest.mark.parametrize("tool", HOSTED, ids=lambda tool: str(tool["type"]))
@pytest.mark.requirement("A3")
async def test_a_hosted_tool_is_left_out_with_a_warning(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, tool: dict[str, Any]
) -> None:
    body = {"model": "glm", "input": "hi", "tools": [FUNCTION, tool]}
    response = await client.post("/v1/responses", json=body)
    assert response.status_code == 200, response.text
    assert "left out" in response.headers["x-chorus-warning"]
    assert "telepathy" not in response.headers["x-chorus-warning"]
    assert [each["function"]["name"] for each in scripted.calls("glm")[0].json["tools"]] == ["look"]


@pytest.mark.parametrize("tools", [[FUNCTION], [FUNCTION, NAMESPACE], [{"type": "local_shell"}]])
@pytest.mark.requirement("A3")
def test_what_loses_nothing_needs_no_warning(tools: list[Any]) -> None:
    assert asked(tools=tools).warnings == ()


@pytest.mark.requirement("A3")
def test_a_custom_tool_is_a_function_with_one_text() -> None:
    function = functions(tools=[FUNCTION, PATCH])["apply_patch"]
    assert "Edits files." in function["description"]
    assert GRAMMAR["definition"] in function["description"]
    assert function["parameters"]["required"] == ["input"]
    assert function["parameters"]["properties"]["input"]["type"] == "string"


@pytest.mark.parametrize("pieces", [1, 3, 1000])
@pytest.mark.requirement("W10")
def test_a_call_of_a_custom_tool_comes_back_as_one(pieces: int) -> None:
    text = 'line\n"quoted" \\ 好🙂'
    request, events = asked(tools=[PATCH]), calling(("apply_patch", json.dumps({"input": text})), pieces=pieces)
    (item,) = output(request, events)
    assert item["type"] == "custom_tool_call"
    assert (item["name"], item["call_id"], item["input"]) == ("apply_patch", "call_0", text)
    frames = streamed(request, events)
    deltas = [frame["delta"] for frame in frames if frame["type"] == "response.custom_tool_call_input.delta"]
    assert "".join(deltas) == text
    assert len(deltas) > 1 or pieces == 1
    assert [frame["input"] for frame in frames if frame["type"] == "response.custom_tool_call_input.done"] == [text]
    assert not any("function_call" in frame["type"] for frame in frames)


@pytest.mark.requirement("W10")
def test_a_call_of_the_local_shell_comes_back_as_one() -> None:
    arguments = json.dumps({"command": ["ls", "-l"], "timeout_ms": 5, "working_directory": "/tmp", "env": {"A": "1"}})
    (item,) = output(asked(tools=[{"type": "local_shell"}]), calling(("local_shell", arguments)))
    assert item["type"] == "local_shell_call"
    assert item["call_id"] == "call_0"
    assert item["action"] == {"type": "exec", **json.loads(arguments)}


@pytest.mark.parametrize(
    ("tool", "arguments", "fields"),
    [
        (
            {"type": "shell"},
            {"commands": ["ls"]},
            {"type": "shell_call", "action": {"commands": ["ls"], "timeout_ms": None, "max_output_length": None}},
        ),
        (
            {"type": "apply_patch"},
            {"type": "create_file", "path": "a", "diff": "+x"},
            {"type": "apply_patch_call", "operation": {"type": "create_file", "path": "a", "diff": "+x"}},
        ),
        (
            {"type": "tool_search", "execution": "client", "description": "d", "parameters": {"type": "object"}},
            {"query": "mail"},
            {"type": "tool_search_call", "execution": "client", "arguments": {"query": "mail"}},
        ),
        (
            {"type": "local_shell"},
            {"command": "ls -l"},
            {"type": "local_shell_call", "action": {"type": "exec", "command": ["bash", "-lc", "ls -l"], "env": {}}},
        ),
    ],
)
@pytest.mark.requirement("W10")
def test_tools_that_the_client_runs_have_items_of_their_own(
    tool: dict[str, Any], arguments: dict[str, Any], fields: dict[str, Any]
) -> None:
    (item,) = output(asked(tools=[tool]), calling((tool["type"], json.dumps(arguments))))
    assert item["call_id"] == "call_0"
    assert item["status"] == "completed"
    assert {key: item[key] for key in fields} == fields


@pytest.mark.requirement("W10")
def test_broken_arguments_are_no_error() -> None:
    tools = [{"type": each} for each in ("local_shell", "shell", "apply_patch")]
    calls = [(each["type"], "not JSON") for each in tools]
    assert len(output(asked(tools=tools), calling(*calls))) == 3


@pytest.mark.requirement("A3")
def test_a_namespace_is_flattened_and_its_calls_name_it() -> None:
    assert list(functions(tools=[NAMESPACE])) == ["spawn"]
    assert functions(tools=[NAMESPACE])["spawn"]["description"] == "Of agents."
    for called in ("spawn", "agents__spawn", "agents.spawn"):
        (item,) = output(asked(tools=[NAMESPACE]), calling((called, "{}")))
        assert (item["type"], item["name"], item["namespace"]) == ("function_call", "spawn", "agents")


@pytest.mark.requirement("A3")
def test_names_that_clash_say_their_namespace() -> None:
    other = {**NAMESPACE, "name": "people"}
    plain = {**FUNCTION, "name": "spawn"}
    tools = [NAMESPACE, other, plain]
    names = list(functions(tools=tools))
    assert len(set(names)) == 3
    assert "spawn" in names
    found = {
        (item.get("namespace"), item["name"])
        for name in names
        for item in output(asked(tools=tools), calling((name, "{}")))
    }
    assert found == {(None, "spawn"), ("agents", "spawn"), ("people", "spawn")}


@pytest.mark.requirement("A3")
def test_functions_keep_their_names_and_tools_their_order() -> None:
    custom = {"type": "custom", "name": "look"}
    assert list(functions(tools=[NAMESPACE, custom, FUNCTION])) == ["spawn", "custom__look", "look"]


@pytest.mark.requirement("A3")
def test_names_are_those_that_chat_allows() -> None:
    long = {"type": "namespace", "name": "mcp.server/" + "x" * 80, "tools": [FUNCTION, {**FUNCTION, "name": "a b"}]}
    for name in functions(tools=[FUNCTION, long, {**PATCH, "name": "look"}]):
        assert len(name) <= 64
        assert name.replace("_", "").replace("-", "").isalnum()


@pytest.mark.requirement("A3")
def test_a_function_that_the_client_did_not_offer_is_called_by_its_name() -> None:
    (item,) = output(asked(tools=[PATCH]), calling(("surprise", "{}")))
    assert (item["type"], item["name"]) == ("function_call", "surprise")


@pytest.mark.requirement("A3")
def test_the_history_uses_the_names_of_the_functions() -> None:
    items = [
        {"type": "function_call", "call_id": "c", "name": "spawn", "namespace": "agents", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
    ]
    request = chat(tools=[{**FUNCTION, "name": "spawn"}, NAMESPACE], input=items)
    assert request.messages[0].tool_calls[0].name == "agents__spawn"


@pytest.mark.parametrize(
    ("choice", "sent", "names"),
    [
        ("auto", "auto", {"look", "apply_patch", "local_shell"}),
        ("required", "required", {"look", "apply_patch", "local_shell"}),
        ({"type": "function", "name": "look"}, "look", {"look", "apply_patch", "local_shell"}),
        ({"type": "function", "function": {"name": "look"}}, "look", {"look", "apply_patch", "local_shell"}),
        ({"type": "custom", "name": "apply_patch"}, "apply_patch", {"look", "apply_patch", "local_shell"}),
        ({"type": "local_shell"}, "local_shell", {"look", "apply_patch", "local_shell"}),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]},
            "auto",
            {"look"},
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "custom", "name": "apply_patch"}, {"type": "web_search"}, {"type": "local_shell"}],
            },
            "required",
            {"apply_patch", "local_shell"},
        ),
    ],
)
@pytest.mark.requirement("A3")
def test_tool_choice(choice: Any, sent: str, names: set[str]) -> None:
    tools = [FUNCTION, PATCH, {"type": "local_shell"}, {"type": "web_search"}]
    request = chat(tools=tools, tool_choice=choice)
    wanted = sent if sent in ("auto", "required") else {"type": "function", "function": {"name": sent}}
    assert request.tool_choice == wanted
    assert {tool["function"]["name"] for tool in request.tools} == names


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "web_search"},
        {"type": "function", "name": "gone"},
        {"type": "mcp", "server_label": "x"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "web_search"}]},
        {"type": ["function"]},
        {},
    ],
)
@pytest.mark.requirement("A3")
def test_a_choice_of_a_tool_that_is_left_out_leaves_it_to_the_model(choice: Any) -> None:
    request = asked(tools=[FUNCTION, {"type": "web_search"}], tool_choice=choice)
    assert request.requests[0].tool_choice is None
    assert any("tool_choice" in sentence for sentence in request.warnings)


@pytest.mark.requirement("A3")
def test_required_without_any_tool_is_left_out() -> None:
    request = asked(tools=[{"type": "web_search"}], tool_choice="required")
    assert request.requests[0].tool_choice is None
    assert any("tool_choice" in sentence for sentence in request.warnings)


@pytest.mark.requirement("A6")
def test_a_function_without_a_name_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        asked(tools=[FUNCTION, {"type": "function"}])
    assert refused.value.param == "tools[1]"


@pytest.mark.requirement("A3")
def test_tools_that_items_bring_are_offered_once() -> None:
    items = [
        {"type": "additional_tools", "role": "developer", "tools": [FUNCTION]},
        {"type": "tool_search_call", "call_id": "s", "execution": "client", "arguments": {"query": "x"}},
        {"type": "tool_search_output", "call_id": "s", "execution": "client", "tools": [FUNCTION, NAMESPACE]},
        {"role": "user", "content": "go on"},
    ]
    request = chat(input=items, tools=[FUNCTION])
    assert [tool["function"]["name"] for tool in request.tools] == ["look", "spawn"]
    assert [message.role for message in request.messages] == ["assistant", "tool", "user"]
    assert "spawn" in request.messages[1].text


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("model", ["glm", "chorus"])
@pytest.mark.requirement("A3")
async def test_a_call_without_arguments_has_an_empty_object(
    client: httpx.AsyncClient, scripted: ScriptedUpstream, stream: bool, model: str
) -> None:
    answer = Say(tool_calls=[{"id": "c1", "name": "look", "arguments": ""}], finish="tool_calls")
    scripted.on("glm", answer).on("kimi", answer)
    body = {"model": model, "input": "hi", "tools": [FUNCTION], "stream": stream}
    response = await client.post("/v1/responses", json=body)
    events = [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: {")]
    [item] = (events[-1]["response"] if stream else response.json())["output"]
    assert (item["type"], item["name"], item["arguments"]) == ("function_call", "look", "{}")
    if stream:
        deltas = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
        [done] = [event for event in events if event["type"] == "response.function_call_arguments.done"]
        assert "".join(deltas) == done["arguments"] == "{}"
