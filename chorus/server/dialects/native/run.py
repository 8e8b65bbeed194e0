"""`POST /api/v1/run`: a question to a model or workflow, answered by every event of its run
(O4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec

from chorus.errors import InvalidRequest
from chorus.events import Event, RunFinished
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.native.events import NativeEncoder, event_fields
from chorus.server.dialects.openai.chat import ChatBody, ChatOptions, OpenAIChat
from chorus.server.http.errors import ErrorStyle
from chorus.server.http.frames import Encoder
from chorus.server.http.reading import read
from chorus.telemetry.trace import workflow_details
from chorus.types import Framing
from chorus.wirejson import JSON, FieldReader

_CHAT = OpenAIChat()


class RunBody(ChatBody, kw_only=True):
    """The request body: that of a chat completion, with a `question` in place of `messages` for one
    message of a user. It is streamed unless `stream` is false."""

    messages: list[Annotated[Any, msgspec.Meta(extra_json_schema={"type": "object"})]] = msgspec.field(
        default_factory=list
    )
    question: str | None = None


class NativeRun:
    """Chorus's own dialect."""

    path: ClassVar[str] = "/api/v1/run"
    error_style: ClassVar[ErrorStyle] = "openai"
    framing: ClassVar[Framing] = "sse"
    done: ClassVar[bytes | None] = None
    body: ClassVar[type[msgspec.Struct]] = RunBody
    readers: ClassVar[Mapping[str, FieldReader]] = OpenAIChat.readers
    summary: ClassVar[str] = "A run, with every event of it"
    id_prefix: ClassVar[str] = "wf_"

    def parse(self, body: Mapping[str, JSON]) -> ParsedRequest[ChatOptions]:
        """See `Dialect.parse`."""
        if not isinstance(body, Mapping):
            read(body, RunBody)
        if body.get("question") is not None:
            body = _with_question(body)
        elif "messages" not in body:
            raise InvalidRequest("Missing required field 'messages' or 'question'.", param="messages")
        parsed = _CHAT.parse({key: value for key, value in body.items() if key != "question"})
        streams = body.get("stream") is not False
        return msgspec.structs.replace(parsed, stream=streams, is_feed=streams)

    def encoder(self, context: ResponseContext[ChatOptions]) -> Encoder:
        """See `Dialect.encoder`."""
        return NativeEncoder(context.request_id)

    def whole(self, context: ResponseContext[ChatOptions], events: Sequence[Event]) -> JSON:
        """See `Dialect.whole`: the fields of `run.finished`, and the trace."""
        over = events[-1]
        assert isinstance(over, RunFinished)
        fields = {key: value for key, value in event_fields(over, context.request_id).items() if key != "type"}
        return {"run_id": context.id, "model": context.parsed.model, **fields, "workflow": workflow_details(events)}


def _with_question(body: Mapping[str, JSON]) -> dict[str, JSON]:
    question = body["question"]
    if not isinstance(question, str) or not question.strip():
        raise InvalidRequest("Invalid value for 'question': expected a text.", param="question")
    if body.get("messages"):
        raise InvalidRequest("Send either 'question' or 'messages', not both.", param="question")
    return {**body, "messages": [{"role": "user", "content": question}]}
