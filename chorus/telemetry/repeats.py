"""Which lines of the log repeat an earlier one of the last hour."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final

import anyio

REPEAT_SECS: Final = 3600.0
"""Seconds after which a line is news again."""
_MAX_LINES: Final = 1000
"""Lines that are remembered; of more, those that are oldest are forgotten."""
_MAX_CHARACTERS: Final = 300
_NUMBERS: Final = re.compile(r"\d+")


class Repeats:
    """The lines of the last hour. Claude Code and Codex send fields that no upstream takes with
    every request: each of them is one warning an hour, not one a request."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()

    def is_news(self, source: str, sentence: str) -> bool:
        """Return whether `source` (a client, a model) has not had this sentence in the last hour.

        The call notes the sentence. Numbers do not count: the same field stands in another message
        each time.
        """
        now = anyio.current_time()
        line = (source[:_MAX_CHARACTERS], _NUMBERS.sub("0", sentence[:_MAX_CHARACTERS]))
        seen_at = self._seen.get(line)
        if seen_at is not None and now - seen_at < REPEAT_SECS:
            return False
        self._seen[line] = now
        self._seen.move_to_end(line)
        if len(self._seen) > _MAX_LINES:
            self._seen.popitem(last=False)
        return True
