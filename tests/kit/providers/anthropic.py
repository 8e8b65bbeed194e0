"""Anthropic's Messages API: `POST /v1/messages`, its token counts and its list of models.

It refuses what `anthropic_rules` says, checks that thinking comes back unchanged, and keeps a
prompt cache as the real one does: a mark ends a prefix that later requests read, and what changes
before a mark, or the choice of tools or thinking, makes another prefix.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tests.kit.record import Recorded
from tests.kit.script import Behaviour, Raw, Status

from . import FailureKind, ModelAnswer, ReceivedRequest, ReceivedTurn, ToolUse
from .anthropic_rules import check, prefix_blocks
from .http import KEY, STATUSES, HttpProvider, Refused, encoded, event, words

MODEL = "claude-haiku-4-5"
LEAST_CACHED = 64
"""Tokens of the shortest prefix that is cached; the real ones have 1,024 and more."""
STOPS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}
TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


class AnthropicProvider(HttpProvider):
    """`provider = "anthropic"`."""

    name: ClassVar[str] = "anthropic"
    keeps: ClassVar[frozenset[str]] = frozenset({"thinking", "signature"})
    tool_images: ClassVar[bool] = True
    paths: ClassVar[tuple[str, ...]] = ("/v1/messages",)
    statuses: ClassVar[dict[FailureKind, int]] = {**STATUSES, "overloaded": 529}
    model: ClassVar[str] = MODEL

    def __init__(self, upstream: Any) -> None:
        super().__init__(upstream)
        self.signed: dict[str, str] = {}
        """The thinking of each signature that went out."""
        self.cached: set[str] = set()
        """The prefixes in the cache."""
        self.bodies: list[dict[str, Any]] = []
        """Every body that was accepted, the oldest first."""
        self.counts: list[dict[str, Any]] = []
        """Every body whose tokens were counted."""
        upstream.on("/v1/messages/count_tokens", self._counted)
        upstream.on(f"/v1/models/{self.model}", self._described)
        upstream.on("/v1/models", lambda recorded: Status(200, {"data": [self.entry()], "has_more": False}))

    def settings(self) -> str:
        return f'provider = "anthropic"\nmodel = "{self.model}"\napi_base = "{self.base}"\napi_key = "{KEY}"\n'

    def entry(self) -> dict[str, Any]:
        """What the list of models says of the model."""
        yes = {"supported": True}
        capabilities = {"image_input": yes, "thinking": {**yes, "types": {}}, "structured_outputs": yes}
        entry = {"type": "model", "id": self.model, "display_name": "Claude", "created_at": "2025-09-29T00:00:00Z"}
        return {**entry, "capabilities": capabilities, "max_input_tokens": 200_000, "max_tokens": 64_000}

    def received(self, recorded: Recorded) -> ReceivedRequest:
        body = self._checked(recorded)
        check(body, betas=recorded.headers.get("anthropic-beta", ""))
        self._check_signatures(body)
        self.bodies.append(body)
        output = body.get("output_config", {}).get("format")
        return ReceivedRequest(
            model=body["model"],
            stream=body.get("stream", False),
            key=recorded.headers.get("x-api-key", ""),
            system=_text_of(body.get("system", "")),
            turns=tuple(turn for message in body["messages"] for turn in _turns(message)),
            tools=tuple(tool["name"] for tool in body.get("tools", ())),
            schema=output["schema"] if output else None,
            body=body,
        )

    def _checked(self, recorded: Recorded) -> dict[str, Any]:
        headers = recorded.headers
        if not headers.get("x-api-key") and "authorization" not in headers:
            raise Refused("x-api-key header is required", 401)
        if headers.get("anthropic-version") not in ("2023-06-01", "2026-10-21"):
            raise Refused("anthropic-version: header is required")
        if not isinstance(recorded.json, dict):
            raise Refused("The request body is not valid JSON")
        return recorded.json

    def _check_signatures(self, body: Mapping[str, Any]) -> None:
        for place, message in enumerate(body["messages"]):
            blocks = message["content"] if isinstance(message["content"], list) else []
            for number, block in enumerate(blocks):
                if block["type"] == "thinking" and self.signed.get(block["signature"]) != block["thinking"]:
                    where = f"messages.{place}.content.{number}"
                    raise Refused(f"{where}: Invalid `signature` in `thinking` block")

    def _counted(self, recorded: Recorded) -> Behaviour:
        try:
            body = self._checked(recorded)
            if unknown := sorted(body.keys() & {"max_tokens", "stream", "temperature", "metadata"}):
                raise Refused(f"{unknown[0]}: Extra inputs are not permitted")
            check(body, counting=True)
        except Refused as refusal:
            self.refusals.append(str(refusal))
            return Status(refusal.status, self.error(refusal.status, str(refusal)))
        self.counts.append(body)
        return Status(200, {"input_tokens": _tokens(prefix_blocks(body))})

    def _described(self, recorded: Recorded) -> Behaviour:
        return Status(200, self.entry())

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = TYPES.get(status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011CScripted"}

    def whole(self, answer: ModelAnswer, request: ReceivedRequest) -> dict[str, Any]:
        usage = self.usage(answer, request.body)
        content = self.content(answer)
        return {**_message(request, usage), "content": content, "stop_reason": STOPS[answer.finish_reason]}

    def content(self, answer: ModelAnswer) -> list[dict[str, Any]]:
        """The blocks of an answer."""
        blocks: list[dict[str, Any]] = []
        if answer.thinking:
            signature = answer.signature or "c2lnbmVk"
            self.signed[signature] = answer.thinking
            blocks.append({"type": "thinking", "thinking": answer.thinking, "signature": signature})
        if answer.text:
            blocks.append({"type": "text", "text": answer.text, "citations": None})
        for place, call in enumerate(answer.calls):
            id = call.id or f"toolu_01{place}"
            direct = {"type": "direct"}
            blocks.append(
                {"type": "tool_use", "id": id, "name": call.name, "input": dict(call.arguments), "caller": direct}
            )
        return blocks

    def stream(self, answer: ModelAnswer, request: ReceivedRequest) -> Sequence[bytes]:
        usage = self.usage(answer, request.body)
        return stream_of(_message(request, usage), self.content(answer), STOPS[answer.finish_reason], usage)

    def usage(self, answer: ModelAnswer, body: Mapping[str, Any]) -> dict[str, Any]:
        """The counts of an answer: what is read from the cache and written to it is not among
        `input_tokens`.
        """
        blocks = prefix_blocks(body)
        marks = [place for place, block in enumerate(blocks) if "cache_control" in block]
        prefixes = {place: _prefix(body, blocks[: place + 1]) for place in marks}
        sizes = {place: _tokens(blocks[: place + 1]) for place in marks}
        read = max((sizes[place] for place in marks if prefixes[place] in self.cached), default=0)
        written = max((size for size in sizes.values() if size >= LEAST_CACHED), default=0)
        self.cached |= {prefixes[place] for place in marks if sizes[place] >= LEAST_CACHED}
        prompt, completion = answer.usage
        return {
            "input_tokens": prompt,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": max(0, written - read),
            "output_tokens": completion,
        }


class AdaptiveAnthropicProvider(AnthropicProvider):
    """The same with a model that thinks adaptively."""

    name: ClassVar[str] = "anthropic-adaptive"
    model: ClassVar[str] = "claude-sonnet-5-5"


def stream_of(
    shell: Mapping[str, Any], content: Sequence[Mapping[str, Any]], stop_reason: str, usage: Mapping[str, Any]
) -> list[bytes]:
    """A message as its stream has it, one write each, with a `ping` as the real one has."""
    start = {**shell, "usage": {**usage, "output_tokens": 1}}
    pieces = [event({"type": "message_start", "message": start}, "message_start"), event({"type": "ping"}, "ping")]
    for index, block in enumerate(content):
        pieces += _block_events(index, block)
    delta = {"stop_reason": stop_reason, "stop_sequence": None}
    pieces.append(event({"type": "message_delta", "delta": delta, "usage": dict(usage)}, "message_delta"))
    pieces.append(event({"type": "message_stop"}, "message_stop"))
    return pieces


def _block_events(index: int, block: Mapping[str, Any]) -> list[bytes]:
    start, deltas = dict(block), list[dict[str, Any]]()
    if block["type"] == "text":
        start = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": word} for word in words(block["text"])]
        deltas += [{"type": "citations_delta", "citation": cited} for cited in block.get("citations") or ()]
    elif block["type"] == "thinking":
        start = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = [{"type": "thinking_delta", "thinking": word} for word in words(block["thinking"])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    elif block["type"] in ("tool_use", "server_tool_use"):
        start["input"] = {}
        text = json.dumps(block["input"], ensure_ascii=False)
        cuts = [text[: len(text) // 2], text[len(text) // 2 :]] if block["input"] else []
        deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *cuts)]
    begin: dict[str, Any] = {"type": "content_block_start", "index": index, "content_block": start}
    more: list[dict[str, Any]] = [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
    return [event(each, each["type"]) for each in (begin, *more, {"type": "content_block_stop", "index": index})]


def raw_answer(
    content: Sequence[Mapping[str, Any]],
    *,
    stream: bool,
    stop_reason: str = "end_turn",
    model: str = MODEL,
    **more: Any,
) -> Raw:
    """An answer of these blocks, for tests of what `ModelAnswer` has no word for."""
    usage = {"input_tokens": 11, "output_tokens": 7}
    shell = {"id": "msg_01", "type": "message", "role": "assistant", "model": model, "content": []}
    if stream:
        return Raw(stream_of(shell, content, stop_reason, usage), close=False)
    whole = {**shell, "content": list(content), "stop_reason": stop_reason, "stop_sequence": None, "usage": usage}
    return Raw([encoded({**whole, **more})], content_type="application/json", close=False)


def _message(request: ReceivedRequest, usage: Mapping[str, Any]) -> dict[str, Any]:
    shell = {"id": "msg_01Scripted", "type": "message", "role": "assistant", "model": request.model, "content": []}
    return {**shell, "stop_reason": None, "stop_sequence": None, "usage": dict(usage)}


def _prefix(body: Mapping[str, Any], blocks: Sequence[Mapping[str, Any]]) -> str:
    """What tells a prefix from others.

    Within the messages, the choice of tools, thinking and format belong to it.
    """
    plain = [{key: value for key, value in block.items() if key != "cache_control"} for block in blocks]
    reaches_messages = len(blocks) > len(body.get("tools", ())) + len(body.get("system", ()))
    settings = [body.get(name) for name in ("tool_choice", "thinking", "output_config")] if reaches_messages else []
    return json.dumps([body["model"], plain, settings], sort_keys=True)


def _tokens(blocks: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(json.dumps(block, ensure_ascii=False)) // 4 for block in blocks)


def _turns(message: Mapping[str, Any]) -> list[ReceivedTurn]:
    """One message as turns: each result of a tool is one."""
    content = message["content"]
    blocks: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    results = [block for block in blocks if block["type"] == "tool_result"]
    others = [block for block in blocks if block["type"] != "tool_result"]
    turns = [_result(block) for block in results]
    if others:
        thinking = [block for block in others if block["type"] == "thinking"]
        turns.append(
            ReceivedTurn(
                message["role"],
                _text_of(others),
                _images(others),
                tuple(
                    ToolUse(block["name"], block["input"], block["id"])
                    for block in others
                    if block["type"] == "tool_use"
                ),
                thinking="".join(block["thinking"] for block in thinking),
                signature="".join(block["signature"] for block in thinking),
            )
        )
    return turns


def _result(block: Mapping[str, Any]) -> ReceivedTurn:
    content = block.get("content", "")
    images = _images(content) if isinstance(content, list) else ()
    return ReceivedTurn("tool", _text_of(content), images, call_id=block["tool_use_id"])


def _images(blocks: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(block["source"]["data"] for block in blocks if block["type"] == "image" and "data" in block["source"])


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n\n".join(block["text"] for block in content if block["type"] == "text")
