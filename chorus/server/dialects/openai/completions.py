"""`POST /v1/completions` (A2): prompts instead of messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from chorus.errors import InvalidRequest
from chorus.events import Delta, Event, RunFailed, RunFinished
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.openai.wire import Generating, choice_count, seeded, usage_body
from chorus.server.http.errors import ErrorStyle, error_object
from chorus.server.http.frames import Frame
from chorus.server.http.reading import read, unknown_fields
from chorus.types import ChatRequest, Framing, Message
from chorus.wirejson import JSON, FieldReader

_MAX_CHOICES = 128


class CompletionBody(Generating, kw_only=True):
    """The request body."""

    prompt: str | list[str | int | list[int]] | None = None
    """A text, token numbers, or a list of either."""
    suffix: str | None = None
    echo: bool | None = None
    logprobs: int | None = None


class CompletionOptions(msgspec.Struct, frozen=True):
    """What the answer depends on. `include_usage`: usage comes with the last chunk of a stream."""

    include_usage: bool
    echo: tuple[str, ...]
    """What each choice begins with."""


class OpenAICompletions:
    """OpenAI completions, the older endpoint."""

    path: ClassVar[str] = "/v1/completions"
    error_style: ClassVar[ErrorStyle] = "openai"
    framing: ClassVar[Framing] = "sse"
    done: ClassVar[bytes | None] = b"[DONE]"
    body: ClassVar[type[msgspec.Struct]] = CompletionBody
    readers: ClassVar[Mapping[str, FieldReader]] = {}
    summary: ClassVar[str] = "OpenAI completions"
    id_prefix: ClassVar[str] = "cmpl-"

    def parse(self, body: Mapping[str, JSON]) -> ParsedRequest[CompletionOptions]:
        """See `Dialect.parse`. Choices come in order: index = prompt × n + k."""
        fields = read(body, CompletionBody)
        prompts = _prompts(fields.prompt)
        sampling = fields.sampling(fields.max_tokens)
        count = choice_count(fields.n)
        if len(prompts) * count > _MAX_CHOICES:
            raise InvalidRequest(f"Too many completions: prompts × n may be {_MAX_CHOICES} at most.", param="prompt")
        extra = unknown_fields(body, CompletionBody)
        requests = tuple(
            ChatRequest(
                model=fields.model,
                messages=(Message("user", prompt if isinstance(prompt, str) else ""),),
                sampling=seeded(sampling, choice),
                logprobs=fields.logprobs is not None,
                top_logprobs=fields.logprobs,
                prompt=prompt,
                suffix=fields.suffix,
                echo=bool(fields.echo),
                extra=extra,
            )
            for prompt in prompts
            for choice in range(count)
        )
        echo = tuple(
            prompt if fields.echo and isinstance(prompt, str) else "" for prompt in prompts for _ in range(count)
        )
        options = CompletionOptions(fields.wants_usage, echo)
        return ParsedRequest(fields.model, requests, options, bool(fields.stream), bool(fields.include_workflow))

    def encoder(self, context: ResponseContext[CompletionOptions]) -> _CompletionEncoder:
        """See `Dialect.encoder`."""
        return _CompletionEncoder(context)

    def whole(self, context: ResponseContext[CompletionOptions], events: Sequence[Event]) -> JSON:
        """See `Dialect.whole`."""
        done = events[-1]
        assert isinstance(done, RunFinished)
        options = context.parsed.options
        body: dict[str, Any] = {
            **_head(context),
            "choices": [
                _choice(index, options.echo[index] + answer.text, _finish(answer.finish_reason), answer.logprobs)
                for index, answer in enumerate(done.answers)
            ],
            "usage": usage_body(done),
        }
        if context.workflow is not None:
            body["workflow"] = context.workflow()
        return body


def _prompts(prompt: str | list[str | int | list[int]] | None) -> list[str | tuple[int, ...]]:
    """Return the prompts, texts or token numbers. A list of numbers is one prompt.

    Raises:
        InvalidRequest: there is none, or one is an empty list.
    """
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise InvalidRequest("Missing required field 'prompt'.", param="prompt")
    numbers = tuple(entry for entry in prompt if isinstance(entry, int))
    if len(numbers) == len(prompt):
        return [numbers]
    if numbers or [] in prompt:
        raise InvalidRequest("A prompt is a text or a list of token numbers.", param="prompt")
    return [entry if isinstance(entry, str) else tuple(entry) for entry in prompt if not isinstance(entry, int)]


def _head(context: ResponseContext[CompletionOptions]) -> dict[str, Any]:
    return {
        "id": context.id,
        "object": "text_completion",
        "created": int(context.created),
        "model": context.parsed.model,
    }


def _choice(index: int, text: str, finish: str | None, logprobs: JSON = None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}


def _finish(reason: str) -> str:
    """Return the finish reason. This endpoint knows no tool calls."""
    return "stop" if reason == "tool_calls" else reason


class _CompletionEncoder:
    def __init__(self, context: ResponseContext[CompletionOptions]) -> None:
        self._context = context
        self._options = context.parsed.options
        self._begun: set[int] = set()

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        if isinstance(event, Delta):
            if event.choice is None or not (event.text or event.logprobs):
                return ()
            return (self._chunk(event.choice, self._echo(event.choice) + event.text, None, event.logprobs),)
        if isinstance(event, RunFinished):
            return self._finished(event)
        if isinstance(event, RunFailed):
            return (Frame({"error": error_object(event.error, self._context.request_id)}),)
        return ()

    def _echo(self, choice: int) -> str:
        """Return what goes before the first text of a choice."""
        if choice in self._begun:
            return ""
        self._begun.add(choice)
        return self._options.echo[choice]

    def _chunk(self, choice: int, text: str, finish: str | None, logprobs: JSON = None, **more: JSON) -> Frame:
        data = {**_head(self._context), "choices": [_choice(choice, text, finish, logprobs)], **more}
        if self._options.include_usage:
            data["usage"] = None
        return Frame(data)

    def _finished(self, event: RunFinished) -> Iterator[Frame]:
        workflow = {"workflow": self._context.workflow()} if self._context.workflow is not None else {}
        last = len(event.answers) - 1
        for choice, answer in enumerate(event.answers):
            more = workflow if choice == last and not self._options.include_usage else {}
            yield self._chunk(choice, self._echo(choice), _finish(answer.finish_reason), **more)
        if self._options.include_usage:
            yield Frame({**_head(self._context), "choices": [], "usage": usage_body(event), **workflow})
