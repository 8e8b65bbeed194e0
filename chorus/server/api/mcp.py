"""`/mcp`: Chorus as tools of the Model Context Protocol, over streamable HTTP (M5).

Requests are self-contained, so that any process answers any of them. The SDK is imported by the
first one, since that takes two seconds and 60 MB.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import Final

import anyio
import anyio.to_thread
import msgspec
from anyio.abc import TaskGroup, TaskStatus
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chorus import wirejson
from chorus.cancellation import CancelSignal
from chorus.errors import NotSupported, Stopping
from chorus.mcp.tool import Call
from chorus.mcp.toolbox import Toolbox, error_text
from chorus.server.http.auth import owner_of, principal_of, user_of
from chorus.server.http.context import header, request_context
from chorus.server.http.memory_choice import refuses_memory
from chorus.server.http.routes import Route
from chorus.server.http.wire import Header, disconnect_of, read_bytes, send_json
from chorus.service import Chorus
from chorus.telemetry.runlog import RunLog

MCP_PATH: Final = "/mcp"
MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""Longer bodies are refused: the SDK reads them on the event loop, 10 ms for each MiB."""
_CALL: Final = "chorus.mcp.call"
"""The key of the ASGI scope."""
_PARSE_ERROR: Final = -32700
_INVALID_REQUEST: Final = -32600
_INTERNAL_ERROR: Final = -32603
_INSTALL: Final = "This server has no MCP: it needs `pip install 'chorus-llm[mcp]'`."

_Key = tuple[str, str, str | int]
"""Whose call it is: the owner, the session and the id of the request."""


class _Params(msgspec.Struct):
    requestId: str | int | None = None


class _Message(msgspec.Struct):
    """What is read of a message here; the SDK judges the rest."""

    method: str = ""
    id: str | int | None = None
    params: _Params | None = None


class McpEndpoint:
    """The handler over one `Chorus`. Open it while the server runs."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus
        self._toolbox = Toolbox(chorus)
        self._group: TaskGroup | None = None
        self._app: ASGIApp | None = None
        self._lock = anyio.Lock()
        self._running: dict[_Key, CancelSignal] = {}

    def route(self) -> Route:
        """Return the route. Without sessions there is nothing to GET or to DELETE."""
        return Route(MCP_PATH, self, "Tools for clients of MCP", ("POST",), access="client", has_own_errors=True)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Answer requests while the block lasts."""
        async with anyio.create_task_group() as self._group:
            try:
                yield
            finally:
                self._app = None
                self._group.cancel_scope.cancel()
                self._group = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one message.

        Raises:
            BodyTooLarge: it is longer than MAX_BODY_BYTES.
            NotSupported: the SDK is not installed.
        """
        context = request_context(scope)
        context.max_body_bytes = min(context.max_body_bytes, MAX_BODY_BYTES)
        raw = await read_bytes(scope, receive)
        try:
            message = msgspec.convert(wirejson.decode(raw), _Message)
        except msgspec.ValidationError as problem:
            await _refuse(send, _INVALID_REQUEST, f"The body is no message of MCP: {str(problem)[:200]}.")
            return
        except ValueError as problem:
            await _refuse(send, _PARSE_ERROR, f"The body is not valid JSON: {problem}.")
            return
        app = await self._started()
        if message.method == "initialize":
            send = _with_header(send, (b"mcp-session-id", os.urandom(16).hex().encode()))
        elif message.method == "notifications/cancelled" and message.params is not None:
            self._cancel(self._key(scope, message.params.requestId))
        left = CancelSignal()
        disconnect = disconnect_of(scope)
        key = self._key(scope, message.id)
        if key is not None:
            self._running[key] = left
        disconnect.subscribe(left.set)
        scope[_CALL] = self._call(scope, left)
        try:
            await app(scope, _replayed(raw, receive), send)
        except anyio.get_cancelled_exc_class():
            with anyio.move_on_after(1, shield=True):
                await _say_stopping(scope, send, message.id)
            raise
        finally:
            disconnect.unsubscribe(left.set)
            if key is not None and self._running.get(key) is left:
                del self._running[key]

    def _key(self, scope: Scope, id: str | int | None) -> _Key | None:
        """Return whose call this is.

        None for a client without a session, whose ids are everybody's.
        """
        session = header(scope, b"mcp-session-id")
        return (owner_of(scope), session, id) if session is not None and id is not None else None

    def _cancel(self, key: _Key | None) -> None:
        """Stop a call of a client of the handshake protocol.

        Such a client does not close its connection to stop one. A call that another process answers
        goes on.
        """
        signal = self._running.get(key) if key is not None else None
        if signal is not None:
            signal.set()

    def _call(self, scope: Scope, left: CancelSignal) -> Call:
        context = request_context(scope)
        log = RunLog(self._chorus.repeats)
        context.run = log.summary
        return Call(
            principal_of(scope),
            user_of(scope) or "",
            context.request_id,
            context.unique,
            recalls=not refuses_memory(scope),
            left=left,
            observers=(log,),
        )

    async def _started(self) -> ASGIApp:
        """Return the application of the SDK; the first request imports it."""
        async with self._lock:
            if self._app is None:
                assert self._group is not None, "the server has not been started"
                self._app = await self._group.start(self._serve)
        return self._app

    async def _serve(self, *, task_status: TaskStatus[ASGIApp]) -> None:
        try:
            sdk = await anyio.to_thread.run_sync(import_module, "chorus.mcp.sdk")
        except ModuleNotFoundError:
            raise NotSupported(_INSTALL) from None
        async with sdk.http_app(self._toolbox, _call_of, MAX_BODY_BYTES) as app:
            task_status.started(app)
            await anyio.sleep_forever()


def _call_of(scope: Scope) -> Call:
    call: Call = scope[_CALL]
    return call


async def _say_stopping(scope: Scope, send: Send, id: str | int | None) -> None:
    """End an answer that the server cuts off: before its status line, or as the last event."""
    context = request_context(scope)
    error = Stopping()
    context.run["error"] = error.code
    text = error_text(error, context.request_id)
    reply = {"jsonrpc": "2.0", "id": id, "error": {"code": _INTERNAL_ERROR, "message": text}}
    if not context.has_started:
        await send_json(send, reply, error.status)
        return
    event = b"event: message\r\ndata: " + wirejson.encode(reply) + b"\r\n\r\n"
    await send({"type": "http.response.body", "body": event, "more_body": False})


async def _refuse(send: Send, code: int, sentence: str) -> None:
    error = {"code": code, "message": sentence}
    await send_json(send, {"jsonrpc": "2.0", "id": None, "error": error}, 400)


def _replayed(raw: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the whole body at once, and then what comes after it."""
    body: list[Message] = [{"type": "http.request", "body": raw, "more_body": False}]

    async def replayed() -> Message:
        return body.pop() if body else await receive()

    return replayed


def _with_header(send: Send, added: Header) -> Send:
    """Return a `send` that adds a header to the response."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), added]}
        await send(message)

    return sending
