"""Who makes a request: its key, the route, and how it stands with its rate limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from chorus.auth.keys import Key

LOCAL: Final = "local"
"""Who owns what is made where no keys are asked for. No key has this id: they are hexadecimal."""


class Left(msgspec.Struct, frozen=True, gc=False):
    """What is left of the tightest limit of one kind.

    `reset_secs` is when all of it is there again.
    """

    limit: int
    remaining: int
    reset_secs: float


class Standing(msgspec.Struct, frozen=True, gc=False):
    """How a principal stands with the limits; None where there is none of the kind."""

    requests: Left | None = None
    tokens: Left | None = None


@dataclass(slots=True)
class Principal:
    """Who asks, and where; `standing` is how it stands with the limits since it was charged."""

    route: str
    key: Key | None = None
    user: str = ""
    """The user that the client names (`X-User-ID`), if it names one."""
    standing: Standing | None = None
    trace: Mapping[str, str] | None = None
    """The headers of the trace that the request is part of (W3C Trace Context).

    None where there is none.
    """

    @property
    def owner(self) -> str:
        """The owner of what this request makes, and of the records that it can reach.

        It is the key's id; `local` where there are no keys.
        """
        return self.key.id if self.key is not None else LOCAL
