"""The `Response` object and its output items, as OpenAI's SDK types require them (A3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from chorus.events import RunFailed, RunFinished
from chorus.server.dialects.base import ResponseContext
from chorus.server.dialects.responses.fields import ResponsesOptions, echoed
from chorus.types import Answer
from chorus.usage import Usage
from chorus.wirejson import JSON


def item_id(kind: str, response_id: str, index: int) -> str:
    """Return the id of an output item, unique by its response and always the same."""
    return f"{kind}_{response_id.removeprefix('resp_')}{index:02d}"


def response_of_item(item_id: str) -> str | None:
    """Return the response whose item has this id; None when it is none of ours."""
    match = re.fullmatch(r"(?:msg|rs|fc|ctc|lsh|sh|apc|tsc|ig)_([0-9a-f]{24})\d\d", item_id)
    return f"resp_{match[1]}" if match is not None else None


def text_part(text: str, annotations: Sequence[JSON] = (), logprobs: Sequence[JSON] = ()) -> dict[str, Any]:
    """Return the text part of a message."""
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": list(logprobs)}


def summary_part(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}


def message_item(id: str, part: JSON | None, status: str = "completed") -> dict[str, Any]:
    """Return a message; `part` is None while it has no content part yet."""
    content = [] if part is None else [part]
    return {"type": "message", "id": id, "role": "assistant", "status": status, "content": content}


def reasoning_item(id: str, text: str | None, sealed: str | None = None) -> dict[str, Any]:
    """Return the model's reasoning; `text` is None where it has no summary part (yet). `sealed` is
    `encrypted_content`."""
    item: dict[str, Any] = {"type": "reasoning", "id": id, "summary": [] if text is None else [summary_part(text)]}
    return item if sealed is None else {**item, "encrypted_content": sealed}


def image_item(id: str, base64: str) -> dict[str, Any]:
    """Return an image that the model made."""
    return {"type": "image_generation_call", "id": id, "status": "completed", "result": base64}


def call_item(id: str, call_id: str, name: str, arguments: str, status: str = "completed") -> dict[str, Any]:
    """Return a function call."""
    head = {"type": "function_call", "id": id, "call_id": call_id}
    return {**head, "name": name, "arguments": arguments, "status": status}


def _incomplete(answer: Answer) -> str | None:
    """Return why the answer is incomplete; None when it is whole."""
    return {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.finish_reason)


def usage_body(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": usage.cache_write_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }


def response_body(
    context: ResponseContext[ResponsesOptions],
    output: Sequence[JSON],
    over: RunFinished | RunFailed | None,
    status: str = "in_progress",
) -> dict[str, Any]:
    """Return the `Response`: as `over` ended it, else of this `status`."""
    fields = context.parsed.options.body
    incomplete, error, usage = None, None, None
    if isinstance(over, RunFinished):
        incomplete = _incomplete(over.answers[0])
        status = "incomplete" if incomplete else "completed"
        usage = usage_body(over.reported)
        if over.ensemble is not None:
            usage["ensemble"] = over.ensemble
    elif isinstance(over, RunFailed):
        status = over.status
        error = {"code": over.error.code, "message": over.error.message}
        if status == "cancelled":
            error = {"code": "cancelled", "message": "The response was cancelled."}
    body: dict[str, Any] = {
        "id": context.id,
        "object": "response",
        "created_at": int(context.created),
        "status": status,
        "error": error,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "instructions": fields.instructions,
        "metadata": fields.metadata or {},
        "model": fields.model,
        "output": list(output),
        "parallel_tool_calls": fields.parallel_tool_calls is not False,
        "temperature": fields.temperature,
        "tool_choice": fields.tool_choice or "auto",
        "tools": fields.tools or [],
        "top_p": fields.top_p,
        "max_output_tokens": fields.max_output_tokens,
        "previous_response_id": fields.previous_response_id,
        "reasoning": {
            "effort": fields.reasoning.effort if fields.reasoning else None,
            "summary": fields.reasoning.summary if fields.reasoning else None,
        },
        "text": {
            "format": (fields.text.format if fields.text else None) or {"type": "text"},
            **({"verbosity": fields.text.verbosity} if fields.text and fields.text.verbosity else {}),
        },
        "truncation": fields.truncation or "disabled",
        "store": fields.store is not False,
        "background": bool(fields.background),
        "usage": usage,
        **echoed(fields),
    }
    if context.parsed.conversation is not None:
        body["conversation"] = {"id": context.parsed.conversation}
    if over is not None and context.workflow is not None:
        body["workflow"] = context.workflow()
    return body
