"""How an answer looks in each upstream dialect, as bytes.

Every dialect turns one `Reply` into the same things: the pieces of a stream, its closing, the whole
non-streaming body, an error in mid-stream, and a refusal's body. Pacing is `perform.py`'s business.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .record import Recorded
from .script import Say, ToolCall

CREATED = 1_700_000_000
CREATED_AT = "2026-11-20T12:00:00.000001Z"


@dataclass(frozen=True)
class Reply:
    """A `Say` with everything settled."""

    pieces: Sequence[str]
    reasoning: Sequence[str]
    tool_calls: Sequence[ToolCall]
    finish: str | None
    usage: tuple[int, int] | None
    terminator: bool

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def thoughts(self) -> str:
        return "".join(self.reasoning)


def reply_to(request: Recorded, say: Say) -> Reply:
    """Settle what a `Say` leaves open: callable text, how it is cut, the usage."""
    text = say.text(request) if callable(say.text) else say.text
    pieces = list(say.pieces) if say.pieces is not None else in_words(text)
    reasoning = in_words(say.reasoning)
    usage = say.usage
    if usage is None:
        usage = (len(request.text.split()) or 1, len(pieces) + len(reasoning) + len(say.tool_calls) or 1)
    finish = "tool_calls" if say.tool_calls and say.finish == "stop" else say.finish
    reported = None if usage == "omit" else usage
    return Reply(pieces, reasoning, say.tool_calls, finish, reported, say.terminator)


def in_words(text: str) -> list[str]:
    """`text` cut before each word, as tokenisers like it: "one two" gives "one", " two"."""
    pieces: list[str] = []
    for word in text.split(" "):
        pieces.append(word if not pieces else " " + word)
    return [piece for piece in pieces if piece]


class Dialect(Protocol):
    """One upstream protocol."""

    content_type: str

    def wants_stream(self) -> bool: ...
    def pieces(self, reply: Reply) -> list[bytes]: ...
    def closing(self, reply: Reply) -> bytes: ...
    def whole(self, reply: Reply) -> bytes: ...
    def error(self, message: str) -> bytes: ...
    def refusal(self, code: int, message: str) -> bytes: ...


def dialect_of(request: Recorded) -> Dialect | None:
    """The dialect that a request's path belongs to; None for paths where models do not answer."""
    for suffix, dialect in _BY_SUFFIX.items():
        if request.method == "POST" and request.path.endswith(suffix):
            return dialect(request)
    return None


class OpenAIChat:
    """POST …/chat/completions."""

    content_type = "text/event-stream"
    _id, _object, _chunk_object = "chatcmpl-kit", "chat.completion", "chat.completion.chunk"

    def __init__(self, request: Recorded) -> None:
        self._body: dict[str, Any] = request.json if isinstance(request.json, dict) else {}
        options = self._body.get("stream_options") or {}
        self._include_usage = bool(options.get("include_usage"))
        self._count = int(self._body.get("n") or 1)

    def wants_stream(self) -> bool:
        return bool(self._body.get("stream"))

    def pieces(self, reply: Reply) -> list[bytes]:
        deltas: list[dict[str, Any]] = [{"reasoning_content": piece} for piece in reply.reasoning]
        deltas += [{"content": piece} for piece in reply.pieces]
        for index, call in enumerate(reply.tool_calls):
            deltas += [{"tool_calls": [delta]} for delta in _tool_deltas(index, call)]
        if not deltas:
            deltas = [{"content": ""}]
        opening = self._deltas({"role": "assistant", "content": ""})
        written = [self._deltas(delta) for delta in deltas]
        return [opening + written[0], *written[1:]]

    def closing(self, reply: Reply) -> bytes:
        out = b"" if reply.finish is None else self._deltas({}, reply.finish)
        if self._include_usage and reply.usage is not None:
            out += _event(self._shell(self._chunk_object, [], usage=_usage(reply.usage)))
        return out + (b"data: [DONE]\n\n" if reply.terminator else b"")

    def whole(self, reply: Reply) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
        if reply.thoughts:
            message["reasoning_content"] = reply.thoughts
        if reply.tool_calls:
            message["tool_calls"] = [_whole_tool_call(call) for call in reply.tool_calls]
        else:
            message["content"] = reply.text
        choices = [
            {"index": index, "message": message, "finish_reason": reply.finish, "logprobs": None}
            for index in range(self._count)
        ]
        usage = {} if reply.usage is None else {"usage": _usage(reply.usage)}
        return _json(self._shell(self._object, choices, **usage))

    def error(self, message: str) -> bytes:
        return _event({"error": {"message": message, "type": "server_error", "code": None, "param": None}})

    def refusal(self, code: int, message: str) -> bytes:
        return _json({"error": {"message": message, "type": "kit_error", "code": str(code), "param": None}})

    def _deltas(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        usage = {"usage": None} if self._include_usage else {}
        return b"".join(
            _event(
                self._shell(self._chunk_object, [{"index": index, "delta": delta, "finish_reason": finish}], **usage)
            )
            for index in range(self._count)
        )

    def _shell(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        head = {"id": self._id, "object": kind, "created": CREATED, "model": self._body.get("model")}
        return {**head, "choices": choices, **more}


class OpenAICompletions(OpenAIChat):
    """POST …/completions, the legacy one; a list of prompts gives as many choices."""

    _id, _object, _chunk_object = "cmpl-kit", "text_completion", "text_completion"

    def __init__(self, request: Recorded) -> None:
        super().__init__(request)
        prompt = self._body.get("prompt")
        if isinstance(prompt, list) and all(isinstance(entry, str) for entry in prompt):
            self._count *= len(prompt)

    def pieces(self, reply: Reply) -> list[bytes]:
        return [self._texts(piece) for piece in reply.pieces] or [self._texts("")]

    def closing(self, reply: Reply) -> bytes:
        out = b"" if reply.finish is None else self._texts("", reply.finish)
        if self._include_usage and reply.usage is not None:
            out += _event(self._shell(self._chunk_object, [], usage=_usage(reply.usage)))
        return out + (b"data: [DONE]\n\n" if reply.terminator else b"")

    def whole(self, reply: Reply) -> bytes:
        choices = [self._choice(index, reply.text, reply.finish) for index in range(self._count)]
        usage = {} if reply.usage is None else {"usage": _usage(reply.usage)}
        return _json(self._shell(self._object, choices, **usage))

    def _texts(self, text: str, finish: str | None = None) -> bytes:
        choices = (self._choice(index, text, finish) for index in range(self._count))
        return b"".join(_event(self._shell(self._chunk_object, [choice])) for choice in choices)

    @staticmethod
    def _choice(index: int, text: str, finish: str | None) -> dict[str, Any]:
        return {"index": index, "text": text, "finish_reason": finish, "logprobs": None}


class OllamaChat:
    """POST /api/chat: NDJSON, streaming unless the body says otherwise."""

    content_type = "application/x-ndjson"

    def __init__(self, request: Recorded) -> None:
        self._body: dict[str, Any] = request.json if isinstance(request.json, dict) else {}

    def wants_stream(self) -> bool:
        return self._body.get("stream", True) is not False

    def pieces(self, reply: Reply) -> list[bytes]:
        lines = [self._line(self._part(thinking=piece)) for piece in reply.reasoning]
        lines += [self._line(self._part(text=piece)) for piece in reply.pieces]
        if reply.tool_calls:
            lines.append(self._line(self._part(tools=reply.tool_calls)))
        return lines or [self._line(self._part())]

    def closing(self, reply: Reply) -> bytes:
        return self._line(self._part(), **self._ending(reply)) if reply.terminator else b""

    def whole(self, reply: Reply) -> bytes:
        part = self._part(text=reply.text, thinking=reply.thoughts, tools=reply.tool_calls)
        return self._line(part, **self._ending(reply))

    def error(self, message: str) -> bytes:
        return _json({"error": message}) + b"\n"

    def refusal(self, code: int, message: str) -> bytes:
        return _json({"error": message})

    def _part(self, *, text: str = "", thinking: str = "", tools: Sequence[ToolCall] = ()) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thinking:
            message["thinking"] = thinking
        if tools:
            functions = [{"name": call["name"], "arguments": json.loads(call["arguments"])} for call in tools]
            message["tool_calls"] = [{"function": function} for function in functions]
        return {"message": message}

    def _line(self, part: dict[str, Any], **ending: Any) -> bytes:
        head = {"model": self._body.get("model"), "created_at": CREATED_AT}
        return _json({**head, **part, "done": False, **ending}) + b"\n"

    def _ending(self, reply: Reply) -> dict[str, Any]:
        finish = "stop" if reply.finish == "tool_calls" else reply.finish
        ending: dict[str, Any] = {"done": True, "total_duration": 5_000_000, "load_duration": 1_000_000}
        if finish is not None:
            ending["done_reason"] = finish
        if reply.usage is not None:
            prompt, completion = reply.usage
            ending |= {"prompt_eval_count": prompt, "prompt_eval_duration": 1_000_000}
            ending |= {"eval_count": completion, "eval_duration": 3_000_000}
        return ending


class OllamaGenerate(OllamaChat):
    """POST /api/generate: the same with `response` in place of a message."""

    def _part(self, *, text: str = "", thinking: str = "", tools: Sequence[ToolCall] = ()) -> dict[str, Any]:
        return {"response": text, **({"thinking": thinking} if thinking else {})}


class Embeddings(OpenAIChat):
    """POST …/embeddings: eight numbers a text, always the same for the same text.

    Base64 when asked.
    """

    content_type = "application/json"

    def wants_stream(self) -> bool:
        return False

    def whole(self, reply: Reply) -> bytes:
        texts = _inputs(self._body)
        as_base64 = self._body.get("encoding_format") == "base64"
        data = [
            {"object": "embedding", "index": index, "embedding": _base64(vector) if as_base64 else vector}
            for index, vector in enumerate(map(vector_of, texts))
        ]
        words = sum(len(text.split()) for text in texts)
        usage = {"prompt_tokens": words, "total_tokens": words}
        return _json({"object": "list", "model": self._body.get("model"), "data": data, "usage": usage})


class OllamaEmbed(OllamaChat):
    """POST /api/embed, with the same numbers as `Embeddings`."""

    content_type = "application/json"

    def wants_stream(self) -> bool:
        return False

    def whole(self, reply: Reply) -> bytes:
        texts = _inputs(self._body)
        counts = {"total_duration": 2_000_000, "load_duration": 1_000_000}
        counts["prompt_eval_count"] = sum(len(text.split()) for text in texts)
        vectors = [vector_of(text) for text in texts]
        return _json({"model": self._body.get("model"), "embeddings": vectors, **counts})


_BY_SUFFIX: dict[str, type[OpenAIChat] | type[OllamaChat]] = {
    "/chat/completions": OpenAIChat,
    "/completions": OpenAICompletions,
    "/embeddings": Embeddings,
    "/api/chat": OllamaChat,
    "/api/generate": OllamaGenerate,
    "/api/embed": OllamaEmbed,
}


def model_list(names: Sequence[str]) -> bytes:
    """GET /v1/models."""
    entries = [{"id": name, "object": "model", "created": CREATED, "owned_by": "kit"} for name in names]
    return _json({"object": "list", "data": entries})


def tag_list(names: Sequence[str]) -> bytes:
    """GET /api/tags."""
    details = {
        "parent_model": "", "format": "gguf", "family": "kit", "families": ["kit"],
        "parameter_size": "1B", "quantization_level": "Q4_0",
    }  # fmt: skip
    digest = hashlib.sha256(b"kit").hexdigest()
    entries = [
        {"name": n, "model": n, "modified_at": CREATED_AT, "size": 1, "digest": digest, "details": details}
        for n in names
    ]
    return _json({"models": entries})


def vector_of(text: str) -> list[float]:
    """Eight numbers between -1 and 1 that depend on the text alone, exact in float32."""
    return [(byte - 128) / 128 for byte in hashlib.sha256(text.encode()).digest()[:8]]


def _inputs(body: dict[str, Any]) -> list[str]:
    given = body.get("input", "")
    return [str(entry) for entry in given] if isinstance(given, list) else [str(given)]


def _base64(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _tool_deltas(index: int, call: ToolCall) -> list[dict[str, Any]]:
    """id, type and name in the first delta; the arguments in two more."""
    arguments = call["arguments"]
    middle = len(arguments) // 2
    function = {"name": call["name"], "arguments": ""}
    head = {"index": index, "id": call["id"], "type": "function", "function": function}
    halves = [half for half in (arguments[:middle], arguments[middle:]) if half]
    return [head, *({"index": index, "function": {"arguments": half}} for half in halves)]


def _whole_tool_call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": call["arguments"]}
    return {"id": call["id"], "type": "function", "function": function}


def _usage(usage: tuple[int, int]) -> dict[str, int]:
    prompt, completion = usage
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + _json(data) + b"\n\n"


def _json(data: Any) -> bytes:
    # raw UTF-8 on purpose: real upstreams send it, and readers must survive cuts inside characters
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
