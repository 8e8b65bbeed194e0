"""`/api/v1/runs`: the runs of this process, live and ended, followed and cancelled (O4).

A follower reads the journal of the run at its own pace: nothing is queued for it, and it holds back
neither the run nor another reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import anyio
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from chorus.cancellation import run_until
from chorus.errors import ClientGone, InvalidRequest, Stopping
from chorus.live_runs import LiveRun
from chorus.server.api.paging import page_limit
from chorus.server.dialects.native.events import NativeEncoder
from chorus.server.http.auth import principal_of
from chorus.server.http.context import header, request_context
from chorus.server.http.framing import SSE
from chorus.server.http.respond import StreamResponse
from chorus.server.http.routes import Route
from chorus.server.http.wire import Header, body_writer_of, disconnect_of, send_json
from chorus.service import Chorus

_LIST: Final = 50
_LONGEST_LIST: Final = 200
_MAX_DIGITS: Final = 12
"""Of the number of an event: more than a journal can hold."""


class LiveRunsApi:
    """Handlers over the live runs of one `Chorus`. An administrator's key sees those of all keys,
    another its own."""

    def __init__(self, chorus: Chorus, heartbeat_secs: float) -> None:
        self._runs = chorus.live_runs
        self._heartbeat_secs = heartbeat_secs

    def routes(self) -> Iterator[Route]:
        """Return the routes, below `/api/v1/runs`."""
        yield Route("", self.list, "Live runs, and the latest that ended", access="client")
        yield Route("/{id}", self.run, "How far a run is", access="client")
        yield Route("/{id}/events", self.events, "The events of a run", media_type="text/event-stream", access="client")
        yield Route("/{id}/cancel", self.cancel, "Stop a run", ("POST",), access="client")

    async def list(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the runs, newest first. Raises InvalidRequest for a wrong `limit`."""
        limit = page_limit(QueryParams(scope["query_string"]).get("limit"), _LIST, _LONGEST_LIST)
        runs = [run_fields(run) for run in self._runs.newest(_seen_by(scope), limit)]
        await send_json(send, {"runs": runs, "reads_traces": _is_admin(scope)})

    async def run(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send how far a run is. Raises NotFound."""
        await send_json(send, run_fields(self._found(scope)))

    async def cancel(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stop a run, and send how it ended; one that is over stays as it is. Raises NotFound."""
        run = self._found(scope)
        await run.cancel()
        await send_json(send, run_fields(run))

    async def events(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events behind `after` or `Last-Event-ID`, whichever is later, as they come. A
        reader that has all of a run that is over gets a 204, which ends an `EventSource`.

        Raises:
            NotFound: the run is unknown, another key's, or too old.
            InvalidRequest: `after` or `Last-Event-ID` is no number.
        """
        run = self._found(scope)
        after = max(
            _number(QueryParams(scope["query_string"]).get("after"), "after"),
            _number(header(scope, b"last-event-id"), "Last-Event-ID"),
        )
        if run.is_over and after >= len(run.journal.events):
            await send({"type": "http.response.start", "status": 204, "headers": [(b"cache-control", b"no-cache")]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        after = min(after, len(run.journal.events))
        encoder = NativeEncoder(request_context(scope).request_id, after)
        headers: list[Header] = [(b"x-chorus-workflow-id", run.id.encode())]
        stream = StreamResponse(send, encoder, SSE(None), lambda: headers, self._heartbeat_secs, body_writer_of(scope))
        try:
            with suppress(ClientGone):
                await run_until(disconnect_of(scope), partial(stream.follow, run.journal, held=False, after=after))
        except anyio.get_cancelled_exc_class():  # the server stops
            with anyio.move_on_after(1, shield=True):
                await stream.fail(Stopping(), run.secs)
            raise

    def _found(self, scope: Scope) -> LiveRun:
        return self._runs.get(_seen_by(scope), scope["path_params"]["id"])


def run_fields(run: LiveRun) -> dict[str, Any]:
    """Return how far a run is, as a JSON object."""
    started = datetime.fromtimestamp(run.started_at, UTC)
    fields: dict[str, Any] = {
        "id": run.id,
        "state": run.state,
        "model": run.model,
        "workflow": run.workflow,
        "route": run.route,
        "owner": run.owner,
        "started_at": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "duration_ms": round(run.secs * 1000, 3),
        "tokens": run.tokens,
        "events": len(run.journal.events),
    }
    if (error := run.error) is not None:
        fields["error"] = {"code": error.code, "message": error.message}
    return fields


def _seen_by(scope: Scope) -> str | None:
    """Return the owner whose runs the caller sees; None for those of everybody."""
    return None if _is_admin(scope) else principal_of(scope).owner


def _is_admin(scope: Scope) -> bool:
    """Return whether the caller may use administrators' routes; without keys everybody may."""
    key = principal_of(scope).key
    return key is None or key.role == "admin"


def _number(given: str | None, param: str) -> int:
    """Return the number of an event; 0 where there is none."""
    if given is None or not given.strip():
        return 0
    text = given.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InvalidRequest(f"Invalid value for '{param}': expected the number of an event.", param=param)
    return int(text)
