"""The clients of the dialects: what they send, and how they read an answer, streamed or whole.

A test asks and reads in the terms of `terms`. What a client hands back with the next turn is what
it got: `ReadAnswer.history` holds those items in the dialect's own shape.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import httpx

from tests.kit.providers import Finish, ToolUse
from tests.llm.providers.matrix.terms import Item, Question, ReadAnswer, ToolResult

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


class Client(ABC):
    """The client of one dialect."""

    name: ClassVar[str]
    path: ClassVar[str]

    def ask(self, http: httpx.Client, question: Question) -> ReadAnswer:
        """The answer to `question`."""
        response = http.post(self.path, json=self.body(question))
        if response.status_code != 200:
            body = response.json()
            return replace(_failed(body, response.status_code), headers=response.headers)
        if not question.stream:
            return self.whole(response.json())
        return self.streamed([json.loads(line) for line in _lines(response.text)])

    @abstractmethod
    def body(self, question: Question) -> Item:
        """The body of the request."""

    @abstractmethod
    def whole(self, body: Item) -> ReadAnswer:
        """What a whole answer says."""

    @abstractmethod
    def streamed(self, events: Sequence[Item]) -> ReadAnswer:
        """What the objects of a stream say."""


class Chat(Client):
    """OpenAI's chat completions."""

    name, path = "chat", "/v1/chat/completions"

    def body(self, question: Question) -> Item:
        messages: list[Item] = [{"role": "system", "content": question.system}] if question.system else []
        for turn in question.turns:
            if isinstance(turn, str):
                messages.append({"role": "user", "content": turn})
                continue
            messages += [_chat_result(each) if isinstance(each, ToolResult) else each for each in turn]
        body: Item = {"model": question.model, "messages": messages}
        if question.tools:
            functions = [{"name": name, "parameters": PARAMETERS} for name in question.tools]
            body["tools"] = [{"type": "function", "function": function} for function in functions]
        if question.schema is not None:
            schema = {"name": "answer", "schema": question.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if question.thinks:
            body["reasoning_effort"] = "low"
        if question.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def whole(self, body: Item) -> ReadAnswer:
        [choice] = body["choices"]
        return self._read(choice["message"], choice["finish_reason"], body.get("usage"))

    def streamed(self, events: Sequence[Item]) -> ReadAnswer:
        message: Item = {"role": "assistant", "content": ""}
        finish, usage = None, None
        for event in events:
            if "error" in event:
                return replace(self._read(message, None, None), **vars_of(_failed(event, 200)))
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                finish = choice["finish_reason"] or finish
                _add(message, choice["delta"])
        return self._read(message, finish, usage)

    def _read(self, message: Item, finish: Finish | None, usage: Item | None) -> ReadAnswer:
        calls = [
            ToolUse(call["function"]["name"], json.loads(call["function"]["arguments"]), call["id"])
            for call in message.get("tool_calls") or ()
        ]
        return ReadAnswer(
            status=200,
            text=message.get("content") or "",
            thinking=message.get("reasoning_content") or "",
            calls=tuple(calls),
            finish=finish,
            usage=(usage["prompt_tokens"], usage["completion_tokens"]) if usage else None,
            history=({key: value for key, value in message.items() if value is not None},),
        )


class Messages(Client):
    """Anthropic's messages."""

    name, path = "anthropic", "/v1/messages"
    finishes: ClassVar[Mapping[str, Finish]] = {
        "end_turn": "stop",
        "max_tokens": "length",
        "tool_use": "tool_calls",
        "refusal": "content_filter",
    }

    def body(self, question: Question) -> Item:
        messages: list[Item] = []
        for turn in question.turns:
            if isinstance(turn, str):
                messages.append({"role": "user", "content": turn})
            elif turn and isinstance(turn[0], ToolResult):
                blocks = [_result_block(each) for each in turn if isinstance(each, ToolResult)]
                messages.append({"role": "user", "content": blocks})
            else:
                messages += [each for each in turn if not isinstance(each, ToolResult)]
        body: Item = {"model": question.model, "messages": messages, "max_tokens": 4096}
        if question.system:
            body["system"] = question.system
        if question.tools:
            body["tools"] = [{"name": name, "input_schema": PARAMETERS} for name in question.tools]
        if question.schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": question.schema}}
        if question.thinks:
            body["thinking"] = {"type": "enabled", "budget_tokens": 1024}
        return {**body, "stream": True} if question.stream else body

    def whole(self, body: Item) -> ReadAnswer:
        return self._read(body["content"], body["stop_reason"], body["usage"])

    def streamed(self, events: Sequence[Item]) -> ReadAnswer:
        blocks: list[Item] = []
        arguments: dict[int, str] = {}
        stop, usage, ended = None, None, False
        for event in events:
            kind = event["type"]
            if kind == "error":
                return replace(self._read(blocks, None, None), **vars_of(_failed(event, 200)))
            if kind == "content_block_start":
                blocks.append(dict(event["content_block"]))
            elif kind == "content_block_delta":
                delta = dict(event["delta"])
                if delta.pop("type") == "input_json_delta":
                    arguments[event["index"]] = arguments.get(event["index"], "") + delta["partial_json"]
                else:
                    _add(blocks[event["index"]], delta)
            elif kind == "message_delta":
                stop, usage = event["delta"]["stop_reason"], event["usage"]
            ended = kind == "message_stop"
        for place, text in arguments.items():
            blocks[place]["input"] = json.loads(text)
        return self._read(blocks, stop if ended else None, usage)

    def _read(self, blocks: Sequence[Item], stop: str | None, usage: Item | None) -> ReadAnswer:
        calls = [ToolUse(block["name"], block["input"], block["id"]) for block in blocks if block["type"] == "tool_use"]
        return ReadAnswer(
            status=200,
            text="".join(block["text"] for block in blocks if block["type"] == "text"),
            thinking="".join(block["thinking"] for block in blocks if block["type"] == "thinking"),
            calls=tuple(calls),
            finish=self.finishes[stop] if stop else None,
            usage=(usage["input_tokens"], usage["output_tokens"]) if usage else None,
            history=({"role": "assistant", "content": list(blocks)},),
        )


class Responses(Client):
    """OpenAI's responses."""

    name, path = "responses", "/v1/responses"

    def body(self, question: Question) -> Item:
        items: list[Item] = []
        for turn in question.turns:
            if isinstance(turn, str):
                items.append({"role": "user", "content": turn})
                continue
            items += [_output_item(each) if isinstance(each, ToolResult) else each for each in turn]
        body: Item = {"model": question.model, "input": items, "store": False}
        if question.system:
            body["instructions"] = question.system
        if question.tools:
            body["tools"] = [{"type": "function", "name": name, "parameters": PARAMETERS} for name in question.tools]
        if question.schema is not None:
            body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": question.schema}}
        if question.thinks:
            body |= {"reasoning": {"effort": "low"}, "include": ["reasoning.encrypted_content"]}
        return {**body, "stream": True} if question.stream else body

    def whole(self, body: Item) -> ReadAnswer:
        calls, texts, thoughts = [], [], []
        for item in body["output"]:
            if item["type"] == "function_call":
                calls.append(ToolUse(item["name"], json.loads(item["arguments"] or "{}"), item["call_id"]))
            elif item["type"] == "message":
                texts += [part.get("text") or part.get("refusal") or "" for part in item["content"]]
            elif item["type"] == "reasoning":
                thoughts += [part["text"] for part in item["summary"] or item.get("content") or ()]
        usage = body.get("usage")
        error = body.get("error") or {}
        return ReadAnswer(
            status=200,
            text="".join(texts),
            thinking="".join(thoughts),
            calls=tuple(calls),
            finish=self._finish(body, bool(calls)),
            usage=(usage["input_tokens"], usage["output_tokens"]) if usage else None,
            error=error.get("message", ""),
            code=error.get("code", ""),
            history=tuple(body["output"]),
        )

    def streamed(self, events: Sequence[Item]) -> ReadAnswer:
        last = events[-1]
        if last["type"] == "error":
            return _failed(last, 200)
        read = self.whole(last["response"])
        deltas = [event["delta"] for event in events if event["type"] == "response.output_text.delta"]
        assert "".join(deltas) == read.text
        return read

    def _finish(self, body: Item, has_calls: bool) -> Finish | None:
        if body["status"] == "completed":
            return "tool_calls" if has_calls else "stop"
        reason = (body.get("incomplete_details") or {}).get("reason")
        finishes: dict[str | None, Finish] = {"max_output_tokens": "length", "content_filter": "content_filter"}
        return finishes.get(reason)


class Ollama(Client):
    """Ollama's chat."""

    name, path = "ollama", "/api/chat"

    def body(self, question: Question) -> Item:
        messages: list[Item] = [{"role": "system", "content": question.system}] if question.system else []
        for turn in question.turns:
            if isinstance(turn, str):
                messages.append({"role": "user", "content": turn})
                continue
            messages += [_ollama_result(each) if isinstance(each, ToolResult) else each for each in turn]
        body: Item = {"model": question.model, "messages": messages, "stream": question.stream}
        if question.tools:
            functions = [{"name": name, "parameters": PARAMETERS} for name in question.tools]
            body["tools"] = [{"type": "function", "function": function} for function in functions]
        if question.schema is not None:
            body["format"] = question.schema
        if question.thinks:
            body["think"] = True
        return body

    def whole(self, body: Item) -> ReadAnswer:
        return self.streamed([body])

    def streamed(self, events: Sequence[Item]) -> ReadAnswer:
        message: Item = {"role": "assistant", "content": ""}
        for event in events:
            if "error" in event:
                return replace(self._read(message, {}), **vars_of(_failed(event, 200)))
            _add(message, event["message"])
        return self._read(message, events[-1])

    def _read(self, message: Item, last: Item) -> ReadAnswer:
        calls = [
            ToolUse(call["function"]["name"], call["function"]["arguments"], call.get("id", ""))
            for call in message.get("tool_calls") or ()
        ]
        finish: Finish | None = None
        if last.get("done"):
            reason: Finish = last["done_reason"]
            finish = "tool_calls" if calls and reason == "stop" else reason
        return ReadAnswer(
            status=200,
            text=message["content"],
            thinking=message.get("thinking", ""),
            calls=tuple(calls),
            finish=finish,
            usage=(last["prompt_eval_count"], last["eval_count"]) if finish else None,
            history=(message,),
        )


CLIENTS: dict[str, Client] = {client.name: client for client in (Chat(), Responses(), Messages(), Ollama())}


def vars_of(failed: ReadAnswer) -> dict[str, Any]:
    """The fields of an error that lie over what was read before it."""
    return {"error": failed.error, "code": failed.code, "finish": None}


def _failed(body: Item, status: int) -> ReadAnswer:
    """An error as each dialect has it: a text with a code beside it, or an object."""
    error = body.get("error")
    if isinstance(error, str):
        return ReadAnswer(status, error=error, code=body.get("code", ""))
    fields = error if isinstance(error, dict) else body
    return ReadAnswer(status, error=fields["message"], code=fields.get("code") or "")


def _lines(text: str) -> list[str]:
    """The JSON objects of a stream, SSE or lines."""
    lines = [line.removeprefix("data: ") for line in text.split("\n")]
    return [line for line in lines if line.startswith("{")]


def _add(message: Item, delta: Mapping[str, Any]) -> None:
    """Lay a piece of a message over it: texts are joined, lists grow, calls are put together by
    index.
    """
    for key, value in delta.items():
        before = message.get(key)
        if key == "tool_calls" and value and "index" in value[0]:
            calls = message.setdefault(key, [])
            for call in value:
                piece = {name: each for name, each in call.items() if name != "index"}
                if call["index"] < len(calls):
                    calls[call["index"]]["function"]["arguments"] += piece["function"]["arguments"]
                else:
                    calls.append(piece)
        elif isinstance(value, list):
            message[key] = [*(before or ()), *value]
        elif isinstance(value, str) and isinstance(before, str) and key not in ("role", "type"):
            message[key] = before + value
        elif value is not None:
            message[key] = value


def _chat_result(result: ToolResult) -> Item:
    content: Any = result.text
    if result.image:
        image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{result.image}"}}
        content = [{"type": "text", "text": result.text}, image]
    return {"role": "tool", "tool_call_id": result.call.id, "content": content}


def _result_block(result: ToolResult) -> Item:
    content: Any = result.text
    if result.image:
        source = {"type": "base64", "media_type": "image/png", "data": result.image}
        content = [{"type": "text", "text": result.text}, {"type": "image", "source": source}]
    return {"type": "tool_result", "tool_use_id": result.call.id, "content": content}


def _output_item(result: ToolResult) -> Item:
    output: Any = result.text
    if result.image:
        image = {"type": "input_image", "image_url": f"data:image/png;base64,{result.image}"}
        output = [{"type": "input_text", "text": result.text}, image]
    return {"type": "function_call_output", "call_id": result.call.id, "output": output}


def _ollama_result(result: ToolResult) -> Item:
    images = {"images": [result.image]} if result.image else {}
    ids = {"tool_call_id": result.call.id} if result.call.id else {}
    return {"role": "tool", "tool_name": result.call.name, "content": result.text, **ids, **images}
