"""An OpenAI-compatible provider that thinks: `POST /v1/chat/completions`, as OpenAI's reference has
it.

Thinking is `reasoning_content` (DeepSeek, Moonshot, vLLM), its signature stands in OpenRouter's
`reasoning_details`. Refused are unknown fields, empty lists of tools, tool messages out of place,
calls without a result, parts of other kinds than text in results, and another key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tests.kit.record import Recorded

from . import ModelAnswer, ReceivedRequest, ReceivedTurn, ToolUse
from .http import KEY, MODEL, HttpProvider, Refused, bearer, event, unknown, words

KNOWN = """
    model messages stream stream_options tools tool_choice parallel_tool_calls response_format reasoning_effort
    temperature top_p max_tokens max_completion_tokens stop seed presence_penalty frequency_penalty n user
    logprobs top_logprobs logit_bias metadata store service_tier safety_identifier prompt_cache_key
    prompt_cache_retention verbosity modalities prediction
"""
FIELDS = frozenset(KNOWN.split())
MESSAGE_FIELDS = {
    "system": frozenset({"role", "content", "name"}),
    "developer": frozenset({"role", "content", "name"}),
    "user": frozenset({"role", "content", "name"}),
    "assistant": frozenset(
        {"role", "content", "name", "tool_calls", "refusal", "reasoning_content", "reasoning_details"}
    ),
    # OpenAI's own examples once had the name
    "tool": frozenset({"role", "content", "tool_call_id", "name"}),
}
TYPES = {401: "authentication_error", 429: "rate_limit_error"}


class OpenAIProvider(HttpProvider):
    """`provider = "openai"`."""

    name: ClassVar[str] = "openai"
    keeps: ClassVar[frozenset[str]] = frozenset({"thinking", "signature"})
    paths: ClassVar[tuple[str, ...]] = ("/v1/chat/completions",)

    def settings(self) -> str:
        return f'provider = "openai"\nmodel = "{MODEL}"\napi_base = "{self.base}/v1"\napi_key = "{KEY}"\n'

    def key(self, recorded: Recorded) -> str:
        """The key that a request has."""
        return bearer(recorded)

    def received(self, recorded: Recorded) -> ReceivedRequest:
        key = self.key(recorded)
        if key != KEY:
            raise Refused("Incorrect API key provided.", 401)
        body = recorded.json
        if not isinstance(body, dict):
            raise Refused("We could not parse the JSON body of your request.")
        unknown(body, FIELDS)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Refused("Invalid 'messages': empty array. Expected an array with minimum length 1.")
        _check_names(body)
        systems, turns = conversation(messages)
        return ReceivedRequest(
            model=body["model"],
            stream=bool(body.get("stream")),
            key=key,
            system="\n\n".join(systems),
            turns=tuple(turns),
            tools=_tools(body),
            schema=_schema(body.get("response_format")),
            body=body,
        )

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")
        return {"error": {"message": message, "type": kind, "param": None, "code": None}}

    def whole(self, answer: ModelAnswer, request: ReceivedRequest) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None}
        message |= _thinking(answer)
        if answer.calls:
            message["tool_calls"] = [_call(place, call) for place, call in enumerate(answer.calls)]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish_reason}
        return {**_shell("chat.completion", request), "choices": [choice], "usage": _usage(answer)}

    def stream(self, answer: ModelAnswer, request: ReceivedRequest) -> Sequence[bytes]:
        deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning_content": piece} for piece in words(answer.thinking)]
        if details := _thinking(answer).get("reasoning_details"):
            deltas.append({"reasoning_details": details})
        deltas += [{"content": piece} for piece in words(answer.text)]
        for place, call in enumerate(answer.calls):
            whole = _call(place, call)
            text = whole["function"]["arguments"]
            head = {**whole, "function": {"name": call.name, "arguments": ""}}
            deltas += [{"tool_calls": [{"index": place, **head}]}]
            deltas += [
                {"tool_calls": [{"index": place, "function": {"arguments": half}}]}
                for half in (text[: len(text) // 2], text[len(text) // 2 :])
            ]
        shell = _shell("chat.completion.chunk", request)
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": answer.finish_reason})
        events = [event({**shell, "choices": [choice], "usage": None}) for choice in choices]
        if (request.body.get("stream_options") or {}).get("include_usage"):
            events.append(event({**shell, "choices": [], "usage": _usage(answer)}))
        return [*events, b"data: [DONE]\n\n"]


def conversation(messages: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[ReceivedTurn]]:
    """The texts of the system messages, and the turns.

    Raises:
        Refused: a message is malformed, or stands where it cannot.
    """
    systems: list[str] = []
    turns: list[ReceivedTurn] = []
    open_calls: list[str] = []
    for place, message in enumerate(messages):
        here = f"messages[{place}]"
        role = message.get("role")
        if role not in MESSAGE_FIELDS:
            raise Refused(f"Invalid value: '{role}'. Supported values are: 'system', 'assistant', 'user', 'tool'.")
        unknown(dict(message), MESSAGE_FIELDS[role], f"{here}.")
        if role != "tool" and open_calls:
            missing = ", ".join(open_calls)
            raise Refused(
                "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
                f"'tool_call_id'. The following tool_call_ids did not have response messages: {missing}"
            )
        text, images = _content(message.get("content"), here, role)
        if role in ("system", "developer"):
            systems.append(text)
        elif role == "user":
            turns.append(ReceivedTurn("user", text, images))
        elif role == "tool":
            call_id = message.get("tool_call_id")
            if call_id not in open_calls:
                raise Refused("messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.")
            open_calls.remove(call_id)
            turns.append(ReceivedTurn("tool", text, images, call_id=call_id))
        else:
            calls = tuple(_called(call, here) for call in message.get("tool_calls") or ())
            if "tool_calls" in message and not calls:
                raise Refused(f"Invalid '{here}.tool_calls': empty array.")
            open_calls = [call.id for call in calls]
            signature = "".join(detail.get("signature") or "" for detail in message.get("reasoning_details") or ())
            thinking = message.get("reasoning_content") or ""
            turns.append(ReceivedTurn("assistant", text, calls=calls, thinking=thinking, signature=signature))
    if open_calls:
        raise Refused(f"The following tool_call_ids did not have response messages: {', '.join(open_calls)}")
    return systems, turns


def _content(content: Any, here: str, role: str) -> tuple[str, tuple[str, ...]]:
    if isinstance(content, str):
        return content, ()
    if content is None and role == "assistant":
        return "", ()
    if not isinstance(content, list) or not content:
        raise Refused(f"Invalid type for '{here}.content': expected one of a string or array of objects.")
    texts: list[str] = []
    images: list[str] = []
    for place, part in enumerate(content):
        if part.get("type") == "text":
            texts.append(part["text"])
        elif part.get("type") == "image_url" and role == "user":
            images.append(part["image_url"]["url"].rpartition("base64,")[2])
        else:
            raise Refused(f"Invalid value: '{part.get('type')}' in '{here}.content[{place}].type'.")
    return "\n".join(texts), tuple(images)


def _called(call: Mapping[str, Any], here: str) -> ToolUse:
    if call.get("type") != "function" or not call.get("id"):
        raise Refused(f"Missing required parameter: '{here}.tool_calls[0].id'.")
    return ToolUse(call["function"]["name"], json.loads(call["function"]["arguments"]), call["id"])


def _tools(body: Mapping[str, Any]) -> tuple[str, ...]:
    if "tools" not in body:
        if "tool_choice" in body or "parallel_tool_calls" in body:
            raise Refused("'tool_choice' is only allowed when 'tools' are specified.")
        return ()
    if not body["tools"]:
        raise Refused("Invalid 'tools': empty array. Expected an array with minimum length 1.")
    for tool in body["tools"]:
        unknown(tool, frozenset({"type", "function"}), "tools[0].")
        unknown(tool["function"], frozenset({"name", "description", "parameters", "strict"}), "tools[0].function.")
    return tuple(tool["function"]["name"] for tool in body["tools"])


def _schema(wanted: Any) -> Mapping[str, Any] | None:
    if wanted is None or wanted["type"] != "json_schema":
        return None
    if not wanted["json_schema"].get("name"):
        raise Refused("Missing required parameter: 'response_format.json_schema.name'.")
    schema: Mapping[str, Any] = wanted["json_schema"]["schema"]
    return schema


def _thinking(answer: ModelAnswer) -> dict[str, Any]:
    fields: dict[str, Any] = {"reasoning_content": answer.thinking} if answer.thinking else {}
    if answer.signature:
        detail = {"type": "reasoning.text", "text": answer.thinking, "signature": answer.signature, "index": 0}
        fields["reasoning_details"] = [detail]
    return fields


def _call(place: int, call: ToolUse) -> dict[str, Any]:
    function = {"name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
    return {"id": call.id or f"call_{place}", "type": "function", "function": function}


def _shell(kind: str, request: ReceivedRequest) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": kind, "created": 1_795_000_000, "model": request.model}


def _usage(answer: ModelAnswer) -> dict[str, int]:
    prompt, completion = answer.usage
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _check_names(body: dict[str, Any]) -> None:
    """Check the names of functions: mrexodia/ida-pro-mcp#129, use-novamira/novamira#12."""
    calls = [call for message in body["messages"] for call in message.get("tool_calls") or ()]
    for place, entry in enumerate([*(body.get("tools") or ()), *calls]):
        name = entry.get("function", {}).get("name", "")
        if len(name) > 64:
            raise Refused(
                f"Invalid 'tools[{place}].function.name': string too long. Expected a string with maximum length 64, "
                f"but got a string with length {len(name)} instead."
            )
        if not re.fullmatch(r"[a-zA-Z0-9_-]+", name):
            raise Refused(
                f"Invalid 'tools[{place}].function.name': string does not match pattern. Expected a string that "
                "matches the pattern '^[a-zA-Z0-9_-]+$'."
            )
