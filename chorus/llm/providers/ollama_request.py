"""Write requests to an Ollama server, with the fields that the model takes (L2). Pure."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from chorus.errors import UnsupportedFeature
from chorus.llm.providers.conversation import arranged
from chorus.llm.providers.fields import Fields
from chorus.llm.providers.traits import Traits
from chorus.llm.reading.lenient import value_of, whole
from chorus.types import ChatRequest, Extra, Image, Message, Opaque, Part, Text
from chorus.wirejson import JSON

_LEVELS: Final = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
_NO_THOUGHT: Final = ("none", "false", "off")
_OPTIONS: Final = ("top_k", "min_p")
"""Fields that stand at the top of a request elsewhere, and are options here."""
_MAX_FILE: Final = 4 * 1024 * 1024
"""Bytes of a file whose text goes into a message."""


def request_body(
    request: ChatRequest, model: str, traits: Traits, *, stream: bool, warn: Callable[[str], None]
) -> dict[str, Any]:
    """Return the request as Ollama wants it.

    `warn` gets a sentence for each of the client's fields that is left out.

    Raises:
        UnsupportedFeature: an image is not inline, since Ollama fetches nothing; or the prompt is
            token numbers.
    """
    body: dict[str, Any] = {**request.extra, "model": model, "stream": stream}
    fields = Fields(traits)
    if isinstance(request.prompt, tuple):
        raise UnsupportedFeature("An Ollama model takes a text as its prompt, not token numbers.", param="prompt")
    if request.prompt is not None:
        body |= {"prompt": request.prompt, **_generate_fields(request)}
    else:
        names = {call.id: call.name for message in request.messages for call in message.tool_calls}
        body["messages"] = [
            message_body(message, names, fields, warn) for message in arranged(request.messages, traits)
        ]
        if request.tools:
            body["tools"] = msgspec.Raw(request.tools.encoded)
    sampling = msgspec.to_builtins(request.sampling)
    if "max_tokens" in sampling:
        sampling["num_predict"] = sampling.pop("max_tokens")
    elsewhere = {name: body.pop(name) for name in _OPTIONS if name in body}
    if options := {**elsewhere, **request.ollama_options, **sampling}:
        body["options"] = options
        fields.leave_out(options)
    if (schema := _format(request.response_format)) is not None:
        body["format"] = schema
    if (think := _think(request.reasoning_effort, traits)) is not None:
        body["think"] = think
    if request.keep_alive is not None:
        body["keep_alive"] = request.keep_alive
    fields.leave_out(body)
    for name in sorted(fields.left_out):
        warn(f"'{name}' is left out: model '{model}' does not take it.")
    return body


def _generate_fields(request: ChatRequest) -> dict[str, Any]:
    """Return the fields of `/api/generate` beside the prompt.

    Without any of Ollama's own, the prompt goes to the model as it is: OpenAI's completions know no
    template.
    """
    given: dict[str, Any] = dict(request.generate_options)
    if request.suffix:
        given["suffix"] = request.suffix
    if not given:
        given["raw"] = True
    images = [_inline(part) for message in request.messages for part in _parts(message) if isinstance(part, Image)]
    return {**given, "images": images} if images else given


def _parts(message: Message) -> tuple[Part, ...]:
    return () if isinstance(message.content, str) else message.content


def _think(effort: str | bool | None, traits: Traits) -> bool | str | None:
    """OpenAI's effort as Ollama's `think`: a level that it knows, or whether to think at all."""
    if effort is None or isinstance(effort, bool):
        return effort
    if effort in _NO_THOUGHT:
        return False
    return _LEVELS.get(effort, True) if traits.thinks_by_levels else True


def _format(response_format: JSON) -> JSON:
    """OpenAI's `response_format` as Ollama's `format`."""
    if not isinstance(response_format, dict):
        return None
    if response_format.get("type") == "json_schema":
        return (response_format.get("json_schema") or {}).get("schema") or "json"
    return "json" if response_format.get("type") == "json_object" else None


def message_body(
    message: Message, call_names: Mapping[str, str], fields: Fields, warn: Callable[[str], None]
) -> dict[str, Any]:
    """Return one message in Ollama's shape. `call_names` tells the tool behind each call id.

    Raises:
        UnsupportedFeature: an image is not inline.
    """
    body: dict[str, Any] = {"role": message.role}
    if isinstance(message.content, str):
        body["content"] = message.content
    else:
        texts = [part.text if isinstance(part, Text) else _file_text(part, warn) for part in _without_images(message)]
        body["content"] = "\n".join(text for text in texts if text is not None)
        if images := [_inline(part) for part in message.content if isinstance(part, Image)]:
            body["images"] = images
    thought = message.reasoning or _thought_of(message.extra)
    if thought and message.role == "assistant" and fields.takes("thinking"):
        body["thinking"] = thought
    if message.tool_calls:
        body["tool_calls"] = [
            {"id": call.id, "function": {"name": call.name, "arguments": _object(call.arguments)}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        name = message.name or call_names.get(message.tool_call_id or "")
        body |= {"tool_name": name} if name else {}
        body |= {"tool_call_id": message.tool_call_id} if message.tool_call_id else {}
    return body


def _thought_of(extra: Extra) -> str:
    """Return the reasoning that OpenRouter's clients hand back in parts alone."""
    details = extra.get("reasoning_details")
    parts = [detail for detail in details if isinstance(detail, dict)] if isinstance(details, list) else []
    texts = [part.get("text") or part.get("summary") for part in parts]
    return "".join(text for text in texts if isinstance(text, str))


def _without_images(message: Message) -> list[Text | Opaque]:
    return [part for part in _parts(message) if not isinstance(part, Image)]


def _file_text(part: Opaque, warn: Callable[[str], None]) -> str | None:
    """Return the text of a file.

    None for anything that is not text, which Ollama has no place for.
    """
    kind = part.data.get("type")
    file = part.data.get("file")
    if isinstance(file, dict) and isinstance(data := file.get("file_data"), str):
        text = _decoded(data.rpartition(",")[2] if data.startswith("data:") else data)
        if text is not None:
            name = file.get("filename")
            return f"{name}:\n{text}" if isinstance(name, str) and name else text
    what = kind if kind in ("file", "input_audio", "video_url") else "part"
    warn(f"A '{what}' of a message is left out: Ollama takes text and images.")
    return None


def _decoded(data: str) -> str | None:
    """Base64 as text; None where it is none."""
    if len(data) > _MAX_FILE * 4 // 3:
        return None
    try:
        text = b64decode(data, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return None if "\0" in text or text.startswith("%PDF-") else text


def _inline(image: Image) -> str:
    head, comma, data = image.url.partition(",")
    if not (comma and head.startswith("data:")):
        raise UnsupportedFeature("An Ollama model takes images inline, as base64 or a data: URL, not by address.")
    return data


def _object(arguments: str) -> JSON:
    try:
        value = whole(value_of((arguments or "{}").encode()))
    except ValueError:
        return {"arguments": arguments}
    return value if isinstance(value, dict) else {"arguments": value}
