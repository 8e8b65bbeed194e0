"""The fields of a Responses request for chat upstreams, and those that are left out (A3, A6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from chorus.errors import InvalidRequest
from chorus.server.dialects.openai.metadata import check_metadata
from chorus.server.dialects.responses.tools import ToolTable
from chorus.server.dialects.warnings import Warnings
from chorus.server.http.reading import unknown_fields
from chorus.wirejson import JSON

ENCRYPTED: Final = "reasoning.encrypted_content"
LOGPROBS: Final = "message.output_text.logprobs"


class TextOptions(msgspec.Struct):
    format: dict[str, Any] | None = None
    verbosity: str | None = None


class Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None


class ResponsesBody(msgspec.Struct):
    """The request body. `messages` and `prompt` are Chorus's own additions to OpenAI's."""

    model: str
    input: str | list[Any] | dict[str, Any] | None = None
    instructions: str | list[Any] | dict[str, Any] | None = None
    messages: list[Any] | str | None = None
    prompt: str | list[Any] | dict[str, Any] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    reasoning: Reasoning | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    include_workflow: bool | None = None
    memory: bool | None = None
    include: list[Any] | None = None
    top_logprobs: int | None = None
    truncation: str | None = None
    max_tool_calls: int | None = None
    stream_options: dict[str, Any] | None = None
    user: str | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    client_metadata: Any = None
    context_management: Any = None
    conversation: Any = None


class ResponsesOptions(msgspec.Struct, frozen=True):
    """What an answer needs to know of its request."""

    body: ResponsesBody
    tools: ToolTable

    @property
    def seals_reasoning(self) -> bool:
        """Whether each reasoning item carries `encrypted_content`."""
        return ENCRYPTED in (self.body.include or ())

    @property
    def has_logprobs(self) -> bool:
        """Whether the client wants log probabilities."""
        return LOGPROBS in (self.body.include or ()) or bool(self.body.top_logprobs)


_SAME_IN_CHAT: Final = (
    "user",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
)
"""Fields that chat has under the same name and in the same shape."""
_ECHOED: Final = (*_SAME_IN_CHAT, "top_logprobs", "max_tool_calls")
"""Fields that OpenAI writes into the `Response`; ours does where they were sent."""
_LEFT_OUT: Final = ("client_metadata",)
_OF_RESPONSES: Final = ("context_management", "max_tool_calls")
"""Fields that only a model behind the Responses API gets."""


def upstream_fields(raw: Mapping[str, JSON], body: ResponsesBody) -> dict[str, JSON]:
    """Return the fields for a pass-through upstream, by their names in chat: those that Responses
    has under another name or the same, and those that we do not know.
    """
    fields = unknown_fields(raw, ResponsesBody)
    fields.update({key: value for key in _SAME_IN_CHAT if (value := getattr(body, key)) is not None})
    if body.text is not None and body.text.verbosity is not None:
        fields["verbosity"] = body.text.verbosity
    return fields


def check_fields(body: ResponsesBody, warnings: Warnings) -> None:
    """Note which fields are left out.

    Raises:
        InvalidRequest: the request goes on from a conversation and from a response, or its
            metadata exceed OpenAI's limits.
    """
    if body.conversation is not None and body.previous_response_id is not None:
        raise InvalidRequest("Send either 'conversation' or 'previous_response_id', not both.", param="conversation")
    if body.metadata is not None:
        check_metadata(body.metadata)
    if left_out := [name for name in _LEFT_OUT if getattr(body, name) is not None]:
        warnings.add(f"Left out, since no upstream has such a field: {', '.join(left_out)}.")
    of_responses = [name for name in _OF_RESPONSES if getattr(body, name) is not None]
    if body.truncation not in (None, "disabled"):
        of_responses.append("truncation")
    if any(name not in (ENCRYPTED, LOGPROBS) for name in body.include or ()):
        of_responses.append("include (of hosted tools)")
    if of_responses:
        warnings.add(f"Left out, since chat upstreams have no such field: {', '.join(of_responses)}.", of_chat=True)


def responses_options(
    raw: Mapping[str, JSON], body: ResponsesBody, offered: list[JSON], table: ToolTable
) -> dict[str, JSON]:
    """Return what only a model behind the Responses API gets (`ChatRequest.responses_options`).

    `offered` are the client's tools as it wrote them.
    """
    options: dict[str, JSON] = {"tool_choice": body.tool_choice, "customs": table.customs()}
    if renamed := table.renamed():
        options["renamed"] = renamed
    if offered:
        options["tools"] = offered
    for name in (*_OF_RESPONSES, "metadata", "truncation", "include"):
        if (value := getattr(body, name)) is not None:
            options[name] = value
    thinking = raw.get("reasoning")
    if isinstance(thinking, Mapping):
        options["reasoning"] = {key: value for key, value in thinking.items() if key != "effort" and value is not None}
    return options


def echoed(body: ResponsesBody) -> dict[str, JSON]:
    """Return the fields of the `Response` that say what was asked, where it was."""
    return {key: value for key in _ECHOED if (value := getattr(body, key)) is not None}


def response_format(text: TextOptions | None) -> JSON:
    """Return `text.format` as chat's `response_format`."""
    wanted = text.format if text is not None else None
    if wanted is None or wanted.get("type") == "text":
        return None
    if wanted.get("type") == "json_schema":
        schema = {key: wanted[key] for key in ("name", "description", "schema", "strict") if key in wanted}
        return {"type": "json_schema", "json_schema": schema}
    return wanted
