"""Responses of OpenAI's Responses API as objects and as the events of a stream, as the public
reference has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .http import event, words

Item = dict[str, Any]


def message(
    id: str, text: str, *, refusal: str = "", phase: str | None = None, annotations: Sequence[Item] = ()
) -> Item:
    """A message of the model."""
    part: Item = {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}
    if refusal:
        part = {"type": "refusal", "refusal": refusal}
    head = {"type": "message", "id": id, "status": "completed", "role": "assistant", "content": [part]}
    return {**head, "phase": phase} if phase else head


def reasoning(id: str, *summary: str, encrypted: str | None = None, text: str = "") -> Item:
    """Reasoning with these parts of a summary; `text` is that of open models, which show it."""
    item: Item = {
        "type": "reasoning",
        "id": id,
        "summary": [{"type": "summary_text", "text": part} for part in summary],
    }
    if text:
        item["content"] = [{"type": "reasoning_text", "text": text}]
    return item if encrypted is None else {**item, "encrypted_content": encrypted}


def function_call(id: str, call_id: str, name: str, arguments: Mapping[str, Any]) -> Item:
    text = json.dumps(arguments, ensure_ascii=False)
    head = {"type": "function_call", "id": id, "call_id": call_id, "name": name}
    return {**head, "arguments": text, "status": "completed"}


def custom_call(id: str, call_id: str, name: str, text: str) -> Item:
    head = {"type": "custom_tool_call", "id": id, "call_id": call_id, "name": name}
    return {**head, "input": text, "status": "completed"}


def web_search(id: str, query: str) -> Item:
    action = {"type": "search", "query": query, "queries": [query]}
    return {"type": "web_search_call", "id": id, "status": "completed", "action": action}


def response(
    output: Sequence[Item],
    request: Mapping[str, Any],
    *,
    id: str = "resp_0001",
    status: str = "completed",
    incomplete: str | None = None,
    error: Item | None = None,
    usage: tuple[int, int] | None = (11, 7),
    cached: int = 0,
    thought: int = 0,
) -> Item:
    """The whole object.

    `usage` are the tokens of input and output, of which `cached` and `thought` are a part.
    """
    counts = None
    if usage is not None:
        counts = {
            "input_tokens": usage[0],
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
            "output_tokens": usage[1],
            "output_tokens_details": {"reasoning_tokens": thought},
            "total_tokens": sum(usage),
        }
    return {
        "id": id,
        "object": "response",
        "created_at": 1_795_000_000,
        "status": status,
        "background": bool(request.get("background")),
        "error": error,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "model": request.get("model", "model-1"),
        "output": list(output),
        "parallel_tool_calls": request.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None, **(request.get("reasoning") or {})},
        "service_tier": "default",
        "store": request.get("store", True),
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, **(request.get("text") or {})},
        "tool_choice": request.get("tool_choice", "auto"),
        "tools": request.get("tools", []),
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": counts,
        "user": None,
        "metadata": {},
    }


def events(whole: Item) -> list[Item]:
    """The events of a stream that ends in this response.

    Text and arguments come in several pieces.
    """
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "error": None, "incomplete_details": None}
    found: list[Item] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
    ]
    for index, item in enumerate(whole["output"]):
        found += _item_events(index, item)
    if whole["status"] in ("completed", "incomplete", "failed"):
        found.append({"type": f"response.{whole['status']}", "response": whole})
    return [{**each, "sequence_number": number} for number, each in enumerate(found)]


def stream(whole: Item, start: int = 0) -> list[bytes]:
    """The same as bytes, one write each, from the event with the number `start`."""
    return [event(each, each["type"]) for each in events(whole)[start:]]


def _item_events(index: int, item: Item) -> Iterator[Item]:
    kind, place = item["type"], {"item_id": item["id"], "output_index": index}
    begun = {key: value for key, value in item.items() if key != "encrypted_content"}
    if "status" in item:
        begun["status"] = "in_progress"
    if kind == "message":
        begun["content"] = []
    elif kind == "reasoning":
        begun |= {"summary": []}
        begun.pop("content", None)
    elif kind == "function_call":
        begun["arguments"] = ""
    elif kind == "custom_tool_call":
        begun["input"] = ""
    yield {"type": "response.output_item.added", "output_index": index, "item": begun}
    if kind == "message":
        for number, part in enumerate(item["content"]):
            yield from _part_events(part, {**place, "content_index": number})
    elif kind == "reasoning":
        for number, part in enumerate(item["summary"]):
            yield from _summary_events(part, {**place, "summary_index": number})
        for number, part in enumerate(item.get("content") or ()):
            spot = {**place, "content_index": number}
            for piece in words(part["text"]):
                yield {"type": "response.reasoning_text.delta", **spot, "delta": piece}
            yield {"type": "response.reasoning_text.done", **spot, "text": part["text"]}
    elif kind == "function_call":
        yield from _growing("response.function_call_arguments", item["arguments"], place, "arguments", item["name"])
    elif kind == "custom_tool_call":
        yield from _growing("response.custom_tool_call_input", item["input"], place, "input")
    elif kind == "web_search_call":
        for step in ("in_progress", "searching", "completed"):
            yield {"type": f"response.web_search_call.{step}", **place}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part_events(part: Item, place: Item) -> Iterator[Item]:
    if part["type"] == "refusal":
        yield {"type": "response.content_part.added", **place, "part": {"type": "refusal", "refusal": ""}}
        for piece in words(part["refusal"]):
            yield {"type": "response.refusal.delta", **place, "delta": piece}
        yield {"type": "response.refusal.done", **place, "refusal": part["refusal"]}
    else:
        empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield {"type": "response.content_part.added", **place, "part": empty}
        for number, piece in enumerate(words(part["text"])):
            logprobs = part["logprobs"][number : number + 1]
            more = {"logprobs": logprobs, "obfuscation": "x7Zq"}
            yield {"type": "response.output_text.delta", **place, "delta": piece, **more}
        for number, each in enumerate(part["annotations"]):
            fields = {**place, "annotation_index": number, "annotation": each}
            yield {"type": "response.output_text.annotation.added", **fields}
        yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": part["logprobs"]}
    yield {"type": "response.content_part.done", **place, "part": part}


def _summary_events(part: Item, place: Item) -> Iterator[Item]:
    yield {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}}
    for piece in words(part["text"]):
        yield {"type": "response.reasoning_summary_text.delta", **place, "delta": piece}
    yield {"type": "response.reasoning_summary_text.done", **place, "text": part["text"]}
    yield {"type": "response.reasoning_summary_part.done", **place, "part": part}


def _growing(kind: str, text: str, place: Item, field: str, name: str = "") -> Iterator[Item]:
    half = len(text) // 2
    for piece in (text[:half], text[half:]):
        if piece:
            yield {"type": f"{kind}.delta", **place, "delta": piece}
    yield {"type": f"{kind}.done", **place, field: text, **({"name": name} if name else {})}
