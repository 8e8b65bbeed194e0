"""A rate as people write it: `60/minute`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

_UNITS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_WRITTEN: Final = re.compile(r"\s*([1-9]\d{0,11})\s*/\s*(second|minute|hour|day)\s*")
EXPECTED: Final = 'a rate such as "60/minute" (or second, hour, day)'


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds."""

    amount: int
    per: float

    @property
    def each(self) -> float:
        """Seconds in which one more is allowed."""
        return self.per / self.amount

    @property
    def unit(self) -> str:
        return next(name for name, secs in _UNITS.items() if secs == self.per)

    def __str__(self) -> str:
        return f"{self.amount}/{self.unit}"


@lru_cache(maxsize=4096)
def rate(text: str) -> Rate:
    """Return the rate that `text` spells.

    Raises:
        ValueError: it spells none.
    """
    match = _WRITTEN.fullmatch(text)
    if match is None:
        raise ValueError(f"expected {EXPECTED}")
    return Rate(int(match[1]), _UNITS[match[2]])
