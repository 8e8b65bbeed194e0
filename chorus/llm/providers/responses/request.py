"""Write requests to the Responses API, with the fields that the model takes. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from chorus.errors import UnsupportedFeature
from chorus.llm.providers.conversation import systems_arranged
from chorus.llm.providers.fields import Fields, overlaid
from chorus.llm.providers.openai_request import wanted_effort
from chorus.llm.providers.responses.items import InputWriter
from chorus.llm.providers.responses.tools import MAX_NAME, customs_of, put_tools
from chorus.llm.providers.tool_names import changed_names
from chorus.llm.providers.traits import Traits
from chorus.types import ChatRequest
from chorus.wirejson import JSON

ENCRYPTED: Final = "reasoning.encrypted_content"
LOGPROBS: Final = "message.output_text.logprobs"
SUMMARY: Final = "reasoning.summary"
EFFORT: Final = "reasoning.effort"
MIN_OUTPUT_TOKENS: Final = 16
"""The API refuses a smaller `max_output_tokens`."""

_KEYS: Final = ("prompt_cache_key", "safety_identifier")
_MAX_KEY: Final = 64
_AN_OBJECT: Final = "Reply with one JSON object and nothing else."
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_-]")
_NOT_HERE: Final = frozenset(
    {
        *("audio", "frequency_penalty", "logit_bias", "modalities", "n", "prediction", "presence_penalty"),
        *("reasoning_content", "seed", "store", "stream_options", "thinking", "web_search_options"),
    }
)
"""Fields of chat that the Responses API has no place for."""
_SILENT: Final = frozenset({"annotations", "stop", "store", "stream_options"})
"""Fields that no client misses: Chorus itself ends answers at stop words, and keeps them."""
_OPTIONS: Final = ("context_management", "max_tool_calls", "metadata", "truncation")
"""Fields of a client that speaks Responses, which chat has not."""


def request_body(
    request: ChatRequest, model: str, traits: Traits, *, stream: bool, warn: Callable[[str], None]
) -> dict[str, Any]:
    """Return the request as the Responses API wants it. `warn` gets a sentence for each of the
    client's fields that is left out or changed.

    Raises:
        UnsupportedFeature: the prompt is token numbers.
    """
    if isinstance(request.prompt, tuple):
        raise UnsupportedFeature("The Responses API takes a text as its prompt, not token numbers.", param="prompt")
    if request.prompt is not None:
        warn(f"The prompt is sent as a user message: model '{model}' has no endpoint for it.")
    fields = Fields(traits)
    options = request.responses_options
    body: dict[str, Any] = {"model": model, "store": False}
    body.update({key: value for key, value in request.extra.items() if key not in _NOT_HERE and key != "verbosity"})
    body.update({key: options[key] for key in _OPTIONS if options.get(key) is not None})
    names = changed_names(request, MAX_NAME)
    _put_conversation(body, request, traits, names, warn)
    put_tools(body, request, names, warn)
    _shorten_keys(body)
    _put_sampling(body, request, fields, warn)
    if (text := _text(request, fields)) is not None:
        body["text"] = text
    if (reasoning := _reasoning(request, traits, fields, warn)) is not None:
        body["reasoning"] = reasoning
    if included := _included(request, traits):
        body["include"] = included
    if request.top_logprobs is not None and request.logprobs:
        body["top_logprobs"] = request.top_logprobs
    if stream:
        body["stream"] = True
    fields.leave_out(body)
    if "strict" in traits.omit and "tools" in body:
        body["tools"] = [{key: value for key, value in tool.items() if key != "strict"} for tool in body["tools"]]
    _warn_of_the_rest(request, model, fields, warn)
    return body


def _put_conversation(
    body: dict[str, Any],
    request: ChatRequest,
    traits: Traits,
    names: Mapping[str, str],
    warn: Callable[[str], None],
) -> None:
    """Put the messages into `body`; a system message at their beginning is the `instructions`.

    Where an object of JSON is asked for, it stands with the others, among which the API looks for
    the word.
    """
    messages = systems_arranged(request.messages, traits)
    first = messages[0] if messages else None
    wants_json = isinstance(request.response_format, Mapping) and request.response_format.get("type") == "json_object"
    if first is not None and first.role == "system" and first.text and len(messages) > 1 and not wants_json:
        body["instructions"] = first.text
        messages = messages[1:]
    sends_reasoning = "reasoning_details" not in traits.omit
    writer = InputWriter(customs_of(request), warn, names=names, sends_reasoning=sends_reasoning)
    body["input"] = writer.items(messages)
    if wants_json and not any("json" in message.text.lower() for message in messages):
        body["input"].insert(0, {"role": "developer", "content": _AN_OBJECT})


def _shorten_keys(body: dict[str, Any]) -> None:
    """Let a key that is too long be the hash of it, which tells as well whether two are the
    same.
    """
    for name in _KEYS:
        if isinstance(key := body.get(name), str) and len(key) > _MAX_KEY:
            body[name] = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _put_sampling(body: dict[str, Any], request: ChatRequest, fields: Fields, warn: Callable[[str], None]) -> None:
    sampling = request.sampling
    for name, value in (("temperature", sampling.temperature), ("top_p", sampling.top_p)):
        if value is not None:
            body[name] = value
    names = ("max_tokens", "max_completion_tokens")
    if (limit := sampling.max_tokens) is not None and all(map(fields.takes, names)):
        if limit < MIN_OUTPUT_TOKENS:
            warn(f"The length of the answer is sent as {MIN_OUTPUT_TOKENS} tokens, the least that the API takes.")
        body["max_output_tokens"] = max(limit, MIN_OUTPUT_TOKENS)


def _text(request: ChatRequest, fields: Fields) -> dict[str, JSON] | None:
    text: dict[str, JSON] = {}
    wanted = request.response_format
    if isinstance(wanted, Mapping) and wanted.get("type") != "text":
        schema = wanted.get("json_schema")
        if wanted.get("type") == "json_schema" and isinstance(schema, Mapping):
            name = _NOT_IN_NAMES.sub("_", str(schema.get("name") or "answer"))[:MAX_NAME]
            wanted = {"type": "json_schema", **schema, "name": name}
        if fields.takes("response_format"):
            text["format"] = wanted
    verbosity = request.extra.get("verbosity")
    if verbosity is not None and fields.takes("verbosity"):
        text["verbosity"] = verbosity
    return text or None


def _reasoning(
    request: ChatRequest, traits: Traits, fields: Fields, warn: Callable[[str], None]
) -> dict[str, JSON] | None:
    """Return how much to think, and that what was thought is summed up, where thinking is
    wanted."""
    own = request.responses_options.get("reasoning")
    reasoning: dict[str, JSON] = dict(own) if isinstance(own, Mapping) else {}
    effort = wanted_effort(request, traits, fields, warn)
    if effort is not None and fields.takes("reasoning_effort") and fields.takes(EFFORT):
        reasoning["effort"] = effort
    # whoever speaks Responses asks for one
    if effort not in (None, "none") and not request.responses_options:
        reasoning["summary"] = "auto"
    if "summary" in reasoning and not fields.takes(SUMMARY):
        del reasoning["summary"]
    return reasoning or None


def _included(request: ChatRequest, traits: Traits) -> list[JSON]:
    own = request.responses_options.get("include")
    included: list[JSON] = list(own) if isinstance(own, list) else []
    if ENCRYPTED not in included and traits.efforts != ():
        included.append(ENCRYPTED)
    if request.logprobs and LOGPROBS not in included:
        included.append(LOGPROBS)
    return [name for name in included if name not in traits.omit]


def _warn_of_the_rest(request: ChatRequest, model: str, fields: Fields, warn: Callable[[str], None]) -> None:
    """Name what of the request is not sent."""
    sampling = msgspec.to_builtins(request.sampling)
    fields.left_out |= _NOT_HERE & (sampling.keys() | {key for key, value in request.extra.items() if value})
    for name in sorted(request.ollama_options):
        warn(f"'options.{name}' is left out: model '{model}' is no Ollama model.")
    for name in sorted(request.generate_options.keys() - {"raw"}):
        warn(f"'{name}' is left out: model '{model}' is no Ollama model.")
    for name in sorted(fields.left_out - _SILENT):
        warn(f"'{name}' is left out: model '{model}' does not take it.")


def with_extra_body(body: dict[str, Any], extra_body: Mapping[str, JSON]) -> dict[str, Any]:
    """Return `body` with the configured `extra_body` over it; a background response has to be
    stored."""
    merged = overlaid(body, extra_body) if extra_body else body
    if merged.get("background"):
        merged["store"] = True
    return merged
