"""The scripted upstreams of agents, each of another wire: OpenAI's chat completions, Anthropic's
Messages API and OpenAI's Responses API.

A model is one function for all of them: it gets what arrived (`Got`) and returns its answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from tests.kit import Behaviour, Recorded, Say, ScriptedUpstream, Status
from tests.kit.providers import Failure, ModelAnswer, ReceivedRequest
from tests.kit.providers.anthropic import AnthropicProvider
from tests.kit.providers.http import HttpProvider
from tests.kit.providers.responses import ResponsesProvider

KINDS = ("chat", "anthropic", "responses")
CLAUDES = {
    "glm": "claude-haiku-4-5",
    "kimi": "claude-opus-4-6",
    "judge": "claude-haiku-4-5-judge",
    "author": "claude-haiku-4-5-author",
    "gpt-5.5": "claude-sonnet-5-5",
}
"""Models of three generations, which take different fields."""
THINKING = 'extra_body = { thinking = { type = "enabled", budget_tokens = 2000 } }\n'
"""Of the model whose thinking has a budget: its API then demands the thoughts of a turn with
calls.
"""
GPTS = {"glm": "gpt-5.2", "kimi": "o4-mini", "judge": "gpt-4.1-mini", "author": "gpt-4.1", "gpt-5.5": "gpt-5.5"}


@dataclass(frozen=True)
class Got:
    """A request as the upstream got it. `thoughts` has the reasoning of each turn with calls."""

    body: Mapping[str, Any]
    text: str
    has_results: bool
    thoughts: tuple[str, ...]
    arguments: tuple[Any, ...]
    """Those of each call."""

    @classmethod
    def of_chat(cls, recorded: Recorded) -> Self:
        callers = [message for message in recorded.messages if message.get("tool_calls")]
        return cls(
            recorded.json,
            recorded.text,
            any(message["role"] == "tool" for message in recorded.messages),
            tuple(message.get("reasoning_content") or "" for message in callers),
            tuple(json.loads(call["function"]["arguments"]) for caller in callers for call in caller["tool_calls"]),
        )

    @classmethod
    def of(cls, request: ReceivedRequest) -> Self:
        """What a provider of another wire got; its signatures it has checked itself."""
        callers = [turn for turn in request.turns if turn.calls]
        return cls(
            request.body,
            "\n".join([request.system, *(turn.text for turn in request.turns)]),
            any(turn.role == "tool" for turn in request.turns),
            tuple(turn.thinking if turn.signature else "" for turn in callers),
            tuple(call.arguments for turn in callers for call in turn.calls),
        )


Model = Callable[[Got], ModelAnswer | Failure]


class AgentUpstream(Protocol):
    """An upstream that plays models for an agent."""

    kind: str

    @property
    def refusals(self) -> Sequence[str]:
        """Why it refused requests that the real provider refuses, since `play`."""
        ...

    def model(self, name: str) -> str:
        """The lines of a `[[model]]` that reach the model of this name."""
        ...

    def play(self, models: Mapping[str, Model]) -> None:
        """Forget the requests so far, and let the models answer as these do."""
        ...

    def calls(self, name: str) -> list[Got]:
        """The requests for a model, in order."""
        ...


class ChatUpstream:
    """Chat completions."""

    kind = "chat"

    def __init__(self, scripted: ScriptedUpstream) -> None:
        self.refusals: Sequence[str] = ()
        self._scripted = scripted

    def model(self, name: str) -> str:
        return f'api_base = "{self._scripted.base}/v1"\n'

    def play(self, models: Mapping[str, Model]) -> None:
        self._scripted.forget()
        for name, model in models.items():
            self._scripted.on(name, _behaving(model))

    def calls(self, name: str) -> list[Got]:
        return [Got.of_chat(recorded) for recorded in self._scripted.calls(name)]


class ProviderUpstream:
    """A scripted provider that refuses what the real one does."""

    def __init__(self, provider: HttpProvider, kind: str, names: Mapping[str, str]) -> None:
        self.kind = kind
        self._provider = provider
        self._names = names

    @property
    def refusals(self) -> Sequence[str]:
        return self._provider.refusals

    def model(self, name: str) -> str:
        lines = self._provider.settings().splitlines(keepends=True)
        return "".join(
            [*(line for line in lines if not line.startswith("model =")), f'model = "{self._names[name]}"\n']
        )

    def play(self, models: Mapping[str, Model]) -> None:
        at_provider = {self._names[name]: model for name, model in models.items()}
        self._provider.script(lambda request: at_provider[request.model](Got.of(request)))

    def calls(self, name: str) -> list[Got]:
        return [Got.of(request) for request in self._provider.requests if request.model == self._names[name]]


def upstream_of(kind: str, scripted: ScriptedUpstream) -> AgentUpstream:
    """Return the upstream of this kind on the socket of `scripted`."""
    if kind == "anthropic":
        return ProviderUpstream(AnthropicProvider(scripted), kind, CLAUDES)
    if kind == "responses":
        return ProviderUpstream(ResponsesProvider(scripted), kind, GPTS)
    return ChatUpstream(scripted)


def _behaving(model: Model) -> Callable[[Recorded], Behaviour]:
    def answered(recorded: Recorded) -> Behaviour:
        answer = model(Got.of_chat(recorded))
        if isinstance(answer, Failure):
            return Status(400, {"error": {"message": answer.message, "type": "invalid_request_error"}})
        calls = [
            {"id": call.id, "name": call.name, "arguments": json.dumps(call.arguments, ensure_ascii=False)}
            for call in answer.calls
        ]
        return Say(answer.text, reasoning=answer.thinking, tool_calls=calls, usage=answer.usage)

    return answered
