"""`POST /v1/responses` (A3): the request as a chat request.

`stream.py` has the events of the answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from chorus.errors import InvalidRequest
from chorus.events import Event
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.openai.wire import checked
from chorus.server.dialects.responses import inputs
from chorus.server.dialects.responses.fields import (
    ResponsesBody,
    ResponsesOptions,
    check_fields,
    response_format,
    responses_options,
    upstream_fields,
)
from chorus.server.dialects.responses.history import offered_tools
from chorus.server.dialects.responses.stream import ResponsesEncoder, response_of
from chorus.server.dialects.responses.tools import ToolTable, read_choice, read_tools
from chorus.server.dialects.warnings import Warnings
from chorus.server.http.errors import ErrorStyle
from chorus.server.http.reading import read
from chorus.types import ChatRequest, Framing, Sampling
from chorus.wirejson import JSON, FieldReader


class OpenAIResponses:
    """OpenAI responses."""

    path: ClassVar[str] = "/v1/responses"
    error_style: ClassVar[ErrorStyle] = "openai"
    framing: ClassVar[Framing] = "sse"
    done: ClassVar[bytes | None] = None
    body: ClassVar[type[msgspec.Struct]] = ResponsesBody
    readers: ClassVar[Mapping[str, FieldReader]] = {}
    summary: ClassVar[str] = "OpenAI responses"
    id_prefix: ClassVar[str] = "resp_"

    def parse(self, body: Mapping[str, JSON]) -> ParsedRequest[ResponsesOptions]:
        """See `Dialect.parse`."""
        fields = read(body, ResponsesBody)
        if fields.background and fields.store is False:
            raise InvalidRequest("A background response has to be stored.", param="store")
        sampling = checked(Sampling(fields.temperature, fields.top_p, fields.max_output_tokens), "max_output_tokens")
        warnings = Warnings()
        check_fields(fields, warnings)
        offered = [*(fields.tools or ()), *offered_tools(fields.input)]
        table = ToolTable(read_tools(offered, "tools", warnings))
        choice = read_choice(fields.tool_choice, table, warnings)
        options = ResponsesOptions(fields, table)
        request = ChatRequest(
            model=fields.model,
            messages=inputs.messages(
                fields.instructions,
                fields.input,
                fields.messages,
                fields.prompt,
                table,
                warnings,
                keeps_items=True,
            ),
            sampling=sampling,
            tools=table.definitions(choice.allowed),
            tool_choice=choice.tool_choice,
            parallel_tool_calls=fields.parallel_tool_calls,
            response_format=response_format(fields.text),
            reasoning_effort=fields.reasoning.effort if fields.reasoning is not None else None,
            logprobs=options.has_logprobs,
            top_logprobs=fields.top_logprobs,
            responses_options=responses_options(body, fields, offered, table),
            extra=upstream_fields(body, fields),
        )
        return ParsedRequest(
            fields.model,
            (request,),
            options,
            bool(fields.stream),
            bool(fields.include_workflow),
            warnings=warnings.sentences,
            warnings_of_chat=warnings.of_chat,
        )

    def encoder(self, context: ResponseContext[ResponsesOptions]) -> ResponsesEncoder:
        """See `Dialect.encoder`."""
        return ResponsesEncoder(context)

    def whole(self, context: ResponseContext[ResponsesOptions], events: Sequence[Event]) -> JSON:
        """See `Dialect.whole`."""
        return response_of(context, events)
