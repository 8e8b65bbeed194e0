"""What a scripted upstream can do with one request: its behaviours.

    Reply given     Say            a good answer, paced as given
    Refused         Status         any HTTP status with any body
    Silence         Hang           before the headers, after them, or after some pieces
    Broken          Cut            the socket closes (or resets) in mid-answer
                    ErrorInStream  200, some pieces, then an error event
                    Raw            these bytes, verbatim
                    Empty          200 without a body

Behaviours are plain frozen data. `render.py` knows how each looks in a dialect, `perform.py` plays
it on a socket. All times are in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .gate import Gate
from .record import Recorded

ToolCall = Mapping[str, str]
"""One tool call: `id`, `name`, and `arguments` as a JSON string."""


@dataclass(frozen=True)
class Say:
    """A good answer.

    `text` may be a callable of the request. `pieces` overrides how the answer is cut (default: by
    words). `first_token` is waited before the first byte, status line included; `gap` between
    pieces. A non-streaming answer takes as long as its stream would. `burst` writes everything at
    once.

    `usage` is (prompt, completion); None counts words; "omit" reports none at all. `finish=None`
    leaves the finish reason out and `terminator=False` the `[DONE]` (Ollama: the `done: true`
    line).

    `gate` holds the answer before piece number `gate_at` (0: before the status line) until the test
    opens it.
    """

    text: str | Callable[[Recorded], str] = ""
    pieces: Sequence[str] | None = None
    first_token: float = 0.0
    gap: float = 0.0
    reasoning: str = ""
    tool_calls: Sequence[ToolCall] = ()
    finish: str | None = "stop"
    usage: tuple[int, int] | Literal["omit"] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    burst: bool = False
    terminator: bool = True
    gate: Gate | None = None
    gate_at: int = 0


@dataclass(frozen=True)
class Status:
    """An HTTP status.

    Without a `body`, an error in the dialect's own shape; dicts and lists go as JSON.
    """

    code: int
    body: str | bytes | dict[str, Any] | list[Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0


@dataclass(frozen=True)
class Hang:
    """Silence until the client leaves.

    "connect": nothing is answered; "headers": status line and headers, then nothing; "body":
    `pieces` pieces of `text`, then nothing (non-streaming: the first half of the body). For an
    address where even connecting hangs, see `unaccepting()`.
    """

    stage: Literal["connect", "headers", "body"] = "connect"
    pieces: int = 2
    text: str = "one two three four"


@dataclass(frozen=True)
class Cut:
    """The connection closes in mid-answer, after `after_pieces` pieces (None: before the status
    line).

    `reset` sends RST in place of FIN, `settle` seconds later, since a reset drops what the peer has
    not read yet. `clean` ends the HTTP body properly: only the dialect's missing end tells.
    """

    after_pieces: int | None = 1
    text: str = "one two three four"
    reset: bool = False
    clean: bool = False
    settle: float = 0.05


@dataclass(frozen=True)
class ErrorInStream:
    """200 and `after_pieces` pieces of `text`, then an error object in the stream (else: as the
    body).
    """

    after_pieces: int = 0
    message: str = "the model fell over"
    text: str = "one two three four"


@dataclass(frozen=True)
class Raw:
    """These bytes as the body, one write each, `gap` seconds apart.

    `close=True` delimits the body by closing the connection; False uses chunked encoding (one HTTP
    chunk each) and keeps the connection. `head=False` writes them with no status line before: not
    even HTTP.
    """

    chunks: Sequence[bytes]
    gap: float = 0.0
    status: int = 200
    content_type: str = "text/event-stream"
    close: bool = True
    head: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Empty:
    """200 with an empty body."""


Behaviour = Say | Status | Hang | Cut | ErrorInStream | Raw | Empty
Step = Behaviour | Callable[[Recorded], Behaviour]
