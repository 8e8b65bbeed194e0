"""What counts towards the bounds of kept data: everything that a client or an upstream can make
large.
"""

import msgspec
import pytest

from chorus.events import Delta, RunFinished, StageFinished
from chorus.sizes import size_of_event, size_of_request
from chorus.types import Answer, ChatRequest, Image, Message, Sampling, Text, ToolCall, ToolPiece, Tools
from chorus.usage import Usage

BIG = "x" * 100_000
CALL = ToolCall("c", "write", BIG)
PLAIN = ChatRequest("m", (Message("user", "hi"),))

REQUESTS = {
    "text": msgspec.structs.replace(PLAIN, messages=(Message("user", BIG),)),
    "text part": msgspec.structs.replace(PLAIN, messages=(Message("user", (Text(BIG),)),)),
    "image": msgspec.structs.replace(PLAIN, messages=(Message("user", (Image(BIG),)),)),
    "reasoning": msgspec.structs.replace(PLAIN, messages=(Message("assistant", reasoning=BIG),)),
    "tool call": msgspec.structs.replace(PLAIN, messages=(Message("assistant", tool_calls=(CALL,)),)),
    "tools": msgspec.structs.replace(PLAIN, tools=Tools([{"description": BIG}])),
    "tool choice": msgspec.structs.replace(PLAIN, tool_choice={"name": BIG}),
    "format": msgspec.structs.replace(PLAIN, response_format={"schema": BIG}),
    "options": msgspec.structs.replace(PLAIN, ollama_options={"grammar": BIG}),
    "extra": msgspec.structs.replace(PLAIN, extra={"x": BIG}),
    "small values": msgspec.structs.replace(PLAIN, extra={"x": [[] for _ in range(2_000)]}),
    "prompt": msgspec.structs.replace(PLAIN, prompt=BIG),
    "suffix": msgspec.structs.replace(PLAIN, suffix=BIG),
    "generate options": msgspec.structs.replace(PLAIN, generate_options={"template": BIG}),
    "stop words": msgspec.structs.replace(PLAIN, sampling=Sampling(stop=(BIG,))),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS.keys())
def test_every_field_of_a_request_counts(request_: ChatRequest) -> None:
    assert size_of_request(request_) > 100_000 > 10 * size_of_request(PLAIN)


EVENTS = {
    "text": Delta((), 0.0, BIG),
    "reasoning": Delta((), 0.0, reasoning=BIG),
    "arguments": Delta((), 0.0, tool_calls=(ToolPiece(0, arguments=BIG),)),
    "logprobs": Delta((), 0.0, logprobs={"content": BIG}),
    "answer": StageFinished((), 0.0, "ok", Answer(BIG)),
    "answer's reasoning": StageFinished((), 0.0, "ok", Answer(reasoning=BIG)),
    "answer's call": StageFinished((), 0.0, "ok", Answer(tool_calls=(CALL,))),
    "answer's logprobs": StageFinished((), 0.0, "ok", Answer(logprobs={"content": BIG})),
    "details": StageFinished((), 0.0, "ok", details={"reasoning": BIG}),
}


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS.keys())
def test_every_field_of_an_event_counts(event: Delta | StageFinished) -> None:
    assert size_of_event(event) > 100_000
    assert size_of_event(RunFinished(0.0, (), Usage())) < 1_000
