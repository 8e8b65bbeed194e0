"""Requests beside the conversation go to one model where the configuration says so (issue 11, kind
16).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from chorus import config as configuration
from chorus.errors import ConfigError
from chorus.server.dialects.openai.chat import OpenAIChat
from chorus.server.dialects.side_requests import side_request
from chorus.snapshot import workflow_problems
from tests.kit import ScriptedUpstream
from tests.server.running import Running, running

TITLE = (
    "### Task:\nGenerate a concise, 3-5 word title with an emoji summarizing the chat history.\n### Guidelines:\n- x"
)
TAGS = "### Task:\nGenerate 1-3 broad tags categorizing the main themes of the chat history"
FOLLOW_UPS = "### Task:\nSuggest 3-5 relevant follow-up questions or prompts that the user might naturally ask next"
AUTOCOMPLETE = "### Task:\nYou are an autocompletion system. Continue the text in `<text>`"
QUERIES = "### Task:\nAnalyze the chat history to determine the necessity of generating search queries"
DOCUMENTS = "### Task:\nRespond to the user query using the provided context, incorporating inline citations"
LIBRECHAT = "Provide a concise, 5-word-or-less title for the conversation, using title case conventions."
OPENCODE = "You are a title generator. You output ONLY a thread title. Nothing else."
CLAUDE_CODE = "Analyze if this message indicates a new conversation topic. If it does, extract a 2-3 word title"
CONFIG = """
[[model]]
name = "one"
api_base = "{base}"

[[model]]
name = "two"
api_base = "{base}"

[workflow]
side_requests = "model"
{more}

[workflow-integration]
workers = [{{ name = "two" }}, {{ name = "one" }}]
selector = {{ name = "one" }}
synthesizer = {{ name = "one" }}
"""


def kind(*messages: dict[str, Any], **more: Any) -> str | None:
    body = {"model": "chorus", "messages": list(messages), **more}
    return side_request(body, OpenAIChat().parse(body).requests[0])


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (TITLE, "title"),
        (TAGS, "tags"),
        (FOLLOW_UPS, "follow_ups"),
        (AUTOCOMPLETE, "autocomplete"),
        (QUERIES, "queries"),
        (LIBRECHAT, "title"),
        (OPENCODE, "title"),
        (CLAUDE_CODE, "title"),
        (DOCUMENTS, None),
        ("How does one generate a concise title?", None),
        ("### Task:\nWrite my essay about titles and tags.", None),
        ("", None),
    ],
)
def test_prompts_of_applications_are_recognised_and_conversations_are_not(prompt: str, expected: str | None) -> None:
    assert kind({"role": "user", "content": prompt}) == expected
    assert kind({"role": "system", "content": prompt}, {"role": "user", "content": "What of it?"}) == expected
    assert kind({"role": "user", "content": [{"type": "text", "text": prompt}]}, max_tokens=1000) == expected


def test_what_speaks_against_it() -> None:
    title = {"role": "user", "content": TITLE}
    tool = {"type": "function", "function": {"name": "f"}}
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert kind(title, tools=[tool]) is None
    assert kind(title, max_tokens=32_000) is None
    assert kind({"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "c"}, title) is None
    assert kind({"role": "assistant", "content": TITLE}, {"role": "user", "content": "Go on."}) is None
    assert kind({"role": "user", "content": "x"}, metadata={"task": "title_generation"}) == "title"
    assert kind({"role": "user", "content": "x"}, metadata={"task": "default"}) is None


@pytest.fixture(params=["", 'side_model = "one"'])
def served(request: pytest.FixtureRequest, scripted: ScriptedUpstream) -> Iterator[tuple[Running, str]]:
    with running(CONFIG.format(base=scripted.api_base, more=request.param)) as server:
        yield server, "one" if request.param else "two"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": TITLE}]}),
        ("/v1/messages", {"system": OPENCODE, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 99}),
        ("/api/chat", {"messages": [{"role": "user", "content": LIBRECHAT}], "stream": False}),
        ("/v1/responses", {"input": TAGS}),
    ],
)
async def test_one_model_answers_and_the_trace_and_a_header_say_so(
    served: tuple[Running, str], scripted: ScriptedUpstream, path: str, body: dict[str, Any]
) -> None:
    server, model = served
    async with httpx.AsyncClient(base_url=server.base) as client:
        context = await client.post(path, json={"model": "chorus", "include_workflow": True, **body})
        assert context.status_code == 200
        assert context.json()["model"] == "chorus"
        assert [call.json["model"] for call in scripted.requests] == [model]
        expected = "tags" if path == "/v1/responses" else "title"
        assert context.headers["x-chorus-side-request"] == expected
        assert context.json()["workflow"]["side_request"] == expected
        scripted.forget()
        plain = await client.post(
            "/v1/chat/completions", json={"model": "chorus", "messages": [{"role": "user", "content": "Hi"}]}
        )
        assert "x-chorus-side-request" not in plain.headers
        assert len(scripted.requests) > 1


async def test_off_by_default(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    body = {"model": "chorus", "messages": [{"role": "user", "content": TITLE}]}
    context = await client.post("/v1/chat/completions", json=body)
    assert "x-chorus-side-request" not in context.headers
    assert len(scripted.requests) == 3


def test_a_side_model_has_to_be_there() -> None:
    with pytest.raises(ConfigError, match="side_model"):
        configuration.loads(
            CONFIG.format(base="http://a/v1", more='side_model = "three"'), environ={}, find_problems=workflow_problems
        )
