"""The faults of an upstream, and what each comes to: a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from tests.kit import Cut, ErrorInStream, Hang, Raw, Status

BEGINNING = b'data: {"choices":[{"index":0,"delta":{"content":"one"}}]}\n\n'
GARBAGE = b"data: {garbage\n\n"
SLOWLY = [bytes([byte]) for byte in BEGINNING]
WAIT = {"retry-after": "0"}
FOR_LONG = {"retry-after": "60"}

FIRST, IDLE = 0.4, 0.5
"""Seconds that an upstream has for its first token, and between tokens, where a fault is about
that.
"""


@dataclass(frozen=True)
class Fault:
    """A way to be broken, and what it comes to where the only replica of a model is.

    `status` and `code` are what its client gets; `tries` how often the replica is asked; `counts`
    whether its breaker holds that against it. `received` is what of the answer was there before it
    broke; a stream, whose status was 200 then, ends with the error. `needs` is the time limit that
    ends it.
    """

    does: Any
    status: int
    code: str
    tries: int
    counts: bool
    received: str = ""
    needs: Literal["first token", "idle"] | None = None

    def failures(self, tries: int) -> tuple[int, str]:
        """Failures in a row and state of a breaker whose replica one request has tried so often.

        They count once, since the request itself may be why it fails, but for those that had no
        connection.
        """
        if not self.counts or not tries:
            return 0, "closed"
        failures = tries if self.does == "refuses connections" else 1
        return failures, "open" if failures >= 3 else "closed"

    @property
    def moves(self) -> bool:
        """Whether another replica gets the call: not when something was delivered, nor when
        it is the request that was refused.
        """
        return self.code != "upstream_refused" and not (self.received and self.tries == 1)


# fmt: off
FAULTS: dict[str, Fault] = {
    # what               the replica does                    status  error               tries counts  sent    time limit
    "refused":      Fault("refuses connections",               502, "upstream_connect",      3, True),
    "unreachable":  Fault("lets connecting hang",              504, "upstream_timeout",      3, True,  "",    "first token"),
    "no-answer":    Fault(Hang("connect"),                     504, "upstream_timeout",      3, True,  "",    "first token"),
    "silence":      Fault(Hang("headers"),                     504, "upstream_timeout",      3, True,  "",    "first token"),
    "slow-bytes":   Fault(Raw(SLOWLY, gap=1.0),                504, "upstream_timeout",      3, True,  "",    "first token"),
    "429":          Fault(Status(429, headers=WAIT),           429, "upstream_rate_limited", 3, False),
    "429-for-long": Fault(Status(429, headers=FOR_LONG),       429, "upstream_rate_limited", 1, False),
    "500":          Fault(Status(500),                         502, "upstream_status",       3, True),
    "503":          Fault(Status(503),                         502, "upstream_status",       3, False),
    "400":          Fault(Status(400),                         400, "upstream_refused",      1, False),
    "hangs-up":     Fault(Cut(after_pieces=None),              502, "upstream_connect",      3, True),
    "empty":        Fault(Raw([b""]),                          502, "upstream_protocol",     3, True),
    "malformed":    Fault(Raw([GARBAGE]),                      502, "upstream_protocol",     3, True),
    "error-in-200": Fault(ErrorInStream(),                     502, "upstream_error",        3, True),
    "cut":          Fault(Cut(after_pieces=1),                 502, "upstream_protocol",     1, True,  "one"),
    "no-end":       Fault(Raw([BEGINNING]),                    502, "upstream_protocol",     1, True,  "one"),
    "then-garbage": Fault(Raw([BEGINNING, GARBAGE]),           502, "upstream_protocol",     1, True,  "one"),
    "then-error":   Fault(ErrorInStream(after_pieces=1),       502, "upstream_error",        1, True,  "one"),
    "then-silence": Fault(Hang("body", pieces=1),              504, "upstream_timeout",      1, True,  "one", "idle"),
    "then-slow":    Fault(Raw([BEGINNING, *SLOWLY], gap=1.0),  504, "upstream_timeout",      1, True,  "one", "idle"),
}

PIECES: dict[str, Fault] = {
    # where the replica is asked to stream for a client that does not, nothing of it was delivered
    # when it breaks off, and it is tried again; what was read has been paid for. The time between
    # tokens is not for one try, but for all
    **{name: fault for name, fault in FAULTS.items() if fault.needs},
    "cut":          Fault(Cut(after_pieces=1),                 502, "upstream_protocol",     3, True,  "one"),
    "no-end":       Fault(Raw([BEGINNING]),                    502, "upstream_protocol",     3, True,  "one"),
    "then-garbage": Fault(Raw([BEGINNING, GARBAGE]),           502, "upstream_protocol",     3, True,  "one"),
    "then-error":   Fault(ErrorInStream(after_pieces=1),       502, "upstream_error",        3, True,  "one"),
}

WHOLE: dict[str, Fault] = {
    # where it is asked for one JSON object, half of it is nothing, and what takes time is bounded
    # as a whole; one that streams all the same is as above
    **{name: fault for name, fault in FAULTS.items() if fault.needs is None},
    "no-end":       PIECES["no-end"],
    "then-garbage": PIECES["then-garbage"],
    "cut":          Fault(Cut(after_pieces=1),                 502, "upstream_protocol",     3, True),
    "then-error":   Fault(ErrorInStream(after_pieces=1),       502, "upstream_error",        3, True),
}

WAYS: dict[str, dict[str, Fault]] = {
    "stream": FAULTS,  # a client that streams
    # one that does not, of a model whose first token has a time limit: its replicas are asked to
    # stream
    "pieces": PIECES,
    "whole": WHOLE,  # one that does not
}

SETUPS: dict[str, tuple[int, int]] = {
    # how many replicas are broken, of how many
    "1 of 1": (1, 1),
    "1 of 2": (1, 2),
    "1 of 3": (1, 3),
    "3 of 3": (3, 3),
}

CALLS: dict[str, dict[str, list[int]]] = {
    # how often each replica is asked, the broken ones first; the only one is asked as often as it
    # says above
    "moves": {"1 of 2": [1, 1], "1 of 3": [1, 1, 0], "3 of 3": [1, 1, 1]},
    "stays": {"1 of 2": [1, 0], "1 of 3": [1, 0, 0], "3 of 3": [1, 0, 0]},
}
# fmt: on
