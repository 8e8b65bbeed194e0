"""The routes that are relayed to one model: `/v1/rerank`, `/v1/images/...`, `/v1/audio/...`, ..."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio
import msgspec
from starlette.types import Receive, Scope, Send

from chorus import wirejson
from chorus.cancellation import CancelSignal
from chorus.errors import ChorusError, ClientGone, RunCancelled, Stopping
from chorus.relaying import Relayed, RelayRequest
from chorus.server.api.relay.bodies import ClientBody, StreamedForm, read_relay_body
from chorus.server.http.auth import check_model, principal_of
from chorus.server.http.context import RequestContext, request_context
from chorus.server.http.errors import error_body, error_headers
from chorus.server.http.other_servers import reads_disconnects
from chorus.server.http.priority import priority_of
from chorus.server.http.routes import Route
from chorus.server.http.spool import SpoolRoom
from chorus.server.http.warning import warning_header
from chorus.server.http.wire import Header, disconnect_of, send_json
from chorus.service import Chorus
from chorus.telemetry.runlog import RunLog

_JSON: Final = "application/json"
_STOPPING_SECS: Final = 1.0
_VALUE: Final = re.compile(r"[\x20-\x7e]{1,256}")
"""A header of an upstream that is passed on."""
_EVENT_ENDS: Final = (b"\n\n", b"\r\r", b"\r\n\r\n")


class RelayedBody(msgspec.Struct):
    """A request that is relayed as it is. Of its fields only `model` is read; a form has the same
    fields."""

    model: str


@dataclass(frozen=True, slots=True)
class _Relayed:
    """One endpoint. `path` is what a provider calls it."""

    route: str
    path: str
    summary: str
    media_type: str = "*/*"
    is_text: bool = False
    """Whether a model bills the tokens of what it is sent."""


_ENDPOINTS: Final = (
    _Relayed("/v1/rerank", "/rerank", "Documents in the order in which they answer a query", _JSON, True),
    _Relayed("/v2/rerank", "/rerank", "The same at Cohere's second version", _JSON, True),
    _Relayed("/rerank", "/rerank", "The same without a version", _JSON, True),
    _Relayed("/v1/images/generations", "/images/generations", "Images from a text, whole or streamed"),
    _Relayed("/v1/images/edits", "/images/edits", "Images from images and a text (a form, or JSON)"),
    _Relayed("/v1/images/variations", "/images/variations", "Images from an image (a form)"),
    _Relayed("/v1/audio/transcriptions", "/audio/transcriptions", "The text of a recording (a form)"),
    _Relayed("/v1/audio/translations", "/audio/translations", "The text of a recording in English (a form)"),
    _Relayed("/v1/audio/speech", "/audio/speech", "A text, spoken", is_text=True),
    _Relayed("/v1/moderations", "/moderations", "Whether texts or images are harmful", _JSON, True),
)
_FORMS: Final = frozenset({"/images/edits", "/images/variations", "/audio/transcriptions", "/audio/translations"})
RELAY_PATHS: Final = tuple(endpoint.route for endpoint in _ENDPOINTS)


class RelayEndpoints:
    """Handlers over one `Chorus`."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus
        self._room = SpoolRoom()

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of all."""
        return tuple(
            Route(
                endpoint.route,
                partial(self._answer, endpoint),
                endpoint.summary,
                ("POST",),
                RelayedBody,
                endpoint.media_type,
                "client",
                takes_form=endpoint.path in _FORMS,
            )
            for endpoint in _ENDPOINTS
        )

    async def _answer(self, endpoint: _Relayed, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises ChorusError while nothing has been sent; the edge turns it
        into a response. An answer that breaks off later ends with its connection."""
        body = await read_relay_body(scope, receive, self._room)
        try:
            check_model(scope, body.model)
            await self._relay(endpoint, scope, body, send)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(_STOPPING_SECS, shield=True):
                await _say_stopping(request_context(scope), send)
            raise
        finally:
            await body.aclose()

    async def _relay(self, endpoint: _Relayed, scope: Scope, body: ClientBody, send: Send) -> None:
        context = request_context(scope)
        log = RunLog(self._chorus.repeats)
        context.run = log.summary
        request = RelayRequest(
            model=body.model,
            path=endpoint.path,
            body=body,
            text_tokens=body.text_tokens() if endpoint.is_text else 0,
            request_id=context.request_id,
            unique=context.unique,
            priority=priority_of(scope, None),
            caller=principal_of(scope),
            cancel_signal=_disconnect_of(scope, body),
            observers=(log,),
        )
        is_event_whole = False
        try:
            async with self._chorus.relaying.open(request) as answer:
                await send({"type": "http.response.start", "status": answer.status, "headers": _headers(answer)})
                async for part in answer:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                    is_event_whole = part.endswith(_EVENT_ENDS)
        except ChorusError as error:
            if isinstance(error, ClientGone) and not isinstance(error, RunCancelled):
                raise
            if not context.has_started and "workflow_id" in log.summary:
                await _send_error(context, send, error)
                return
            if not (context.has_started and is_event_whole and _is_stream(answer)):
                raise
            # clients of OpenAI's streams read an error in place of an event
            failed = wirejson.encode(error_body(error, "openai", context.request_id))
            await send({"type": "http.response.body", "body": b"data: %b\n\n" % failed, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _headers(answer: Relayed) -> list[Header]:
    """Return the headers of the answer that describe its body, and the id of its trace."""
    headers: list[Header] = [(b"content-type", _content_type(answer))]
    for name in ("content-length", "content-disposition"):
        if name in answer.headers and _VALUE.fullmatch(answer.headers[name]):
            headers.append((name.encode(), answer.headers[name].encode()))
    if _is_stream(answer):
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    headers.append((b"x-chorus-workflow-id", answer.workflow_id.encode()))
    if answer.notes:
        headers.append((b"x-chorus-warning", warning_header(answer.notes)))
    return headers


def _content_type(answer: Relayed) -> bytes:
    value = answer.headers.get("content-type", "")
    return value.encode() if _VALUE.fullmatch(value) else b"application/octet-stream"


def _is_stream(answer: Relayed) -> bool:
    return answer.headers.get("content-type", "").lower().startswith("text/event-stream")


def _disconnect_of(scope: Scope, body: ClientBody) -> CancelSignal:
    """Return the signal that the client has disconnected. Another server than ours says so where
    the body is read, and is asked when that has come."""
    if not isinstance(body, StreamedForm) or not reads_disconnects(scope):
        return disconnect_of(scope)
    signal = CancelSignal()
    body.when_read = lambda: disconnect_of(scope).subscribe(signal.set)
    return signal


async def _send_error(context: RequestContext, send: Send, error: ChorusError) -> None:
    """Answer for a call that failed before anything was sent, with the id of its trace."""
    headers = [*error_headers(error), (b"x-chorus-workflow-id", str(context.run["workflow_id"]).encode())]
    await send_json(send, error_body(error, context.error_style, context.request_id), error.status, headers)


async def _say_stopping(context: RequestContext, send: Send) -> None:
    """Answer for a server that stops, where nothing has been sent."""
    error: ChorusError = Stopping()
    context.run["error"] = error.code
    if not context.has_started:
        await send_json(send, error_body(error, context.error_style, context.request_id), error.status)
