"""OpenAI's Responses API: `POST /v1/responses`, as its public reference has it.

Strict: see `responses_checks`. Reasoning that it gets back has to be as it made it, before the item
that stood behind it. `responses_wire` has the objects and the events.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tests.kit.record import Recorded

from . import ModelAnswer, ReceivedRequest, ReceivedTurn, ToolUse, responses_wire
from .http import KEY, MODEL, HttpProvider, Refused, bearer
from .responses_checks import check_fields, check_input, name_of
from .responses_wire import Item, custom_call, function_call, message, reasoning, response

TYPES = {401: "invalid_request_error", 429: "requests"}
CODES = {
    "Unknown parameter": "unknown_parameter",
    "Unsupported parameter": "unsupported_parameter",
    "Invalid value": "invalid_value",
    "Missing required parameter": "missing_required_parameter",
    "The encrypted content": "invalid_encrypted_content",
}


class ResponsesProvider(HttpProvider):
    """`provider = "responses"`."""

    name: ClassVar[str] = "responses"
    keeps: ClassVar[frozenset[str]] = frozenset({"thinking", "signature"})
    tool_images: ClassVar[bool] = True
    paths: ClassVar[tuple[str, ...]] = ("/v1/responses",)

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.issued: dict[str, Mapping[str, Any]] = {}
        """The reasoning items that it has made, by their ids.

        `next` names what stood behind each.
        """
        self.outputs: list[Sequence[Item]] = []
        """What it answers with next in place of what the script says, each once."""
        self.output: Sequence[Item] | None = None
        """The same, again and again."""
        self._made = 0

    def forget(self) -> None:
        """Forget the script, the requests and what it has made."""
        self.script(ModelAnswer("ready"))
        self.issued.clear()
        self.output = None
        self.outputs.clear()

    def settings(self) -> str:
        return f'provider = "responses"\nmodel = "{MODEL}"\napi_base = "{self.base}/v1"\napi_key = "{KEY}"\n'

    def received(self, recorded: Recorded) -> ReceivedRequest:
        key = bearer(recorded)
        if key != KEY:
            raise Refused("Incorrect API key provided.", 401)
        body = recorded.json
        if not isinstance(body, dict):
            raise Refused("We could not parse the JSON body of your request.")
        check_fields(body)
        given = body.get("input")
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
        if not items and not body.get("instructions"):
            raise Refused("Missing required parameter: 'input'.")
        check_input(items, self.issued)
        systems = [body["instructions"]] if body.get("instructions") else []
        turns = list(_turns(items, systems))
        wanted = (body.get("text") or {}).get("format") or {}
        tools = tuple(tool["name"] for tool in body.get("tools") or () if "name" in tool)
        return ReceivedRequest(
            model=body["model"],
            stream=bool(body.get("stream")),
            key=key,
            system="\n\n".join(systems),
            turns=tuple(turns),
            tools=tools,
            schema=wanted.get("schema"),
            body=body,
        )

    def error(self, status: int, message: str) -> dict[str, Any]:
        kind = TYPES.get(status) or ("invalid_request_error" if status < 500 else "server_error")
        code = next((code for words, code in CODES.items() if message.startswith(words)), None)
        named = re.search(r"'([^']*)'", message)
        param = named[1] if named and code else None
        return {"error": {"message": message, "type": kind, "param": param, "code": code}}

    def whole(self, answer: ModelAnswer, request: ReceivedRequest) -> dict[str, Any]:
        self._made += 1
        finish = answer.finish_reason
        incomplete = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(finish)
        given = self.outputs.pop(0) if self.outputs else self.output
        output = self._output(answer, request) if given is None else list(given)
        for item, behind in zip(output, [*output[1:], None], strict=True):
            if item["type"] == "reasoning":
                self.issued[item["id"]] = {**item, "next": name_of(behind) if behind else None}
        return response(
            output,
            request.body,
            id=f"resp_{self._made:04}",
            status="incomplete" if incomplete else "completed",
            incomplete=incomplete,
            usage=answer.usage,
        )

    def stream(self, answer: ModelAnswer, request: ReceivedRequest) -> Sequence[bytes]:
        return responses_wire.stream(self.whole(answer, request))

    def beginning(self, answer: ModelAnswer, request: ReceivedRequest) -> Sequence[bytes]:
        pieces = list(self.stream(answer, request))
        last = max(place for place, piece in enumerate(pieces) if b"output_text.delta" in piece)
        return pieces[: last + 1]

    def _output(self, answer: ModelAnswer, request: ReceivedRequest) -> list[Item]:
        output: list[Item] = []
        customs = [tool["name"] for tool in request.body.get("tools") or () if tool["type"] == "custom"]
        unique = f"{self._made:04}"
        if answer.thinking or answer.signature:
            parts = [answer.thinking] if answer.thinking else []
            output.append(reasoning(f"rs_{unique}", *parts, encrypted=answer.signature or None))
        if answer.text or not answer.calls:
            output.append(message(f"msg_{unique}", answer.text))
        for place, call in enumerate(answer.calls):
            call_id = call.id or f"call_{unique}{place}"
            if call.name in customs:
                output.append(custom_call(f"ctc_{unique}{place}", call_id, call.name, call.arguments["input"]))
            else:
                output.append(function_call(f"fc_{unique}{place}", call_id, call.name, call.arguments))
        return output


def _turns(items: Sequence[Item], systems: list[str]) -> list[ReceivedTurn]:
    """What the input says, turn by turn; system messages are added to `systems`."""
    turns: list[ReceivedTurn] = []
    open_turn: dict[str, Any] = {}

    def close() -> None:
        if open_turn:
            turns.append(ReceivedTurn("assistant", **open_turn))
            open_turn.clear()

    for item in items:
        kind, role = item.get("type", "message"), item.get("role")
        if kind == "reasoning":
            texts = [part["text"] for part in item["summary"]]
            open_turn["thinking"] = open_turn.get("thinking", "") + "\n\n".join(texts)
            open_turn["signature"] = open_turn.get("signature", "") + item["encrypted_content"]
        elif kind == "message" and role == "assistant":
            open_turn["text"] = open_turn.get("text", "") + _text(item["content"])
        elif kind in ("function_call", "custom_tool_call"):
            call = ToolUse(item["name"], _arguments(item), item["call_id"])
            open_turn["calls"] = (*open_turn.get("calls", ()), call)
        else:
            close()
            if kind.endswith("_output"):
                output = item["output"]
                turns.append(ReceivedTurn("tool", _text(output), _images(output), call_id=item["call_id"]))
            elif role in ("system", "developer"):
                systems.append(_text(item["content"]))
            elif role == "user":
                turns.append(ReceivedTurn("user", _text(item["content"]), _images(item["content"])))
    close()
    return turns


def _arguments(item: Item) -> dict[str, Any]:
    value = json.loads(item["arguments"]) if "arguments" in item else {"input": item["input"]}
    return dict(value)


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if isinstance(part, dict))


def _images(content: Any) -> tuple[str, ...]:
    if isinstance(content, str):
        return ()
    return tuple(part["image_url"].split(",", 1)[-1] for part in content if part.get("type") == "input_image")
