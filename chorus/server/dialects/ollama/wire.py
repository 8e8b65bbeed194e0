"""What Ollama's two generating endpoints share: options, formats, images, timings."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from chorus import wirejson
from chorus.errors import InvalidRequest
from chorus.events import RunFinished
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.openai.wire import stops
from chorus.server.dialects.warnings import Warnings
from chorus.server.http.reading import is_object, unknown_fields
from chorus.types import Answer, ChatRequest, Image, Sampling
from chorus.wirejson import JSON

KeepAlive = str | float | None
"""How long Ollama keeps a model loaded: seconds, a text such as `5m`, 0 to unload it."""


class GeneratingBody(msgspec.Struct):
    """What the bodies of both requests have."""

    model: str
    stream: bool | None = None
    options: dict[str, Any] | None = None
    format: str | dict[str, Any] | None = None
    think: bool | str | None = None
    keep_alive: KeepAlive = None
    include_workflow: bool | None = None
    memory: bool | None = None


_MAGIC: Final = {"/9j/": "jpeg", "iVBOR": "png", "R0lGOD": "gif", "UklGR": "webp"}
_NUMBERS: Final = ("temperature", "top_p", "presence_penalty", "frequency_penalty")


_LEFT_OUT: Final = ("truncate", "shift", "logprobs", "top_logprobs")
"""Fields of Ollama's API that no upstream of ours gets."""
_OWN: Final = frozenset({"role", "content", "thinking", "tool_calls", "tool_name", "images"})
"""Fields of a message to which Ollama's clients give types of their own."""


def other_fields(body: Mapping[str, JSON], shape: type[msgspec.Struct], warnings: Warnings) -> dict[str, JSON]:
    """Return the fields of `body` that go on to a pass-through upstream, with a warning for each
    that goes nowhere."""
    extra = unknown_fields(body, shape)
    for name in _LEFT_OUT:
        if extra.pop(name, None):
            warnings.add(f"`{name}` is left out: it is not supported here.")
    return extra


def message_extra(extra: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return a provider's own fields of an answer, fit for Ollama's clients: images are bare base64
    there.
    """
    if not extra:
        return {}
    fields = {key: value for key, value in extra.items() if key not in _OWN}
    images = extra.get("images")
    urls = [_url(image) for image in images] if isinstance(images, list) else []
    if inline := [url.partition(",")[2] for url in urls if url.startswith("data:")]:
        fields["images"] = inline
    return fields


def _url(image: JSON) -> str:
    inner = image.get("image_url") if isinstance(image, dict) else None
    url = inner.get("url") if isinstance(inner, dict) else inner
    return url if isinstance(url, str) else ""


def sampling(options: Mapping[str, JSON] | None) -> tuple[Sampling, dict[str, JSON]]:
    """Return Ollama's `options` as sampling, and the rest of them, which only an Ollama upstream
    understands.

    Raises:
        InvalidRequest: an option has the wrong type.
    """
    rest = {key: value for key, value in (options or {}).items() if value is not None}
    numbers = {key: _number(rest.pop(key, None), key) for key in _NUMBERS}
    limit, seed = _whole(rest.pop("num_predict", None), "num_predict"), _whole(rest.pop("seed", None), "seed")
    stop = rest.pop("stop", None)
    words = [stop] if isinstance(stop, str) else stop
    if words is not None and not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
        raise _wrong("stop", "a string or a list of strings")
    return (
        Sampling(
            temperature=numbers["temperature"],
            top_p=numbers["top_p"],
            # -1 and -2 mean "no limit"
            max_tokens=limit if limit is not None and limit > 0 else None,
            stop=stops(words, "options.stop"),
            seed=seed,
            presence_penalty=numbers["presence_penalty"],
            frequency_penalty=numbers["frequency_penalty"],
        ),
        rest,
    )


def _number(value: JSON, key: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(key, "a number")
    return float(value)


def _whole(value: JSON, key: str) -> int | None:
    number = _number(value, key)
    if number is None:
        return None
    if not number.is_integer():
        raise _wrong(key, "a whole number")
    return int(number)


def _wrong(key: str, wanted: str) -> InvalidRequest:
    return InvalidRequest(f"Invalid value for 'options.{key}': expected {wanted}.", param=f"options.{key}")


def response_format(wanted: JSON) -> JSON:
    """Return Ollama's `format` as OpenAI's `response_format`.

    Raises:
        InvalidRequest: neither empty, "json" nor a schema.
    """
    if wanted is None or wanted == "":
        return None
    if wanted == "json":
        return {"type": "json_object"}
    if isinstance(wanted, str) and is_object(wanted):  # some clients send the schema as text
        wanted = wirejson.decode(wanted)
    if isinstance(wanted, Mapping):
        return {"type": "json_schema", "json_schema": {"name": "format", "schema": wanted}}
    raise InvalidRequest("Invalid value for 'format': expected \"json\" or a JSON schema.", param="format")


def image(data: str) -> Image:
    """Return an image from bare base64."""
    if data.startswith("data:"):
        return Image(data)
    kind = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "png")
    return Image(f"data:image/{kind};base64,{data}")


def created_at(now: float) -> str:
    """Return a time as RFC 3339 with a fraction and Z, as Ollama's clients parse it."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def done_reason(answer: Answer) -> str:
    """Return why an answer ended. Ollama knows no reason for tool calls or filters."""
    return "length" if answer.finish_reason == "length" else "stop"


def timings(done: RunFinished) -> dict[str, int]:
    """Return counts, and durations in nanoseconds. All are at least 1: tools divide by them."""
    first = done.first_token_at if done.first_token_at is not None else done.at
    usage = done.reported
    return {
        "total_duration": _nanos(done.at),
        "load_duration": 1,
        "prompt_eval_count": max(usage.prompt_tokens, 1),
        "prompt_eval_duration": _nanos(first),
        "eval_count": max(usage.completion_tokens, 1),
        "eval_duration": _nanos(done.at - first),
    }


def _nanos(seconds: float) -> int:
    return max(int(seconds * 1e9), 1)


def loaded(context: ResponseContext[KeepAlive], **content: Any) -> dict[str, Any]:
    """Return the answer to a request without a prompt: the model is there."""
    head = {"model": context.parsed.model, "created_at": created_at(context.created)}
    reason = "unload" if context.parsed.options == 0 else "load"
    return {**head, **content, "done": True, "done_reason": reason}


def parsed(fields: GeneratingBody, request: ChatRequest, warnings: Warnings) -> ParsedRequest[KeepAlive]:
    """Return a request with what its body says of the way in which it is answered."""
    return ParsedRequest(
        fields.model,
        (request,),
        fields.keep_alive,
        fields.stream is not False,
        bool(fields.include_workflow),
        warnings=warnings.sentences,
    )


def line(context: ResponseContext[KeepAlive], /, **content: Any) -> dict[str, Any]:
    """Return an object of a stream that goes on."""
    return {"model": context.parsed.model, "created_at": created_at(time.time()), **content, "done": False}


def last(
    context: ResponseContext[KeepAlive], done: RunFinished, content: Mapping[str, JSON], /, **more: Any
) -> dict[str, Any]:
    """Return the object that ends an answer. `more` are fields that no earlier object has."""
    reason = {"done": True, "done_reason": done_reason(done.answers[0])}
    body = {**line(context, **content), **reason, **more, **timings(done)}
    return body if context.workflow is None else {**body, "workflow": context.workflow()}
