"""An Ollama server: `POST /api/chat`, as its API reference has it.

Ollama ignores fields that it does not know. Refused are fields of the wrong type, images that are
no base64, arguments that are no object, and a format that is neither "json" nor a schema.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tests.kit.record import Recorded

from . import ModelAnswer, ReceivedRequest, ReceivedTurn, ToolUse
from .http import KEY, MODEL, HttpProvider, Refused, bearer, encoded, words

FINISHES = {"stop": "stop", "tool_calls": "stop", "length": "length", "content_filter": "stop"}


class OllamaProvider(HttpProvider):
    """`provider = "ollama"`."""

    name: ClassVar[str] = "ollama"
    keeps: ClassVar[frozenset[str]] = frozenset({"thinking"})
    paths: ClassVar[tuple[str, ...]] = ("/api/chat",)
    says_filtered: ClassVar[bool] = False
    stream_type: ClassVar[str] = "application/x-ndjson"

    def settings(self) -> str:
        return f'provider = "ollama"\nmodel = "{MODEL}"\napi_base = "{self.base}"\napi_key = "{KEY}"\n'

    def received(self, recorded: Recorded) -> ReceivedRequest:
        body = recorded.json
        if not isinstance(body, dict) or not isinstance(body.get("messages"), list):
            raise Refused("json: cannot unmarshal into Go value of type api.ChatRequest")
        for name, kind in (("options", dict), ("tools", list), ("think", bool | str), ("stream", bool)):
            if name in body and not isinstance(body[name], kind):
                raise Refused(f"json: cannot unmarshal into Go struct field ChatRequest.{name}")
        wanted = body.get("format")
        if wanted is not None and wanted != "json" and not isinstance(wanted, dict):
            raise Refused('invalid format: expected "json" or a JSON schema')
        systems = [message["content"] for message in body["messages"] if message["role"] == "system"]
        turns = [_turn(message) for message in body["messages"] if message["role"] != "system"]
        return ReceivedRequest(
            model=body["model"],
            stream=body.get("stream", True),
            key=bearer(recorded),
            system="\n\n".join(systems),
            turns=tuple(turns),
            tools=tuple(tool["function"]["name"] for tool in body.get("tools") or ()),
            schema=wanted if isinstance(wanted, dict) else None,
            body=body,
        )

    def error(self, status: int, message: str) -> dict[str, Any]:
        return {"error": message}

    def whole(self, answer: ModelAnswer, request: ReceivedRequest) -> dict[str, Any]:
        message = _message(text=answer.text, thinking=answer.thinking, calls=answer.calls)
        return {**_shell(request), "message": message, **_ending(answer)}

    def stream(self, answer: ModelAnswer, request: ReceivedRequest) -> Sequence[bytes]:
        messages = [_message(thinking=piece) for piece in words(answer.thinking)]
        messages += [_message(text=piece) for piece in words(answer.text)]
        messages += [_message(calls=(call,)) for call in answer.calls]
        lines = [{**_shell(request), "message": message, "done": False} for message in messages]
        lines.append({**_shell(request), "message": _message(), **_ending(answer)})
        return [encoded(line) + b"\n" for line in lines]


def _turn(message: Mapping[str, Any]) -> ReceivedTurn:
    if message["role"] not in ("user", "assistant", "tool") or not isinstance(message.get("content", ""), str):
        raise Refused("json: cannot unmarshal into Go struct field ChatRequest.messages")
    for image in message.get("images") or ():
        try:
            base64.b64decode(image, validate=True)
        except (binascii.Error, ValueError):
            raise Refused("illegal base64 data at input byte 0") from None
    calls = tuple(_called(call) for call in message.get("tool_calls") or ())
    return ReceivedTurn(
        message["role"],
        message.get("content", ""),
        tuple(message.get("images") or ()),
        calls,
        message.get("tool_call_id", ""),
        message.get("thinking", ""),
    )


def _called(call: Mapping[str, Any]) -> ToolUse:
    arguments = call["function"]["arguments"]
    if not isinstance(arguments, dict):
        raise Refused("json: cannot unmarshal string into Go struct field ToolCallFunction.arguments")
    return ToolUse(call["function"]["name"], arguments, call.get("id", ""))


def _message(*, text: str = "", thinking: str = "", calls: Sequence[ToolUse] = ()) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = [{"function": {"name": call.name, "arguments": call.arguments}} for call in calls]
    return message


def _shell(request: ReceivedRequest) -> dict[str, Any]:
    return {"model": request.model, "created_at": "2026-11-20T12:00:00.000001Z"}


def _ending(answer: ModelAnswer) -> dict[str, Any]:
    prompt, completion = answer.usage
    times = {"total_duration": 5_000_000, "load_duration": 1_000_000, "prompt_eval_duration": 1_000_000}
    counts = {"prompt_eval_count": prompt, "eval_count": completion, "eval_duration": 3_000_000}
    return {"done": True, "done_reason": FINISHES[answer.finish_reason], **times, **counts}
