"""How an answer ends, in each dialect, as its client sees it: whole, with a clear error, or
neither.

Written against `docs/API.md`, not with the code of Chorus: it is what judges Chorus.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.load import BadAnswer


@dataclass(frozen=True)
class Ending:
    """What a client got: `text` of a whole answer, or the `code` of an error ("" for an answer)."""

    text: str = ""
    code: str = ""


@dataclass(frozen=True)
class Dialect:
    """One protocol from its client's side: where and what to ask, and how pieces, ends and errors
    look.
    """

    path: str
    asks: Callable[[str], dict[str, Any]]
    """The body's fields that hold the prompt."""
    whole: Callable[[Any], str]
    """The text of a whole answer."""
    piece: Callable[[Any], str]
    """The text that one event of a stream adds."""
    is_end: Callable[[Any], bool]
    """Whether an event says that the answer is whole."""
    is_ndjson: bool = False
    is_done_sent: bool = False
    """Whether `[DONE]` follows the last event."""


def ending(dialect: Dialect, status: int, body: bytes, *, stream: bool) -> Ending:
    """How this answer ended; BadAnswer when that is not clear."""
    try:
        if status != 200:
            return Ending(code=_code(dialect, json.loads(body)))
        return _stream(dialect, body) if stream else Ending(text=dialect.whole(json.loads(body)))
    except (ValueError, LookupError, TypeError, AttributeError) as problem:
        raise BadAnswer(f"{dialect.path} {status} {problem!r}: {body[-300:]!r}") from problem


def _stream(dialect: Dialect, body: bytes) -> Ending:
    done = body.endswith(b"data: [DONE]\n\n")
    events = _ndjson(body) if dialect.is_ndjson else _sse(body)
    last = events[-1]
    if _is_error(last):
        if done:
            raise ValueError("[DONE] after an error")
        return Ending(code=_code(dialect, last))
    if done != dialect.is_done_sent or [dialect.is_end(event) for event in events].count(True) != 1:
        raise ValueError("no end, or several")
    return Ending(text="".join(map(dialect.piece, events)))


def _sse(body: bytes) -> list[Any]:
    lines = body.decode().split("\n")
    if lines[-2:] != ["", ""]:
        raise ValueError("it ends within an event")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ") and line != "data: [DONE]"]


def _ndjson(body: bytes) -> list[Any]:
    if not body.endswith(b"\n"):
        raise ValueError("it ends within a line")
    return [json.loads(line) for line in body.splitlines()]


def _is_error(event: Mapping[str, Any]) -> bool:
    return "error" in event or event.get("type") == "response.failed"


def _code(dialect: Dialect, body: Mapping[str, Any]) -> str:
    """The code of an error in the shape that this dialect's clients read."""
    if body.get("type") == "response.failed":
        error, request_id = body["response"]["error"], body["response"]["id"]
    elif dialect.path.startswith("/api/"):
        error, request_id = {"message": body["error"], "code": body["code"]}, body["request_id"]
    else:
        error, request_id = body["error"], body["error"]["request_id"]
    if dialect.path == "/v1/messages" and (body["type"] != "error" or not error["type"]):
        raise ValueError("not Anthropic's error")
    if not all(isinstance(each, str) and each for each in (error["message"], error["code"], request_id)):
        raise ValueError("an error without message, code or id")
    code: str = error["code"]
    return code


def _messages(prompt: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": prompt}]}


def _chat_piece(event: Any) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])


def _finishes(event: Any) -> bool:
    return any(choice["finish_reason"] for choice in event["choices"])


DIALECTS = (
    Dialect(
        "/v1/chat/completions",
        _messages,
        lambda body: body["choices"][0]["message"]["content"],
        _chat_piece,
        _finishes,
        is_done_sent=True,
    ),
    Dialect(
        "/v1/completions",
        lambda prompt: {"prompt": prompt},
        lambda body: body["choices"][0]["text"],
        lambda event: event["choices"][0]["text"],
        _finishes,
        is_done_sent=True,
    ),
    Dialect(
        "/v1/responses",
        lambda prompt: {"input": prompt},
        lambda body: body["output"][0]["content"][0]["text"],
        lambda event: event["delta"] if event["type"] == "response.output_text.delta" else "",
        lambda event: event["type"] in ("response.completed", "response.incomplete"),
    ),
    Dialect(
        "/v1/messages",
        lambda prompt: {**_messages(prompt), "max_tokens": 500},
        lambda body: body["content"][0]["text"],
        lambda event: event["delta"].get("text", "") if event["type"] == "content_block_delta" else "",
        lambda event: event["type"] == "message_stop",
    ),
    Dialect(
        "/api/chat",
        _messages,
        lambda body: body["message"]["content"],
        lambda event: event["message"]["content"],
        lambda event: event["done"],
        is_ndjson=True,
    ),
    Dialect(
        "/api/generate",
        lambda prompt: {"prompt": prompt},
        lambda body: body["response"],
        lambda event: event["response"],
        lambda event: event["done"],
        is_ndjson=True,
    ),
)
