"""One instance of a service, as a source of addresses names it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

MAX_INSTANCES: Final = 1000
"""Of one service; a longer list is cut."""
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


class Instance(NamedTuple):
    """Where one instance listens. `weight` is its share of the load, above 0."""

    host: str
    port: int
    weight: float = 1.0

    def address(self, template: str) -> str:
        """Return `template` with `{host}` and `{port}` filled in."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return template.replace("{host}", host).replace("{port}", str(self.port))


def in_order(instances: Iterable[Instance]) -> tuple[Instance, ...]:
    """Return the distinct `instances` in a fixed order, without those that cannot be an address.

    What a source says goes into URLs.
    """
    places: dict[tuple[str, int], Instance] = {}
    for instance in instances:
        if _HOST.fullmatch(instance.host) and 0 < instance.port < 65536:
            places.setdefault(instance[:2], instance)
    return tuple(places[place] for place in sorted(places)[:MAX_INSTANCES])
