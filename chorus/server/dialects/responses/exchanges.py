"""One exchange of any dialect as items of the Responses API, and items as messages (M3).

A conversation is kept in this one shape, so that every dialect continues it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

from chorus.errors import MissingInput
from chorus.events import Delta, Event, RunFailed, RunFinished
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.responses import inputs
from chorus.server.dialects.responses.fields import ResponsesBody, ResponsesOptions
from chorus.server.dialects.responses.items import item_id, message_item, reasoning_item, text_part
from chorus.server.dialects.responses.stream import response_of
from chorus.server.dialects.responses.tools import ToolTable
from chorus.server.dialects.responses.turns import NO_RESULT
from chorus.server.dialects.warnings import Warnings
from chorus.types import Answer, Image, Message, Opaque, Part, Text, ToolPiece
from chorus.wirejson import JSON

_WHOLE_ONLY = ("function_call", "custom_tool_call")
"""Items that hold nothing where they are cut: a call without all of its arguments."""


def history_messages(items: Sequence[JSON], results: Collection[str | None] = ()) -> list[Message]:
    """Return stored items as messages. `results` are the ids of calls whose results follow in the
    request: the history gets none in their place."""
    try:
        messages = inputs.messages(None, list(items), None, None, ToolTable(()), Warnings())
    except MissingInput:
        return []
    return [
        message
        for message in messages
        if not (message.role == "tool" and message.tool_call_id in results and message.content == NO_RESULT)
    ]


def input_items(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """Return the messages of a request as items, without ids."""
    return [item for message in messages for item in _items_of(message)]


def output_items(events: Sequence[Event], model: str, unique: str) -> list[dict[str, Any]]:
    """Return the answer of a run that is over as items: of its first choice, where it has several.
    `events` is the whole journal of the run."""
    over = events[-1]
    assert isinstance(over, RunFinished | RunFailed)
    # most are, and the rest takes five times as long
    if isinstance(over, RunFinished) and _is_plain(over.answers[0]):
        return [message_item(item_id("msg", f"resp_{unique}", 0), text_part(over.answers[0].text))]
    options = ResponsesOptions(ResponsesBody(model), ToolTable(()))
    parsed = ParsedRequest(model, (), options)
    context = ResponseContext(f"resp_{unique}", "", 0.0, parsed, "openai")
    output: list[dict[str, Any]] = response_of(context, (_spoken(events, over), over))["output"]
    return with_message(output, unique) if isinstance(over, RunFailed) else output


def with_message(output: Sequence[dict[str, Any]], unique: str) -> list[dict[str, Any]]:
    """Return the output items of an answer that was cut: without calls, and with a last message
    that is `incomplete`, empty where no text came."""
    kept = [item for item in output if item["type"] not in _WHOLE_ONLY]
    if not any(item["type"] == "message" for item in kept):
        kept.append(message_item(item_id("msg", unique, len(output)), text_part("")))
    last = max(index for index, item in enumerate(kept) if item["type"] == "message")
    kept[last] = {**kept[last], "status": "incomplete"}
    return kept


def _is_plain(answer: Answer) -> bool:
    """Return whether `answer` is a text and nothing else."""
    is_more = answer.reasoning or answer.tool_calls or answer.extra
    return not is_more and answer.finish_reason == "stop"


def _spoken(events: Sequence[Event], over: RunFinished | RunFailed) -> Delta:
    """Return all of the first answer in one piece; what came of it where the run has failed."""
    if isinstance(over, RunFailed):
        deltas = [event for event in events if type(event) is Delta and event.choice == 0 and not event.is_progress]
        text = "".join([delta.text for delta in deltas])
        return Delta((), over.at, text, "".join([delta.reasoning for delta in deltas]), choice=0)
    answer = over.answers[0]
    calls = tuple(
        ToolPiece(index, call.id, call.name, call.arguments, call.extra or None)
        for index, call in enumerate(answer.tool_calls)
    )
    return Delta((), over.at, answer.text, answer.reasoning, calls, choice=0, extra=answer.extra or None)


def _items_of(message: Message) -> Iterator[dict[str, Any]]:
    if message.role == "tool":
        output = message.content if isinstance(message.content, str) else _parts(message.content, "input_text")
        yield {"type": "function_call_output", "call_id": message.tool_call_id or "", "output": output}
        return
    if message.reasoning:
        reasoning = reasoning_item("", message.reasoning)
        del reasoning["id"]
        yield reasoning
    if message.content or not message.tool_calls:
        kind = "output_text" if message.role == "assistant" else "input_text"
        content = (Text(message.content),) if isinstance(message.content, str) else message.content
        yield {"type": "message", "role": message.role, "status": "completed", "content": _parts(content, kind)}
    for call in message.tool_calls:
        fields = {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        yield {"type": "function_call", **fields, "status": "completed"}


def _parts(parts: Iterable[Part], kind: str) -> list[JSON]:
    """Return content parts. `kind` is the type of those with a text."""
    return [_part(part, kind) for part in parts]


def _part(part: Part, kind: str) -> JSON:
    match part:
        case Text():
            shown: dict[str, JSON] = {"type": kind, "text": part.text}
            return {**shown, "annotations": []} if kind == "output_text" else shown
        case Image():
            return {"type": "input_image", "image_url": part.url, "detail": part.detail or "auto"}
        case Opaque():
            return dict(part.data)
