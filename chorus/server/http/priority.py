"""Who goes first where there is a queue (K2): what a request says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.types import Scope

from chorus.errors import InvalidRequest
from chorus.server.http.context import header
from chorus.types import PRIORITIES, Priority
from chorus.wirejson import JSON

_NAMES: Final[Mapping[str, Priority]] = {name: name for name in PRIORITIES}
_TIERS: Final[Mapping[str, Priority]] = {"priority": "interactive", "flex": "batch"}


def priority_of(scope: Scope, body: JSON) -> Priority:
    """Return the priority that `X-Priority` names, else the one of `service_tier` in `body`.

    Raises:
        InvalidRequest: the header says nothing that we know.
    """
    named = header(scope, b"x-priority")
    if named is None:
        tier = body.get("service_tier") if isinstance(body, dict) else None
        return _TIERS.get(tier, "default") if isinstance(tier, str) else "default"
    if named not in _NAMES:
        raise InvalidRequest("Invalid value for the header X-Priority: expected interactive, default or batch.")
    return _NAMES[named]
