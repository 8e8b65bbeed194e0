"""A Responses request and its answer without a server: what tests of this dialect share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chorus.events import Delta, Event, RunFinished, RunStarted
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.responses.dialect import OpenAIResponses
from chorus.server.dialects.responses.upstream_items import for_chat
from chorus.types import Answer, ChatRequest, ToolPiece
from chorus.usage import Usage

DIALECT = OpenAIResponses()
HI = {"role": "user", "content": "hi"}


def asked(**fields: Any) -> ParsedRequest:
    """The request with these fields, understood."""
    return DIALECT.parse({"model": "m", "input": "hi", **fields})


def chat(**fields: Any) -> ChatRequest:
    """The chat request that one with these fields becomes."""
    return for_chat(asked(**fields).requests[0])


def functions(**fields: Any) -> dict[str, dict[str, Any]]:
    """The functions that are offered, by their names."""
    return {tool["function"]["name"]: tool["function"] for tool in chat(**fields).tools}


def calling(*calls: tuple[str, str], pieces: int = 1, **more: Any) -> list[Event]:
    """A run whose answer calls these functions, each with its name and arguments, the arguments cut
    into `pieces`.
    """
    events: list[Event] = [RunStarted("wf_1", "req_1", "m", "m", 1.0)]
    for index, (name, arguments) in enumerate(calls):
        events.append(Delta(("0",), 0.1, tool_calls=(ToolPiece(index, f"call_{index}", name),), choice=0))
        size = max(1, -(-len(arguments) // pieces))
        for start in range(0, len(arguments), size):
            piece = ToolPiece(index, arguments=arguments[start : start + size])
            events.append(Delta(("0",), 0.2, tool_calls=(piece,), choice=0))
    return [*events, finished(**more)]


def saying(*deltas: Event, **more: Any) -> list[Event]:
    """A run whose answer comes in these pieces."""
    return [RunStarted("wf_1", "req_1", "m", "m", 1.0), *deltas, finished(**more)]


def finished(**more: Any) -> RunFinished:
    return RunFinished(1.0, (Answer(**more),), Usage(1, 1), 0.1)


def delta(**fields: Any) -> Delta:
    """A piece of the answer."""
    return Delta(("0",), 0.1, **fields, choice=0)


def streamed(request: ParsedRequest, events: Sequence[Event]) -> list[dict[str, Any]]:
    """The data of the events that a client gets."""
    encoder = DIALECT.encoder(context(request))
    return [frame.data for event in events for frame in encoder.encode(event)]


def output(request: ParsedRequest, events: Sequence[Event]) -> list[dict[str, Any]]:
    """The output items, which are the same streamed and whole."""
    body: Any = DIALECT.whole(context(request), events)
    items: list[dict[str, Any]] = body["output"]
    frames = streamed(request, events)
    assert frames[-1]["response"] == body
    done = {frame["output_index"]: frame["item"] for frame in frames if frame["type"] == "response.output_item.done"}
    assert [done[index] for index in range(len(items))] == items
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))
    return items


def context(request: ParsedRequest) -> ResponseContext:
    """The context of the answer."""
    return ResponseContext("resp_0123456789abcdef01234567", "req_1", 1.0, request, "openai", None)
