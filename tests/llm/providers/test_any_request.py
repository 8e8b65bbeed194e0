"""Whatever conversation a client sends, Anthropic's and OpenAI's Responses API take what they
get.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.types import ChatRequest, Image, Message, Part, Sampling, Text, ToolCall, Tools
from tests.llm.providers.test_odd_requests import LONG, SCHEMAS, WRITERS, tool

IDS = st.sampled_from(["c1", "c2", "c.1", "c:1", "", "x" * 80])
NAMES = st.sampled_from(["weather", "a.b", "a_b", LONG, ""])
TEXTS = st.sampled_from(["", "  ", "Hi. ", "So.\n"])
MARKS = st.sampled_from(
    [{}, {"cache_control": {"type": "ephemeral"}}, {"cache_control": {"type": "ephemeral", "ttl": "1h"}}]
)
SIGNED = {"type": "reasoning.text", "text": "I look.", "signature": "c2ln", "format": "anthropic-claude-v1"}
SEALED = {"type": "reasoning.encrypted", "data": "b3", "format": "anthropic-claude-v1"}
PARTS: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, TEXTS, MARKS), st.just(Image("data:image/png;base64,iVBORw0KGgo"))
)
CONTENTS = st.one_of(TEXTS, st.lists(PARTS, max_size=2).map(tuple))
CALLS = st.builds(ToolCall, IDS, NAMES, st.sampled_from(["", "{}", '{"a": 1}', "[1]", "no JSON"]), MARKS)


@st.composite
def answers(draw: st.DrawFn) -> Message:
    """An assistant's turn, with its blocks as Anthropic's dialect keeps them, with thoughts, or
    without."""
    calls = tuple(draw(st.lists(CALLS, max_size=2)))
    blocks = [{"type": "tool_use", "id": call.id, "name": call.name, "input": {}} for call in calls]
    native = {"anthropic_content": [{"type": "text", "text": draw(TEXTS)}, *blocks]}
    extra = draw(
        st.one_of(MARKS, st.sampled_from([{"reasoning_details": [SIGNED]}, {"reasoning_details": [SEALED]}, native]))
    )
    return Message("assistant", draw(TEXTS), draw(st.sampled_from(["", "hm"])), calls, extra=extra)


def said(role: Any) -> st.SearchStrategy[Message]:
    return st.builds(lambda content, extra: Message(role, content, extra=extra), CONTENTS, MARKS)


RESULTS = st.builds(lambda content, id: Message("tool", content, tool_call_id=id), CONTENTS, st.one_of(st.none(), IDS))
MESSAGES = st.one_of(answers(), answers(), RESULTS, RESULTS, said("user"), said("system"), said("developer"))
TOOLS = st.lists(st.builds(tool, NAMES.filter(bool), st.sampled_from(list(SCHEMAS.values()))), max_size=3).map(Tools)
SAMPLING = st.builds(
    Sampling,
    temperature=st.sampled_from([None, 0.0, 1.0, 1.7]),
    top_p=st.sampled_from([None, 0.5]),
    max_tokens=st.sampled_from([None, 1, 1000, 200_000]),
    stop=st.sampled_from([(), (" ",), ("x",)]),
)
REQUESTS = st.builds(
    ChatRequest,
    st.just("m"),
    st.lists(MESSAGES, max_size=7).map(tuple),
    sampling=SAMPLING,
    tools=TOOLS,
    tool_choice=st.sampled_from([None, "auto", "none", "required"]),
    parallel_tool_calls=st.sampled_from([None, True, False]),
    reasoning_effort=st.sampled_from([None, "none", "low", "high", True]),
    response_format=st.sampled_from([None, {"type": "json_object"}]),
    extra=st.sampled_from([{}, {"thinking": {"type": "enabled", "budget_tokens": 3000}}]),
    shared_messages=st.integers(0, 7),
)


@pytest.mark.requirement("L2")
@pytest.mark.parametrize("by", WRITERS)
@given(request=REQUESTS)
def test_any_request_is_taken(by: str, request: ChatRequest) -> None:
    WRITERS[by](request)
