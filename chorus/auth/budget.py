"""What a key may cost in a period of the calendar (M6). Pure."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Literal

import msgspec

Per = Literal["day", "week", "month"]


class KeyBudget(msgspec.Struct, frozen=True):
    """An amount in the currency of the configured prices, for each day, week or month. Periods
    begin at 00:00 UTC: a week on Monday, a month on its first day."""

    amount: Annotated[float, msgspec.Meta(gt=0)]
    per: Per

    def __str__(self) -> str:
        return f"{self.amount:.15g} per {self.per}"

    def began(self, day: date) -> date:
        """Return the first day of the period that `day` is in."""
        if self.per == "week":
            return day - timedelta(days=day.weekday())
        return day.replace(day=1) if self.per == "month" else day

    def renews(self, day: date) -> date:
        """Return the first day of the next period."""
        began = self.began(day)
        if self.per == "month":
            return (began + timedelta(days=31)).replace(day=1)
        return began + timedelta(days=7 if self.per == "week" else 1)
