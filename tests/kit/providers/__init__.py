"""Scripted providers: what a model answers, and what it was asked, whatever wire the provider
speaks.

A test says in the terms of this file what the model answers (`ModelAnswer`, `Failure`) and reads
what arrived (`ReceivedRequest`). One file beside this one knows one wire: `openai`, `ollama`, ...
It is strict: what the real provider refuses is refused with its error body, and stands in
`ScriptedProvider.refusals`. A class over `http.HttpProvider` has all but the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Finish = Literal["stop", "length", "tool_calls", "content_filter"]
FailureKind = Literal["refused", "unauthorized", "rate_limited", "server_error", "overloaded", "cut"]


@dataclass(frozen=True)
class ToolUse:
    """One call of a tool. The provider makes the id where a script leaves it empty."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True)
class ModelAnswer:
    """A good answer. `signature` is what the provider wants back with `thinking`, unchanged."""

    text: str = ""
    thinking: str = ""
    signature: str = ""
    calls: tuple[ToolUse, ...] = ()
    finish: Finish | None = None
    """None: "tool_calls" where there are calls, else "stop"."""
    usage: tuple[int, int] = (11, 7)
    """Tokens of the prompt and of the answer."""

    @property
    def finish_reason(self) -> Finish:
        """How the answer ends."""
        return self.finish or ("tool_calls" if self.calls else "stop")


@dataclass(frozen=True)
class Failure:
    """A failure, as the provider reports it.

    "cut": the answer breaks off behind its first words, `text`. `retry_after` is in seconds.
    """

    kind: FailureKind
    message: str = "the script says so"
    retry_after: float | None = None
    text: str = "Half an"


@dataclass(frozen=True)
class ReceivedTurn:
    """One turn of the conversation that the provider got, without the system prompt."""

    role: Literal["user", "assistant", "tool"]
    text: str = ""
    images: tuple[str, ...] = ()
    """Base64, without what stands in front of it in a `data:` URL."""
    calls: tuple[ToolUse, ...] = ()
    call_id: str = ""
    """The call that a tool's turn answers."""
    thinking: str = ""
    signature: str = ""


@dataclass(frozen=True)
class ReceivedRequest:
    """What the provider was asked."""

    model: str
    stream: bool
    key: str
    """The key of the request, without the word before it; "" where there is none."""
    system: str = ""
    turns: tuple[ReceivedTurn, ...] = ()
    tools: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The body as it came, for tests of one provider."""

    @property
    def images(self) -> tuple[str, ...]:
        """The images of all turns."""
        return tuple(image for turn in self.turns for image in turn.images)


Step = ModelAnswer | Failure | Callable[[ReceivedRequest], ModelAnswer | Failure]
"""What a provider does with a request; of a callable, what it returns for the request."""


class ScriptedProvider(Protocol):
    """One provider on a socket of its own."""

    name: str
    """The `provider` of the configuration, or what tells this row of the matrix from others."""
    keeps: frozenset[str]
    """What of an earlier answer the provider takes back: "thinking", "signature"."""
    tool_images: bool
    """Whether a tool's result may hold images; else they come in the user turn behind it."""
    says_filtered: bool
    """Whether the end of an answer says that a filter stopped it, or that the model refused."""

    @property
    def requests(self) -> Sequence[ReceivedRequest]:
        """What it was asked since the last `script`."""
        ...

    @property
    def refusals(self) -> Sequence[str]:
        """Why it refused requests that the real provider refuses, since the last `script`."""
        ...

    def settings(self) -> str:
        """The lines of a `[[model]]` that reach it, without name and retries."""
        ...

    def script(self, *steps: Step) -> None:
        """Forget the requests so far; do these steps in turn, the last one again and again."""
        ...
