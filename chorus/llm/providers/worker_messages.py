"""The messages of an inference worker's wire as requests and chunks, in both directions (I1). Pure.

Above: the gateway's provider `grpc` writes requests and reads answers, a worker
(`chorus.inference`) does the opposite. Below: the stubs of `chorus.worker.v1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from chorus import wirejson
from chorus.errors import InvalidRequest
from chorus.llm.base import Chunk
from chorus.types import (
    ROLES,
    ChatRequest,
    FinishReason,
    Image,
    Message,
    Opaque,
    Part,
    Sampling,
    Text,
    ToolCall,
    ToolPiece,
    Tools,
)
from chorus.usage import Usage
from chorus.wirejson import JSON
from chorus.worker.v1 import inference_pb2 as pb

_FINISH: Final[dict[FinishReason, pb.FinishReason]] = {
    "stop": pb.FINISH_REASON_STOP,
    "length": pb.FINISH_REASON_LENGTH,
    "tool_calls": pb.FINISH_REASON_TOOL_CALLS,
    "content_filter": pb.FINISH_REASON_CONTENT_FILTER,
}
FINISH_OF: Final[dict[int, FinishReason]] = {number: reason for reason, number in _FINISH.items()}
_SAMPLING: Final = (
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "presence_penalty",
    "frequency_penalty",
)
_EXTRA_SAMPLING: Final[Mapping[str, type]] = {"top_k": int, "min_p": float, "repetition_penalty": float}
"""Fields of our servers' wire for which OpenAI's API has none: `ChatRequest.extra` holds them."""
OLLAMAS: Final[Mapping[str, str]] = {
    "top_k": "top_k",
    "min_p": "min_p",
    "repeat_penalty": "repetition_penalty",
}
"""Options of Ollama's that the wire has fields for, and these fields."""
_OLLAMAS_NAME: Final = {field: option for option, field in OLLAMAS.items()}
_INT64: Final = 2**63


class _Rest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of a request that stand in `openai_json` under their own names."""

    tool_choice: JSON = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: str | bool | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    suffix: str | None = None
    echo: bool = False


_REST: Final = frozenset(_Rest.__struct_fields__)


# --- requests


def write_request(request: ChatRequest, model: str, request_id: str) -> pb.GenerateRequest:
    """Return the message that asks a worker for `model`."""
    extra = dict(request.extra)
    sampling = _write_sampling(request, extra)
    rest = _Rest(*(getattr(request, name) for name in _Rest.__struct_fields__))
    written = pb.GenerateRequest(
        request_id=request_id,
        model=model,
        tools_json=request.tools.encoded if request.tools else b"",
        sampling=sampling,
        response_format_json=_json(request.response_format),
        openai_json=_json({**extra, **msgspec.to_builtins(rest)}),
    )
    if isinstance(request.prompt, str):
        written.prompt = request.prompt
    else:
        written.conversation.messages.extend(map(_write_message, request.messages))
    return written


def read_request(written: pb.GenerateRequest) -> ChatRequest:
    """Return the request of a message.

    Raises:
        InvalidRequest: it says nothing to answer, or a JSON field holds no JSON of its type.
    """
    others = json_object(written.openai_json, "openai_json")
    tools = _array(written.tools_json, "tools_json")
    try:
        rest = msgspec.convert({name: others[name] for name in _REST & others.keys()}, _Rest)
    except msgspec.ValidationError as problem:
        raise InvalidRequest(f"'openai_json' is not as expected: {problem}.") from None
    extra = {name: value for name, value in others.items() if name not in _REST}
    sampling = written.sampling
    for name in _EXTRA_SAMPLING:
        if sampling.HasField(name):
            extra[name] = getattr(sampling, name)
    kind = written.WhichOneof("input")
    if kind == "prompt":
        messages: tuple[Message, ...] = (Message("user", written.prompt),)
    else:
        messages = tuple(map(_read_message, written.conversation.messages))
    if not messages:
        raise InvalidRequest("The request has neither a prompt nor messages.")
    return ChatRequest(
        model=written.model,
        messages=messages,
        sampling=_read_sampling(sampling),
        tools=Tools(tools),
        response_format=_value(written.response_format_json, "response_format_json"),
        prompt=written.prompt if kind == "prompt" else None,
        extra=extra,
        **{name: getattr(rest, name) for name in _REST},
    )


def _write_sampling(request: ChatRequest, extra: dict[str, JSON]) -> pb.Sampling:
    """Return the sampling fields; those that move from `extra` are removed there."""
    fields: dict[str, Any] = {name: getattr(request.sampling, name) for name in _SAMPLING}
    options = request.ollama_options
    for name, kind in _EXTRA_SAMPLING.items():
        value = extra.get(name, options.get(_OLLAMAS_NAME[name]))
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and abs(value) < _INT64
            and value == kind(value)
        ):
            fields[name] = kind(value)
            extra.pop(name, None)
    return pb.Sampling(**fields, stop=request.sampling.stop)


def _read_sampling(sampling: pb.Sampling) -> Sampling:
    fields = {name: getattr(sampling, name) for name in _SAMPLING if sampling.HasField(name)}
    return Sampling(**fields, stop=tuple(sampling.stop))


def _write_message(message: Message) -> pb.Message:
    content = message.content
    parts = [pb.Part(text=content)] if isinstance(content, str) else [_write_part(part) for part in content]
    return pb.Message(
        role=message.role,
        parts=parts,
        reasoning=message.reasoning,
        tool_calls=[
            pb.ToolCall(
                id=call.id,
                name=call.name,
                arguments=call.arguments,
                openai_json=_json(call.extra),
            )
            for call in message.tool_calls
        ],
        tool_call_id=message.tool_call_id,
        name=message.name,
        openai_json=_json(message.extra),
    )


def _read_message(written: pb.Message) -> Message:
    role = next((role for role in ROLES if role == written.role), None)
    if role is None:
        raise InvalidRequest(f"A message has the role '{written.role[:40]}', which is none.")
    parts = tuple(_read_part(part) for part in written.parts)
    is_text = len(parts) == 1 and isinstance(parts[0], Text) and not parts[0].extra
    return Message(
        role=role,
        content=parts[0].text if is_text and isinstance(parts[0], Text) else parts or "",
        reasoning=written.reasoning,
        tool_calls=tuple(
            ToolCall(call.id, call.name, call.arguments, json_object(call.openai_json, "openai_json"))
            for call in written.tool_calls
        ),
        tool_call_id=written.tool_call_id if written.HasField("tool_call_id") else None,
        name=written.name if written.HasField("name") else None,
        extra=json_object(written.openai_json, "openai_json"),
    )


def _write_part(part: Part) -> pb.Part:
    if isinstance(part, Text):
        return pb.Part(text=part.text, openai_json=_json(part.extra))
    if isinstance(part, Image):
        return pb.Part(image=pb.Image(url=part.url, detail=part.detail), openai_json=_json(part.extra))
    return pb.Part(other_json=_json(part.data))


def _read_part(written: pb.Part) -> Part:
    extra = json_object(written.openai_json, "openai_json")
    kind = written.WhichOneof("part")
    if kind == "image":
        image = written.image
        return Image(image.url, image.detail if image.HasField("detail") else None, extra)
    if kind == "other_json":
        return Opaque(json_object(written.other_json, "other_json"))
    return Text(written.text, extra)


# --- answers


def write_chunk(chunk: Chunk) -> pb.GenerateResponse:
    """Return the message that holds a piece of an answer."""
    if chunk.text and not (
        chunk.finish_reason or chunk.usage or chunk.reasoning or chunk.tool_calls or chunk.extra or chunk.logprobs
    ):
        return pb.GenerateResponse(text=chunk.text)  # nearly all
    others = dict(chunk.extra or {})
    if chunk.logprobs is not None:
        others["logprobs"] = chunk.logprobs
    usage = chunk.usage
    return pb.GenerateResponse(
        text=chunk.text,
        reasoning=chunk.reasoning,
        tool_calls=[_write_piece(piece) for piece in chunk.tool_calls],
        finish_reason=_FINISH[chunk.finish_reason] if chunk.finish_reason else None,
        usage=None if usage is None else write_usage(usage),
        openai_json=_json(others),
    )


def write_usage(usage: Usage) -> pb.Usage:
    """Return the message that holds token counts."""
    return pb.Usage(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        estimated=usage.estimated,
    )


def _write_piece(piece: ToolPiece) -> pb.ToolCallPiece:
    return pb.ToolCallPiece(
        index=piece.index,
        id=piece.id,
        name=piece.name,
        arguments=piece.arguments,
        openai_json=_json(piece.extra),
    )


# --- JSON fields


def _json(value: JSON) -> bytes:
    """Return the text of a JSON field; nothing for None and for an empty object."""
    return wirejson.encode_upstream(value) if value else b""


def _value(raw: bytes, name: str) -> JSON:
    if not raw:
        return None
    try:
        return wirejson.decode(raw)
    except ValueError as problem:
        raise InvalidRequest(f"'{name}' is no JSON: {problem}.") from None


def json_object(raw: bytes, name: str) -> dict[str, JSON]:
    """Return the object of the JSON field `name`; an empty one where it holds nothing.

    Raises:
        InvalidRequest: it holds no object.
    """
    value = _value(raw, name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest(f"'{name}' is no JSON object.")
    return value


def _array(raw: bytes, name: str) -> list[JSON]:
    value = _value(raw, name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InvalidRequest(f"'{name}' is no JSON array.")
    return value
