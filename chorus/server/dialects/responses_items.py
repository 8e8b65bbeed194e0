"""The `Response` object and its output items, as OpenAI's SDK types require them (A3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from chorus.errors import ChorusError
from chorus.events import RunFinished
from chorus.server.dialects.base import Reply
from chorus.types import Answer
from chorus.usage import Usage
from chorus.wirejson import JSON


def item_id(kind: str, response_id: str, index: int) -> str:
    """The id of an output item: unique by its response, the same however often it is asked for."""
    return f"{kind}_{response_id.removeprefix('resp_')}{index:02d}"


def response_of_item(item_id: str) -> str | None:
    """The response whose item has this id; None when it is none of ours."""
    match = re.fullmatch(r"(?:msg|rs|fc)_([0-9a-f]{24})\d\d", item_id)
    return f"resp_{match[1]}" if match is not None else None


def text_part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def summary_part(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}


def message_item(id: str, text: str | None, status: str = "completed") -> dict[str, Any]:
    """A message; `text` None while it has no content part yet."""
    content = [] if text is None else [text_part(text)]
    return {"type": "message", "id": id, "role": "assistant", "status": status, "content": content}


def reasoning_item(id: str, text: str | None) -> dict[str, Any]:
    """The model's reasoning; `text` None while it has no summary part yet."""
    return {"type": "reasoning", "id": id, "summary": [] if text is None else [summary_part(text)]}


def call_item(id: str, call_id: str, name: str, arguments: str, status: str = "completed") -> dict[str, Any]:
    """A function call."""
    head = {"type": "function_call", "id": id, "call_id": call_id}
    return {**head, "name": name, "arguments": arguments, "status": status}


def output_items(response_id: str, answer: Answer) -> list[dict[str, Any]]:
    """A whole answer as output items: reasoning, message, function calls."""
    items: list[dict[str, Any]] = []
    if answer.reasoning:
        items.append(reasoning_item(item_id("rs", response_id, len(items)), answer.reasoning))
    if answer.text or not answer.tool_calls:
        status = "incomplete" if _incomplete(answer) else "completed"
        items.append(message_item(item_id("msg", response_id, len(items)), answer.text, status))
    for call in answer.tool_calls:
        items.append(call_item(item_id("fc", response_id, len(items)), call.id, call.name, call.arguments))
    return items


def _incomplete(answer: Answer) -> str | None:
    """Why the answer is incomplete; None when it is whole."""
    return {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.finish_reason)


def usage_body(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def response_body(
    reply: Reply,
    output: Sequence[JSON],
    *,
    done: RunFinished | None = None,
    error: ChorusError | None = None,
) -> dict[str, Any]:
    """The `Response`: in progress, or as `done` or `error` ended it."""
    asked = reply.asked.options
    status, incomplete = "in_progress", None
    if error is not None:
        status = "failed"
    elif done is not None:
        incomplete = _incomplete(done.answers[0])
        status = "incomplete" if incomplete else "completed"
    body: dict[str, Any] = {
        "id": reply.id,
        "object": "response",
        "created_at": int(reply.created),
        "status": status,
        "error": {"code": error.code, "message": error.message} if error is not None else None,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "instructions": asked.instructions,
        "metadata": asked.metadata or {},
        "model": asked.model,
        "output": list(output),
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "temperature": asked.temperature,
        "tool_choice": asked.tool_choice or "auto",
        "tools": asked.tools or [],
        "top_p": asked.top_p,
        "max_output_tokens": asked.max_output_tokens,
        "previous_response_id": asked.previous_response_id,
        "reasoning": {"effort": asked.reasoning.effort if asked.reasoning else None, "summary": None},
        "text": {"format": (asked.text.format if asked.text else None) or {"type": "text"}},
        "truncation": "disabled",
        "store": asked.store is not False,
        "background": False,
        "usage": usage_body(done.usage) if done is not None else None,
    }
    if done is not None and reply.workflow is not None:
        body["workflow"] = reply.workflow()
    return body
