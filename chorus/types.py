"""The types that all layers share: one request, one answer, and their parts.

Dialects build a `ChatRequest` and read an `Answer`; nothing between them knows which dialect it
was. The structs are msgspec's because a relayed stream makes one of them per token
(benchmarks/passthrough.py holds the price). Those of which a long conversation has thousands are
not tracked by the garbage collector: they cannot be part of a cycle.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, Self, get_args, overload

import msgspec

from chorus import wirejson
from chorus.usage import Usage
from chorus.wirejson import JSON

Role = Literal["system", "developer", "user", "assistant", "tool"]
Priority = Literal["interactive", "default", "batch"]
"""Who goes first where there is a queue (K2)."""
PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
"""First those who go first."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)
FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
Difficulty = Literal["easy", "medium", "hard"]
"""How an analyzer judges a request (W7)."""
DIFFICULTIES: Final[tuple[Difficulty, ...]] = get_args(Difficulty)
Balance = Literal["least_load", "round_robin", "weighted", "latency"]
"""How a pool chooses among the replicas of a model (D3)."""
SystemPlace = Literal["first", "anywhere"]
"""Where a model takes system messages."""
LimitField = Literal["max_tokens", "max_completion_tokens"]
"""The field by which a model takes the length of its answer."""
PromptCache = Literal["workflows", "always", "never"]
"""Which calls mark the end of their prompt for the upstream's cache, besides the client's marks."""
Framing = Literal["ndjson", "sse"]
"""How the events of a stream stand on the wire: a line of JSON each, or server-sent events."""


Extra = Mapping[str, JSON]
"""Fields that Chorus does not use and a provider may need back, by their names in OpenAI's chat.

Examples are `cache_control`, `extra_content` (Gemini's thought signatures), `reasoning_details` and
`annotations`.
"""


RESPONSES_ITEM: Final = "responses_item"
"""Field of a call or a result: its item of the Responses API, for models behind that API."""
RESPONSES_ITEMS: Final = "responses_items"
"""Field of a message or an answer: items of the Responses API that have no other place.

Each is `{"item": ..., "before": ...}`; `before` names the call that follows, or is "message".
"""


class Text(msgspec.Struct, frozen=True, gc=False, tag="text"):
    """A text part of a message."""

    text: str
    extra: Extra = {}


class Image(msgspec.Struct, frozen=True, gc=False, tag="image"):
    """An image part: an http(s) URL or a `data:` URL with base64 content."""

    url: str
    detail: str | None = None
    extra: Extra = {}


class Opaque(msgspec.Struct, frozen=True, gc=False, tag="opaque"):
    """A part of another kind (a file, audio, video) in OpenAI's chat shape, passed on as it is."""

    data: Mapping[str, JSON]


Part = Text | Image | Opaque


class ToolCall(msgspec.Struct, frozen=True, gc=False):
    """A whole tool call.

    `arguments` is JSON text, as OpenAI writes it; Ollama's dialect turns it into an object.
    """

    id: str
    name: str
    arguments: str
    extra: Extra = {}


class ToolPiece(msgspec.Struct, frozen=True, gc=False):
    """A piece of a streamed tool call.

    The first of an `index` has id and name, later ones only `arguments`.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    extra: Extra | None = None


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One turn of the conversation.

    Encoded as it is, one with a role and a text only is a message of OpenAI's API.
    """

    role: Role
    content: str | tuple[Part, ...] = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    name: str | None = None
    extra: Extra = {}

    @property
    def text(self) -> str:
        """The text of the message without its images."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content if isinstance(part, Text))


class Sampling(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to draw tokens; None leaves it to the model. The names are OpenAI's."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class Tools(Sequence[JSON]):
    """Tool definitions in OpenAI's format, encoded at most once and decoded only when read.

    An agent sends 100 kB of them with each turn, and every worker and the trace need them.
    """

    def __init__(self, definitions: Iterable[JSON] = ()) -> None:
        self._definitions: Sequence[JSON] | None = tuple(definitions)
        self._count = len(self._definitions)
        self._encoded: bytes | None = None

    @classmethod
    def of_encoded(cls, encoded: bytes, count: int) -> Self:
        """Return the `count` definitions of a JSON array."""
        tools = cls()
        tools._count, tools._encoded, tools._definitions = count, encoded, None
        return tools

    @property
    def encoded(self) -> bytes:
        """The definitions as a JSON array."""
        if self._encoded is None:
            self._encoded = wirejson.encode_upstream(self._definitions)
        return self._encoded

    @property
    def definitions(self) -> Sequence[JSON]:
        """The definitions, decoded as `wirejson.decode_array` does."""
        if self._definitions is None:
            self._definitions = wirejson.decode_array(self.encoded)
        return self._definitions

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> JSON: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[JSON]: ...

    def __getitem__(self, index: int | slice) -> JSON:
        return self.definitions[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tools) and self.encoded == other.encoded

    def __hash__(self) -> int:
        return hash(self.encoded)


class ChatRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client asked, whatever dialect it spoke.

    `model` is the name as the client sent it. `prompt` is set by requests for a raw text completion
    (`messages` then holds the same text as a user turn, for upstreams that only chat; of token
    numbers nobody here knows the text); `suffix`, `echo` and `generate_options` (fields of Ollama's
    generate: `raw`, `template`, `system`) belong to it. `tools`, `tool_choice` and
    `response_format` have OpenAI's shapes. `session` names whose request it is, so that it can go
    where earlier ones went (D3). `ollama_options` are options that only Ollama knows (`num_ctx`,
    `top_k`, ...). `extra` holds the request's other fields for a pass-through upstream (A6).

    `responses_options` are what only OpenAI's Responses API knows, of a request in its dialect to a
    model behind it: `tools` and `tool_choice` as the client wrote them, `customs` (the names of
    custom tools by those of the functions that stand for them), `renamed` (the names of functions
    that have another one, by the client's), `include`, `reasoning`, `metadata`,
    `truncation`, ... `anthropic_options` are what only Anthropic's Messages API knows, of a request
    in its dialect: `tools` and `tool_choice` as the client wrote them, `thinking`, `output_config`,
    `betas` (the names in its `anthropic-beta` header), `container`, `context_management`, ...
    `shared_messages` is how many of the leading messages several stages of a workflow send alike; 0
    where only one call is made.
    """

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    tools: Tools = Tools()
    tool_choice: JSON = None
    parallel_tool_calls: bool | None = None
    response_format: JSON = None
    reasoning_effort: str | bool | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    prompt: str | tuple[int, ...] | None = None
    suffix: str | None = None
    echo: bool = False
    generate_options: Mapping[str, JSON] = {}
    keep_alive: str | float | None = None
    session: str | None = None
    priority: Priority = "default"
    ollama_options: Mapping[str, JSON] = {}
    responses_options: Mapping[str, JSON] = {}
    anthropic_options: Mapping[str, JSON] = {}
    extra: Mapping[str, JSON] = {}
    shared_messages: int = 0


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model, or a whole workflow, answered."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason = "stop"
    usage: Usage = Usage()
    logprobs: JSON = None
    extra: Extra = {}


class Timeouts(msgspec.Struct, frozen=True):
    """Limits of the stages in seconds (C7).

    For a stage whose tokens go out as they come, its limit counts silence, not length: a healthy
    long answer is never cut.
    """

    analyzer: float = 30.0
    worker: float = 60.0
    selector: float = 60.0
    synthesizer: float = 60.0
    first_token: float | None = None
    total: float | None = None
    first_byte: float = 600.0
    """Longest silence before the reply of a model that the request names itself."""
    idle: float = 600.0
    """Of such a model: how long it may be silent after that.

    Any bytes count, such as comments of a stream.
    """
    single_first_token: float | None = None
    """Of such a model: how long one replica may take to begin before another is asked."""
