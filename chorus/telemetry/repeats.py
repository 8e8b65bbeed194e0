"""Which lines of the log say again what another one has said a short time ago."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final

import anyio

REPEAT_SECS: Final = 3600.0
"""After so long a line is news again."""
_MAX_LINES: Final = 1000
"""Lines that are remembered; of more, those that were said longest ago are forgotten."""
_MAX_CHARACTERS: Final = 300
_NUMBERS: Final = re.compile(r"\d+")


class Repeats:
    """The lines of the last hour. Claude Code and Codex send fields that no upstream takes with every request: each of them
    is one warning an hour, not one a request."""

    def __init__(self) -> None:
        self._said: OrderedDict[tuple[str, str], float] = OrderedDict()

    def is_news(self, source: str, sentence: str) -> bool:
        """Whether `source` (a client, a model) has not had this sentence lately; from now on it has. Numbers do not count:
        the same field stands in another message each time."""
        now = anyio.current_time()
        line = (source[:_MAX_CHARACTERS], _NUMBERS.sub("0", sentence[:_MAX_CHARACTERS]))
        said_at = self._said.get(line)
        if said_at is not None and now - said_at < REPEAT_SECS:
            return False
        self._said[line] = now
        self._said.move_to_end(line)
        if len(self._said) > _MAX_LINES:
            self._said.popitem(last=False)
        return True
