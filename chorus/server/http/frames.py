"""Frames: what a dialect makes of events, and a stream of bytes makes of them (`framing.py`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from chorus.events import Event
from chorus.wirejson import JSON


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event of a stream before it is framed as SSE or NDJSON. `data` is a JSON value, or the
    bytes of one; `event` is the SSE event's name, if it has one."""

    data: JSON
    event: str | None = None
    id: int | None = None
    """What an SSE reader names to go on from here (`Last-Event-ID`); only beside `event`."""


class Encoder(Protocol):
    """Turns one run's events into the frames of one stream."""

    def encode(self, event: Event) -> Iterable[Frame]:
        """Return the frames that `event` makes.

        None for what the client does not hear. Events come in the journal's order, once each. For
        `RunFailed` these are the dialect's mid-stream error.
        """
        ...
