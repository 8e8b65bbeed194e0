"""What every library does the same way, against a single model, an Ollama model and `chorus`: a
tool's round trip, an answer in a schema, and leaving in mid-stream. What each does in its own way
is in the file of its name.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import ollama
import pytest
from anthropic import Anthropic
from openai import OpenAI
from pydantic import BaseModel

from tests.clients.capable import REPORT, capable
from tests.kit import ScriptedUpstream, ServerProcess

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
FUNCTION = {"name": "weather", "description": "The weather", "parameters": SCHEMA}
TOOLS: list[Any] = [{"type": "function", "function": FUNCTION}]


class Number(BaseModel):
    """A number."""

    n: int


@pytest.fixture
def base(server: ServerProcess, scripted: ScriptedUpstream) -> str:
    for name in ("glm", "kimi", "local"):
        scripted.on(name, capable)
    return server.base


def asking(content: str = "Rain?") -> list[Any]:
    return [{"role": "user", "content": content}]


def openai_chat(base: str, model: str) -> tuple[object, str | None, object]:
    with OpenAI(base_url=f"{base}/v1", api_key="x", max_retries=0) as client:
        message = client.chat.completions.create(model=model, messages=asking(), tools=TOOLS).choices[0].message
        [call] = message.tool_calls or ()
        assert call.type == "function"
        result = {"role": "tool", "tool_call_id": call.id, "content": "rain"}
        history: Any = [*asking(), message.model_dump(exclude_none=True), result]
        reply = client.chat.completions.create(model=model, messages=history, tools=TOOLS).choices[0].message.content
        parsed = client.chat.completions.parse(model=model, messages=asking("n?"), response_format=Number)
        return json.loads(call.function.arguments), reply, parsed.choices[0].message.parsed


def openai_responses(base: str, model: str) -> tuple[object, str | None, object]:
    tools: list[Any] = [{"type": "function", "strict": False, **FUNCTION}]
    with OpenAI(base_url=f"{base}/v1", api_key="x", max_retries=0) as client:
        asked = client.responses.create(model=model, input="Rain?", tools=tools)
        [call] = [item for item in asked.output if item.type == "function_call"]
        result: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "rain"}]
        reply = client.responses.create(model=model, input=result, tools=tools, previous_response_id=asked.id)
        with client.responses.stream(model=model, input="n?", text_format=Number) as stream:
            parsed = stream.get_final_response().output_parsed
        return json.loads(call.arguments), reply.output_text, parsed


def ollama_chat(base: str, model: str) -> tuple[object, str | None, object]:
    with ollama.Client(host=base, verify=False) as client:
        message = client.chat(model=model, messages=asking(), tools=TOOLS).message
        [call] = message.tool_calls or ()
        history = [*asking(), message, {"role": "tool", "tool_name": "weather", "content": "rain"}]
        reply = client.chat(model=model, messages=history, tools=TOOLS).message.content
        form = client.chat(model=model, messages=asking("n?"), format=Number.model_json_schema()).message.content
        return call.function.arguments, reply, Number.model_validate_json(form or "")


def anthropic_messages(base: str, model: str) -> tuple[object, str | None, object]:
    tools: list[Any] = [{"name": "weather", "description": "The weather", "input_schema": SCHEMA}]
    with Anthropic(base_url=base, api_key="x", max_retries=0) as client:
        asked = client.messages.create(model=model, max_tokens=99, messages=asking(), tools=tools)
        [call] = [block for block in asked.content if block.type == "tool_use"]
        result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "rain"}]}
        history: list[Any] = [*asking(), {"role": "assistant", "content": asked.content}, result]
        reply = client.messages.create(model=model, max_tokens=99, messages=history, tools=tools).content[0]
        parsed = client.messages.parse(model=model, max_tokens=99, messages=asking("n?"), output_format=Number)
        return call.input, reply.text if reply.type == "text" else None, parsed.parsed_output


@pytest.mark.parametrize("library", [openai_chat, openai_responses, ollama_chat, anthropic_messages])
@pytest.mark.requirement("W10")
def test_a_tool_round_trip_and_a_schema(base: str, library: Callable[..., Any], model: str) -> None:
    assert library(base, model) == ({"city": "Paris"}, REPORT, Number(n=7))


def openai_pieces(base: str, model: str, prompt: str) -> Iterator[str]:
    with (
        OpenAI(base_url=f"{base}/v1", api_key="x", max_retries=0) as client,
        client.chat.completions.create(model=model, messages=asking(prompt), stream=True) as stream,
    ):
        yield from (chunk.choices[0].delta.content or "" for chunk in stream)


def responses_pieces(base: str, model: str, prompt: str) -> Iterator[str]:
    with (
        OpenAI(base_url=f"{base}/v1", api_key="x", max_retries=0) as client,
        client.responses.create(model=model, input=prompt, stream=True) as stream,
    ):
        yield from (event.delta for event in stream if event.type == "response.output_text.delta")


def ollama_pieces(base: str, model: str, prompt: str) -> Iterator[str]:
    with ollama.Client(host=base, verify=False) as client:
        yield from (part.response for part in client.generate(model=model, prompt=prompt, stream=True))


def anthropic_pieces(base: str, model: str, prompt: str) -> Iterator[str]:
    with (
        Anthropic(base_url=base, api_key="x", max_retries=0) as client,
        client.messages.stream(model=model, max_tokens=99, messages=asking(prompt)) as stream,
    ):
        yield from stream.text_stream


@pytest.mark.parametrize("pieces", [openai_pieces, responses_pieces, ollama_pieces, anthropic_pieces])
@pytest.mark.requirement("W13")
def test_leaving_in_mid_stream(base: str, scripted: ScriptedUpstream, pieces: Callable[..., Any], model: str) -> None:
    with closing(pieces(base, model, "Hang at the end" if model == "chorus" else "Hang")) as stream:
        assert next(piece for piece in stream if piece) == "one"
    scripted.wait_idle_blocking()
    assert [call.model for call in scripted.requests if call.was_cancelled] == ["glm" if model == "chorus" else model]
