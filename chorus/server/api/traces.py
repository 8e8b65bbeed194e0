"""The traces of earlier runs (W9)."""

from __future__ import annotations

import math
from functools import partial
from typing import Final

from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from chorus.errors import InvalidRequest
from chorus.past_runs import MAX_LISTED
from chorus.server.api.learning import feedback_fields
from chorus.server.api.paging import page_limit
from chorus.server.http.wire import Header, send_json
from chorus.service import Chorus
from chorus.telemetry.trace_summary import TRACE_STATUSES, TraceFilter

_AWAY: Final = b"The storage is away: only the runs of this process are listed."
_LIST: Final = 50


class Traces:
    """Handlers over one `Chorus`; each is an ASGI application."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    async def trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the trace of an earlier run (W9), with what was said of its answer."""
        id = scope["path_params"]["id"]
        trace = await self._chorus.past_runs.trace(id)
        if said := await self._chorus.learning.feedback_of(id, trace["workflow"]):
            trace = {**trace, "feedback": [{"key": one.source, **feedback_fields(one)} for one in said]}
        await send_json(send, trace)

    async def traces(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the newest traces that the query wants, newest first. Raises InvalidRequest."""
        query = QueryParams(scope["query_string"])
        headers: list[Header] = []
        newest = await self._chorus.past_runs.recent(
            page_limit(query.get("limit"), _LIST, MAX_LISTED),
            partial(headers.append, (b"x-chorus-warning", _AWAY)),
            wanted=_filter(query),
            in_short=_is_true(query.get("summary"), "summary"),
        )
        await send_json(send, {"workflows": newest}, headers=headers)


def _filter(query: QueryParams) -> TraceFilter:
    status = query.get("status")
    if status is not None and status not in TRACE_STATUSES:
        expected = ", ".join(TRACE_STATUSES)
        raise InvalidRequest(f"Invalid value for 'status': expected one of {expected}.", param="status")
    least = _milliseconds(query.get("min_duration_ms"), "min_duration_ms")
    return TraceFilter(status, query.get("workflow"), least, query.get("id") or "")


def _milliseconds(given: str | None, param: str) -> float:
    try:
        number = float(given) if given is not None else 0.0
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise InvalidRequest(f"Invalid value for '{param}': expected a number of milliseconds.", param=param)
    return number


def _is_true(given: str | None, param: str) -> bool:
    if given not in ("true", "false", None):
        raise InvalidRequest(f"Invalid value for '{param}': expected 'true' or 'false'.", param=param)
    return given == "true"
