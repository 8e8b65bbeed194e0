"""How many tokens the notes on users take in a prompt (M4): for limits, windows and estimates."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import anyio

from chorus.errors import ChorusError
from chorus.sessions.prompt import notes_text
from chorus.storage.base import Profiles
from chorus.usage import estimate_tokens

_MANY: Final = 10_000
"""Users whose size is known; those that were away longest are forgotten."""
_WAIT_SECS: Final = 2.0


class NoteSizes:
    """The tokens of the notes that were read last."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[tuple[str, str], int] = OrderedDict()

    def known(self, owner: str, user: str) -> int:
        """Return the tokens of the notes on `user` when they were read last; 0 where they never
        were."""
        return self._tokens.get((owner, user), 0)

    def keep(self, owner: str, user: str, text: str) -> None:
        """Note that the notes on `user` are `text` in a prompt; "" where there are none."""
        self._tokens[owner, user] = estimate_tokens(text) if text else 0
        self._tokens.move_to_end((owner, user))
        if len(self._tokens) > _MANY:
            self._tokens.popitem(last=False)

    async def read(self, profiles: Profiles, owner: str, user: str) -> int:
        """Return the tokens of the notes on `user`.

        Those that are known while the store is away.
        """
        try:
            with anyio.fail_after(_WAIT_SECS):
                profile = await profiles.get(owner, user)
        except (TimeoutError, ChorusError):
            return self.known(owner, user)
        self.keep(owner, user, notes_text(profile.notes) if profile is not None and profile.notes else "")
        return self.known(owner, user)
