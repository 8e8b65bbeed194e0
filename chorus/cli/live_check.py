"""What the models of a configuration can do, found out by one tiny request for each capability.

Above: `check` with `--live`. A model is asked one thing after another, since small accounts have
tight rate limits; several models are asked at a time. A model that does not answer the first
question is not asked further.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal

import anyio
import msgspec

from chorus import texts
from chorus.discovery.source import SourceError
from chorus.errors import (
    ChorusError,
    ContentFiltered,
    InvalidRequest,
    UpstreamRefused,
    UpstreamStatus,
    UpstreamTimeout,
)
from chorus.llm.base import Call
from chorus.llm.embed import EmbedCall
from chorus.snapshot import ServedModel
from chorus.types import Answer, ChatRequest, Image, Message, Sampling, Text, Tools
from chorus.usage import Usage
from chorus.workflow.collected import Collected
from chorus.workflow.judging.response_format import ResponseFormat

CAPABILITIES: Final = ("chat", "stream", "tools", "schema", "images")
EMBEDDINGS: Final = "embeddings"
"""What a model is asked for that only embeds, in place of the others."""
_WORDS: Final = {"tools": "tools", "schema": "json_schema", "images": "vision"}
"""Their words in `[[model]] capabilities`."""
_UNTRIED: Final = ("embeddings", "thinking", "rerank")
"""Words that no request of these decides; those that are configured stay."""
_NO_CHAT: Final = frozenset({"embeddings", "rerank"})
_MAX_TOKENS: Final = 512
"""Of each answer. Models that think use some of it before their first word."""
_PIXELS: Final = 32
"""Width and height of the picture; some models refuse smaller ones than 28."""
_MISSING: Final = frozenset({404, 405, 501})
"""Statuses that say that there is no such thing, and nothing of the server's health."""

_ONE_PIECE: Final = texts.Text("the answer came in one piece", "答案一次性返回")
_OTHER_ARGUMENTS: Final = texts.Text(
    "it called a tool with other arguments than it was given", "调用工具时的参数与要求不符"
)
_NO_CALL: Final = texts.Text("it answered without calling the tool", "没有调用工具就作答")
_NO_SCHEMA: Final = texts.Text("its answer does not follow the schema", "答案不符合 schema")
_NOT_RED: Final = texts.Text("it did not see that the picture is red", "没有看出图片是红色")
_FILTERED: Final = texts.Text("a content filter stopped the answer", "内容过滤器中止了答案")
_EMPTY: Final = texts.Text("the answer is empty", "答案为空")
_LATE: Final = texts.Text("no answer within {secs:g} s", "{secs:g} 秒内没有答复")

State = Literal["yes", "no", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one request: whether the model has the capability, and why it is not known
    where the request failed."""

    state: State
    reason: str | texts.Text = ""


@dataclass(slots=True)
class LiveReport:
    """What one model can do, and what finding out has cost."""

    model: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    thinks: bool = False
    """Whether any of its answers came with reasoning."""
    secs: float = 0.0

    @property
    def works(self) -> bool:
        """Whether it answers."""
        return self.outcomes[EMBEDDINGS if EMBEDDINGS in self.outcomes else "chat"].state == "yes"

    def capabilities(self, configured: Sequence[str]) -> list[str] | None:
        """Return what `[[model]] capabilities` should say; None where a request failed."""
        if EMBEDDINGS in self.outcomes or any(outcome.state not in ("yes", "no") for outcome in self.outcomes.values()):
            return None
        words = [word for name, word in _WORDS.items() if self.outcomes[name].state == "yes"]
        kept = [word for word in _UNTRIED if word in configured or (word == "thinking" and self.thinks)]
        return words + kept

    def as_json(self) -> dict[str, Any]:
        """Return the report for `--json`."""
        outcomes = {
            name: {"state": outcome.state, **({"reason": _english(outcome.reason)} if outcome.reason else {})}
            for name, outcome in self.outcomes.items()
        }
        cost = {"cost": self.usage.cost} if self.usage.cost is not None else {}
        return {
            "model": self.model,
            **outcomes,
            "thinks": self.thinks,
            "usage": {**self.usage.as_json(), **cost},
            "secs": round(self.secs, 3),
        }


async def check_all(
    models: Sequence[ServedModel], *, secs: float, concurrency: int, done: Callable[[LiveReport], None]
) -> list[LiveReport]:
    """Return a report on each of `models`, in their order.

    A request may take `secs`; `concurrency` models are asked at a time. `done` is called with each
    report when it is there.
    """
    reports = [LiveReport(model.name) for model in models]
    limiter = anyio.CapacityLimiter(concurrency)

    async def check(model: ServedModel, report: LiveReport) -> None:
        async with limiter:
            await _check(model, report, secs)
        done(report)

    async with anyio.create_task_group() as group:
        for model, report in zip(models, reports, strict=True):
            group.start_soon(check, model, report)
    return reports


async def _check(model: ServedModel, report: LiveReport, secs: float) -> None:
    began = anyio.current_time()
    if model.discovered is not None:
        with anyio.move_on_after(secs), suppress(SourceError):
            model.discovered.begin_with(await model.discovered.source.look())
    if model.capabilities and model.capabilities <= _NO_CHAT:
        report.outcomes = {name: Outcome("skipped") for name in CAPABILITIES}
        report.outcomes[EMBEDDINGS] = await _embedded(model, report, secs)
        report.secs = anyio.current_time() - began
        return
    ask = partial(_ask, model, report, secs)
    for name in CAPABILITIES:
        if name != "chat" and not report.works:
            report.outcomes[name] = Outcome("skipped")
            continue
        try:
            report.outcomes[name] = await _CHECKS[name](ask)
        except ChorusError as error:
            is_missing = name != "chat" and _says_no(error)
            report.outcomes[name] = Outcome("no" if is_missing else "failed", error.message)
    report.secs = anyio.current_time() - began


async def _embedded(model: ServedModel, report: LiveReport, secs: float) -> Outcome:
    """Return whether the model embeds."""
    if model.embedder is None:
        return Outcome("skipped")
    try:
        with anyio.fail_after(secs):
            embeddings = await model.embedder.embed(EmbedCall(["yes"]))
    except TimeoutError:
        return Outcome("failed", _LATE.filled(secs=secs))
    except ChorusError as error:
        return Outcome("failed", error.message)
    report.usage += model.priced(embeddings.usage)
    return Outcome("yes")


async def _ask(
    model: ServedModel, report: LiveReport, secs: float, request: ChatRequest, *, stream: bool = False
) -> tuple[Answer, list[str], int]:
    """Return the answer of `model`, the warnings of the call, and in how many pieces it came.

    Its usage goes into `report`.

    Raises:
        ChorusError: there is no answer, or none within `secs`.
    """
    temperature = model.temperature.fixed
    sampling = Sampling(temperature=None if temperature == "none" else temperature, max_tokens=_MAX_TOKENS)
    request = msgspec.structs.replace(request, sampling=sampling)
    collected, warnings, pieces = Collected(model, request), list[str](), 0
    try:
        with anyio.fail_after(secs):
            async with model.upstream.open(Call(request, stream=stream, warn=warnings.append)) as chunks:
                async for chunk in chunks:
                    pieces += collected.take(chunk)
    except TimeoutError:
        raise UpstreamTimeout(f"no answer within {secs:g} s") from None
    finally:
        report.usage += collected.spent() or Usage()
    answer = collected.answer()
    report.thinks = report.thinks or bool(answer.reasoning)
    return answer, warnings, pieces


async def _chat(ask: Any) -> Outcome:
    answer, _, _ = await ask(_question("Answer with the word: yes"))
    return _of_text(answer)


async def _stream(ask: Any) -> Outcome:
    answer, _, pieces = await ask(_question("Count from 1 to 5, in digits."), stream=True)
    if _of_text(answer).state == "yes" and pieces < 2:
        return Outcome("no", _ONE_PIECE)
    return _of_text(answer)


async def _tools(ask: Any) -> Outcome:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    function = {"name": "weather", "description": "The weather in a city.", "parameters": parameters}
    request = _question("What is the weather in Paris? Use the tool.")
    request = msgspec.structs.replace(request, tools=Tools([{"type": "function", "function": function}]))
    answer, warnings, _ = await ask(request)
    for call in answer.tool_calls:
        try:
            if call.name == "weather" and "city" in msgspec.json.decode(call.arguments, type=dict):
                return Outcome("yes")
        except msgspec.MsgspecError:
            continue
    if answer.tool_calls:
        return Outcome("no", _OTHER_ARGUMENTS)
    return Outcome("no", _left_out(warnings, "tools") or _NO_CALL)


async def _schema(ask: Any) -> Outcome:
    schema = {
        "type": "object",
        "properties": {"capital": {"type": "string"}},
        "required": ["capital"],
        "additionalProperties": False,
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": schema}}
    request = msgspec.structs.replace(_question("What is the capital of France?"), response_format=wanted)
    answer, warnings, _ = await ask(request)
    if ResponseFormat(schema).validated(answer.text) is not None:
        return Outcome("yes")
    return Outcome("no", _left_out(warnings, "response_format") or _NO_SCHEMA)


async def _images(ask: Any) -> Outcome:
    parts = (Text("Which colour is this picture? Answer with one word."), Image(f"data:image/png;base64,{_red()}"))
    answer, warnings, _ = await ask(ChatRequest("", (Message("user", parts),)))
    if "red" in answer.text.lower():
        return Outcome("yes")
    return Outcome("no", _left_out(warnings, "image") or _NOT_RED)


_CHECKS: Final = {"chat": _chat, "stream": _stream, "tools": _tools, "schema": _schema, "images": _images}


def _question(text: str) -> ChatRequest:
    return ChatRequest("", (Message("user", text),))


def _of_text(answer: Answer) -> Outcome:
    if answer.finish_reason == "content_filter":
        return Outcome("failed", _FILTERED)
    if answer.text.strip() or answer.reasoning:
        return Outcome("yes")
    return Outcome("failed", _EMPTY)


def _says_no(error: ChorusError) -> bool:
    """Return whether an error says that the model cannot do what was asked, and nothing of its
    health.
    """
    if isinstance(error, UpstreamStatus) and error.upstream_status in _MISSING:
        return True
    return isinstance(error, UpstreamRefused | InvalidRequest) and not isinstance(error, ContentFiltered)


def _left_out(warnings: Sequence[str], word: str) -> str:
    """Return the warning that says that something of the request was left out."""
    return next((warning for warning in warnings if word in warning), "")


def _english(reason: str | texts.Text) -> str:
    """Return a reason as programs read it, whatever the language of the terminal."""
    return reason.en if isinstance(reason, texts.Text) else reason


def _red() -> str:
    """Return a red picture, as base64 of a PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", _PIXELS, _PIXELS, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\xff\0\0" * _PIXELS) * _PIXELS
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode()
