"""What scripted providers over HTTP have in common: scripts, refusals, and answers that break
off.
"""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self

from tests.kit.record import Recorded
from tests.kit.script import Behaviour, Raw, Status
from tests.kit.upstream import ScriptedUpstream

from . import Failure, FailureKind, ModelAnswer, ReceivedRequest, Step

KEY = "sk-planted0123456789abcdef"
MODEL = "model-1"
STATUSES: dict[FailureKind, int] = {
    "refused": 400,
    "unauthorized": 401,
    "rate_limited": 429,
    "server_error": 500,
    "overloaded": 503,
}


class Refused(Exception):
    """The provider does not take a request. The text is what it says about it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class HttpProvider(ABC):
    """A provider on a socket. Its wire is in the abstract methods."""

    name: ClassVar[str]
    keeps: ClassVar[frozenset[str]] = frozenset()
    tool_images: ClassVar[bool] = False
    says_filtered: ClassVar[bool] = True
    paths: ClassVar[tuple[str, ...]]
    """Where the model answers."""
    statuses: ClassVar[dict[FailureKind, int]] = STATUSES
    environment: ClassVar[str | None] = None
    """Where the packages of the provider are (`tests/clients/environments.py`); None: in ours."""
    stream_type: ClassVar[str] = "text/event-stream"

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.upstream = upstream
        self.requests: list[ReceivedRequest] = []
        self.refusals: list[str] = []
        self._steps: list[Step] = [ModelAnswer("ready")]
        for path in self.paths:
            upstream.on(path, self._answered)

    @classmethod
    @contextlib.contextmanager
    def serving(cls) -> Iterator[Self]:
        """Serve from a thread of its own."""
        with ScriptedUpstream.in_thread() as upstream:
            yield cls(upstream)

    @property
    def base(self) -> str:
        """The address of the server."""
        return self.upstream.base

    def script(self, *steps: Step) -> None:
        """See `ScriptedProvider.script`."""
        assert steps, "a script needs at least one step"
        self._steps = list(steps)
        self.requests.clear()
        self.refusals.clear()
        self.upstream.forget()

    def _answered(self, recorded: Recorded) -> Behaviour:
        try:
            request = self.received(recorded)
        except Refused as refusal:
            self.refusals.append(str(refusal))
            return Status(refusal.status, self.error(refusal.status, str(refusal)))
        self.requests.append(request)
        step = self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]
        if callable(step):
            step = step(request)
        if isinstance(step, ModelAnswer):
            return self._good(step, request)
        if step.kind == "cut":
            return self._cut(step, request)
        status = self.statuses[step.kind]
        headers = {} if step.retry_after is None else {"retry-after": f"{step.retry_after:g}"}
        return Status(status, self.error(status, step.message), headers)

    def _good(self, answer: ModelAnswer, request: ReceivedRequest) -> Raw:
        if request.stream:
            pieces = self.stream(answer, request)
            return Raw(pieces, content_type=self.stream_type, close=False)
        return Raw([encoded(self.whole(answer, request))], content_type="application/json", close=False)

    def _cut(self, failure: Failure, request: ReceivedRequest) -> Raw:
        """The first words in a stream, or half of the object, then the end of the connection."""
        answer = ModelAnswer(failure.text)
        if request.stream:
            return Raw(self.beginning(answer, request), content_type=self.stream_type)
        body = encoded(self.whole(answer, request))
        return Raw([body[: len(body) // 2]], content_type="application/json")

    def beginning(self, answer: ModelAnswer, request: ReceivedRequest) -> Sequence[bytes]:
        """The pieces of a stream up to the text of `answer`, without those that end it."""
        end = words(answer.text)[-1].encode()
        pieces = list(self.stream(answer, request))
        last = max(place for place, piece in enumerate(pieces) if end in piece)
        return pieces[: last + 1]

    @abstractmethod
    def settings(self) -> str:
        """See `ScriptedProvider.settings`."""

    @abstractmethod
    def received(self, recorded: Recorded) -> ReceivedRequest:
        """What a request asks.

        Raises:
            Refused: the real provider does not take it.
        """

    @abstractmethod
    def error(self, status: int, message: str) -> dict[str, Any]:
        """The provider's body for an error."""

    @abstractmethod
    def whole(self, answer: ModelAnswer, request: ReceivedRequest) -> dict[str, Any]:
        """The answer as one object."""

    @abstractmethod
    def stream(self, answer: ModelAnswer, request: ReceivedRequest) -> Sequence[bytes]:
        """The answer as the pieces of a stream, one write each.

        Text comes in one piece for each word.
        """


def encoded(value: Any) -> bytes:
    """`value` as JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def event(data: Any, name: str = "") -> bytes:
    """`data` as a server-sent event."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + encoded(data) + b"\n\n"


def words(text: str) -> list[str]:
    """`text` cut before each word but the first."""
    first, *others = text.split(" ")
    return [piece for piece in (first, *(f" {word}" for word in others)) if piece]


def bearer(recorded: Recorded) -> str:
    """The key in the `authorization` header."""
    kind, _, key = recorded.headers.get("authorization", "").partition(" ")
    return key if kind.lower() == "bearer" else ""


def unknown(fields: dict[str, Any], known: frozenset[str], where: str = "") -> None:
    """Check that an object has no other fields than `known`.

    Raises:
        Refused: it has.
    """
    for name in fields:
        if name not in known:
            raise Refused(f"Unrecognized request argument supplied: {where}{name}")
