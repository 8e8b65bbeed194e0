"""`GET /api/v1/usage`: calls, tokens and costs by key, user, model and day (M6)."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

import msgspec
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from chorus.errors import InvalidRequest
from chorus.server.http.auth import principal_of
from chorus.server.http.wire import send_json
from chorus.service import Chorus
from chorus.storage.records import USAGE_COLUMNS, UsageColumn

USAGE_PATH: Final = "/api/v1/usage"
_MAX_ROWS: Final = 10_000
"""Rows of one answer: some 2 MB."""
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class UsageReport:
    """A handler over one `Chorus`; an ASGI application."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the sums by the columns in `group_by`, over the days from `start` to `end`.

        An administrator's key sees those of all keys, another its own; without keys there is one
        owner.

        Raises:
            InvalidRequest: a parameter is out of range, or the answer would have too many rows.
            StorageUnavailable: the store is away.
        """
        query = QueryParams(scope["query_string"])
        group_by = _columns(query.getlist("group_by"))
        start, end = _day("start", query.get("start")), _day("end", query.get("end"))
        if start is not None and end is not None and start > end:
            raise InvalidRequest(f"Invalid value for 'end': {end} is before 'start', {start}.", param="end")
        key = principal_of(scope).key
        owner = key.id if key is not None and key.role != "admin" else None
        await self._chorus.usage.flush()  # so that the answer has the caller's own last request
        rows = await self._chorus.storage.usage.query(
            owner, group_by=group_by, start=start, end=end, limit=_MAX_ROWS + 1
        )
        if len(rows) > _MAX_ROWS:
            raise InvalidRequest(
                f"The answer would have more than {_MAX_ROWS} rows: group by fewer columns, or set 'start' and 'end'.",
                param="group_by",
            )
        await send_json(send, {"data": [msgspec.to_builtins(row) for row in rows]})


def _columns(given: list[str]) -> list[UsageColumn]:
    """Return the columns that `group_by` lists, in one value or several.

    All where it is missing, none where it is empty.
    """
    if not given:
        return [*USAGE_COLUMNS]
    names = {name.strip() for value in given for name in value.split(",")} - {""}
    if not names <= {*USAGE_COLUMNS}:
        raise InvalidRequest(
            f"Invalid value for 'group_by': expected names of {', '.join(USAGE_COLUMNS)}, by commas.", param="group_by"
        )
    return [column for column in USAGE_COLUMNS if column in names]


def _day(name: str, given: str | None) -> str | None:
    """Return the ISO date of the parameter called `name`."""
    if given is None:
        return None
    try:
        if _DAY.fullmatch(given):
            return date.fromisoformat(given).isoformat()
    except ValueError:
        pass
    raise InvalidRequest(f"Invalid value for '{name}': expected a date such as 2026-11-30.", param=name)
