"""A request or a chunk that goes over the worker's wire arrives as it was sent (I1)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.errors import InvalidRequest
from chorus.llm.base import Chunk
from chorus.llm.providers.worker_answers import AnswerReader
from chorus.llm.providers.worker_messages import read_request, write_chunk, write_request
from chorus.types import (
    ROLES,
    ChatRequest,
    Image,
    Message,
    Opaque,
    Sampling,
    Text,
    ToolCall,
    ToolPiece,
    Tools,
)
from chorus.usage import Usage
from chorus.worker.v1 import inference_pb2 as pb

pytestmark = pytest.mark.requirement("I1")

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.text("abcxyz_", min_size=1, max_size=6).map("x_".__add__)
numbers = st.floats(0, 2)
counts = st.integers(0, 2**40)
values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | texts, lambda inner: st.lists(inner, max_size=2))
extras = st.dictionaries(names, values, max_size=2)
parts = (
    st.builds(Text, texts, extras)
    | st.builds(Image, texts, st.none() | st.sampled_from(["low", "high"]), extras)
    | st.builds(Opaque, st.dictionaries(names, values, min_size=1, max_size=2))
)
several = st.lists(parts, min_size=2, max_size=3).map(tuple)
messages = st.builds(
    Message,
    st.sampled_from(ROLES),
    texts | several,
    texts,
    st.lists(st.builds(ToolCall, texts, texts, texts, extras), max_size=2).map(tuple),
    st.none() | texts,
    st.none() | texts,
    extras,
)
samplings = st.builds(
    Sampling,
    *[st.none() | numbers] * 2,
    st.none() | counts,
    st.lists(texts, max_size=2).map(tuple),
    st.none() | counts,
    *[st.none() | numbers] * 2,
)
requests = st.builds(
    ChatRequest,
    model=st.just("glm"),
    messages=st.lists(messages, min_size=1, max_size=3).map(tuple),
    sampling=samplings,
    tools=st.lists(st.dictionaries(names, values, min_size=1, max_size=2), max_size=2).map(Tools),
    tool_choice=st.none() | st.sampled_from(["auto", {"type": "function"}]),
    parallel_tool_calls=st.none() | st.booleans(),
    response_format=st.none() | st.just({"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}),
    reasoning_effort=st.none() | st.sampled_from(["low", True, False]),
    logprobs=st.booleans(),
    top_logprobs=st.none() | st.integers(0, 20),
    suffix=st.none() | texts,
    echo=st.booleans(),
    extra=st.fixed_dictionaries({}, optional={"top_k": counts, "min_p": numbers, "x_other": values}),
)


@given(requests)
def test_a_request_arrives_as_it_was(request: ChatRequest) -> None:
    written = write_request(request, "glm", "req_1")
    arrived = pb.GenerateRequest.FromString(written.SerializeToString())
    assert arrived.request_id == "req_1"
    assert read_request(arrived) == request


def test_a_prompt_arrives_as_a_prompt() -> None:
    request = ChatRequest("glm", (Message("user", "Once"),), prompt="Once")
    written = write_request(request, "glm", "")
    assert (written.WhichOneof("input"), read_request(written)) == ("prompt", request)


def test_ollamas_options_arrive_as_sampling() -> None:
    options = {"top_k": 40, "repeat_penalty": 1.1, "num_ctx": 8192}
    sampling = write_request(ChatRequest("glm", (Message("user"),), ollama_options=options), "glm", "").sampling
    assert (sampling.top_k, sampling.repetition_penalty, sampling.HasField("min_p")) == (40, 1.1, False)


def test_a_chunk_arrives_as_it_was() -> None:
    reader = AnswerReader("glm", prompt_estimate=lambda: 0, logprobs=True)
    logprobs = {"content": [{"token": "a", "logprob": -0.5}]}
    chunk = Chunk(
        "Hi ½", "Hm", (ToolPiece(0, "c", "f", "{}", {"x": 1}),), None, Usage(9, 8, 7, 6), logprobs, {"y": [None]}
    )
    assert reader.read(arrived(chunk)) == chunk
    assert reader.read(arrived(Chunk(" there"))) == Chunk(" there")
    assert reader.read(arrived(Chunk(finish_reason="length"))) is None
    assert reader.end() == Chunk(finish_reason="length")


def arrived(chunk: Chunk) -> pb.GenerateResponse:
    return pb.GenerateResponse.FromString(write_chunk(chunk).SerializeToString())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "neither a prompt nor messages"),
        ({"prompt": "a", "openai_json": b"{"}, "'openai_json' is no JSON"),
        ({"prompt": "a", "openai_json": b"[1]"}, "'openai_json' is no JSON object"),
        ({"prompt": "a", "openai_json": b'{"logprobs": "yes"}'}, "not as expected"),
        ({"prompt": "a", "tools_json": b"{}"}, "'tools_json' is no JSON array"),
        ({"prompt": "a", "tools_json": b"[" * 300 + b"]" * 300}, "nested deeper"),
        ({"conversation": {"messages": [{"role": "owner"}]}}, "the role 'owner'"),
    ],
)
def test_what_is_no_request_is_refused_with_its_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequest, match=reason):
        read_request(pb.GenerateRequest(**fields))
