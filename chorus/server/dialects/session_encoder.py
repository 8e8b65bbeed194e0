"""The id of a session in the last data event of a stream (M3)."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from chorus import wirejson
from chorus.events import Event, RunFailed, RunFinished
from chorus.server.http.frames import Encoder, Frame
from chorus.wirejson import JSON


class SessionEncoder:
    """An encoder around another one, whose last frame gets `session_id`."""

    def __init__(self, inner: Encoder, session_id: str) -> None:
        self._inner = inner
        self._session_id = session_id

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        frames = self._inner.encode(event)
        if not isinstance(event, RunFinished | RunFailed):
            return frames
        *others, last = frames  # a run never ends without a word
        data: JSON = wirejson.decode(last.data) if isinstance(last.data, bytes) else last.data
        return (*others, msgspec.structs.replace(last, data={**data, "session_id": self._session_id}))
