"""The requests that benchmarks send: a short one, and what agents and chat pages really send."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Payload = Mapping[str, Any]
"""The fields of a chat request besides `model` and `stream`."""

_QUESTION = {"role": "user", "content": "Tell me something about the sea."}

SHORT: Payload = {"messages": [_QUESTION]}


def chat_request(model: str, payload: Payload = SHORT, *, stream: bool = False) -> bytes:
    """A chat request as bytes, headers included."""
    body = json.dumps({"model": model, **payload, "stream": stream}).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _code(size: int) -> str:
    """`size` characters of source code: our own."""
    files = sorted((Path(__file__).resolve().parents[1] / "chorus").rglob("*.py"))
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    return (text * (size // len(text) + 1))[:size]


def _tool(number: int) -> dict[str, Any]:
    properties = {f"argument_{n}": {"type": "string", "description": "What it is for. " * 5} for n in range(6)}
    parameters = {"type": "object", "properties": properties, "required": ["argument_0"], "additionalProperties": False}
    function = {"name": f"tool_{number}", "description": "What the tool does. " * 10, "parameters": parameters}
    return {"type": "function", "function": function}


def _turn(number: int) -> dict[str, Any]:
    role = "assistant" if number % 2 else "user"
    return {"role": role, "content": f"Turn {number}. " + "Something was said about the sea. " * 20}


_PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000_000}}

CODE: Payload = {"messages": [{"role": "user", "content": _code(200_000)}]}
MESSAGES: Payload = {"messages": [*map(_turn, range(299)), _QUESTION]}
TOOLS: Payload = {"messages": [_QUESTION], "tools": [*map(_tool, range(100))]}
IMAGE: Payload = {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, _PICTURE]}]}
