"""`POST /api/generate` (A1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from chorus.errors import InvalidRequest
from chorus.events import Delta, Event, RunFailed, RunFinished
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.media_notes import appended, notes, with_notes
from chorus.server.dialects.ollama import wire
from chorus.server.dialects.ollama.context import context_of, conversation
from chorus.server.dialects.warnings import Warnings
from chorus.server.http.errors import ErrorStyle, error_body
from chorus.server.http.frames import Frame
from chorus.server.http.reading import read
from chorus.types import ChatRequest, Framing, Message, Part, Text
from chorus.wirejson import JSON, FieldReader


class GenerateBody(wire.GeneratingBody):
    """The request body.

    `raw` and `template` are Ollama's own business; only an Ollama upstream gets them.
    """

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: list[int] | None = None
    images: list[str] | None = None
    raw: bool | None = None


class OllamaGenerate:
    """Ollama's generate."""

    path: ClassVar[str] = "/api/generate"
    error_style: ClassVar[ErrorStyle] = "ollama"
    framing: ClassVar[Framing] = "ndjson"
    done: ClassVar[bytes | None] = b"[DONE]"
    body: ClassVar[type[msgspec.Struct]] = GenerateBody
    readers: ClassVar[Mapping[str, FieldReader]] = {}
    summary: ClassVar[str] = "Ollama generate"
    id_prefix: ClassVar[str] = "gen_"

    def parse(self, body: Mapping[str, JSON]) -> ParsedRequest[wire.KeepAlive]:
        """See `Dialect.parse`. Without a prompt it only asks for the model to be loaded."""
        fields = read(body, GenerateBody)
        if not fields.prompt and not fields.images:
            return ParsedRequest(fields.model, (), fields.keep_alive)
        prompt = fields.prompt or ""
        content: str | tuple[Part, ...] = prompt
        if fields.images:
            content = (Text(prompt), *(wire.image(data) for data in fields.images))
        # a template is for one prompt: a conversation that goes on has its own
        is_raw = bool(fields.raw or fields.suffix or (fields.template and not fields.context))
        if is_raw and fields.context:
            raise InvalidRequest(
                "Invalid value for 'context': a raw prompt continues no conversation.", param="context"
            )
        sampling, rest = wire.sampling(fields.options)
        warnings = Warnings()
        extra = wire.other_fields(body, GenerateBody, warnings)
        earlier = conversation(fields.context, fields.system)
        if earlier is None:
            warnings.add("`context` is left out: it is not of an answer of this server.")
            earlier = conversation(None, fields.system) or ()
        request = ChatRequest(
            model=fields.model,
            messages=(*earlier, Message("user", content)),
            sampling=sampling,
            response_format=wire.response_format(fields.format),
            reasoning_effort=fields.think,
            prompt=prompt if is_raw else None,
            suffix=fields.suffix,
            generate_options=_generate_options(fields) if is_raw else {},
            keep_alive=fields.keep_alive,
            ollama_options=rest,
            extra=extra,
        )
        return wire.parsed(fields, request, warnings)

    def encoder(self, context: ResponseContext[wire.KeepAlive]) -> _GenerateEncoder:
        """See `Dialect.encoder`."""
        return _GenerateEncoder(context)

    def whole(self, context: ResponseContext[wire.KeepAlive], events: Sequence[Event]) -> JSON:
        """See `Dialect.whole`."""
        if not context.parsed.requests:
            return wire.loaded(context, response="")
        done = events[-1]
        assert isinstance(done, RunFinished)
        answer = done.answers[0]
        return _last(context, done, with_notes(answer.text, answer.extra), answer.reasoning)


def _generate_options(fields: GenerateBody) -> dict[str, JSON]:
    """Return the fields that only Ollama's own generate has."""
    given: dict[str, JSON] = {"raw": fields.raw, "template": fields.template, "system": fields.system}
    return {key: value for key, value in given.items() if value is not None}


def _last(context: ResponseContext[wire.KeepAlive], done: RunFinished, text: str, thinking: str) -> dict[str, Any]:
    """Return the object that ends an answer."""
    [request] = context.parsed.requests
    answer = done.answers[0]
    content = {"response": text, **({"thinking": thinking} if thinking else {})}
    earlier = context_of(request.messages, answer.text) if request.prompt is None else []
    return wire.last(context, done, content, context=earlier)


class _GenerateEncoder:
    def __init__(self, context: ResponseContext[wire.KeepAlive]) -> None:
        self._context = context

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        if isinstance(event, Delta):
            if event.choice is None or not (event.text or event.reasoning):
                return ()
            line = wire.line(self._context, response=event.text)
            if event.reasoning:
                line["thinking"] = event.reasoning
            return (Frame(line),)
        if isinstance(event, RunFinished):
            answer = event.answers[0]
            return (Frame(_last(self._context, event, appended(answer.text, notes(answer.extra)), "")),)
        if isinstance(event, RunFailed):
            return (Frame(error_body(event.error, self._context.errors, self._context.request_id)),)
        return ()
