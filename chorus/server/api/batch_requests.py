"""One request of a batch: its endpoint's handler answers it at `batch` priority (M7)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog
from starlette.types import ASGIApp, Message, Scope

from chorus import wirejson
from chorus.auth.keys import KeyRing
from chorus.auth.principal import LOCAL, Principal
from chorus.cancellation import CancelSignal
from chorus.errors import InvalidKey
from chorus.server.http.context import RequestContext, attach
from chorus.server.http.errors import as_chorus_error, error_body, error_headers
from chorus.server.http.wire import DISCONNECT

BATCH_ENDPOINTS: Final = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/completions")

_log = structlog.get_logger("chorus.server")


class BatchAnswer(msgspec.Struct, frozen=True):
    """What a handler answered.

    `code` is that of an error, "" without one; `retry_after` in seconds.
    """

    status: int
    body: bytes
    request_id: str
    code: str = ""
    retry_after: float | None = None


class BatchRequests:
    """Asks the handlers of the endpoints that batches may have."""

    def __init__(self, handlers: Mapping[str, ASGIApp], ring: KeyRing | None, max_body_bytes: int) -> None:
        """Use the ASGI applications `handlers`, by path.

        With a `ring` each request needs a key on it.
        """
        self._handlers = handlers
        self._ring = ring
        self._max_body_bytes = max_body_bytes

    async def ask(self, endpoint: str, body: bytes, owner: str, user: str) -> BatchAnswer:
        """Return the answer to `body`, which is charged to the key of `owner`. Raises nothing but
        a cancellation."""
        unique = os.urandom(12).hex()
        headers = {b"x-priority": b"batch"}
        if user:
            headers[b"x-user-id"] = user.encode()
        context = RequestContext(f"req_{unique}", unique, self._max_body_bytes, headers, route=endpoint)
        answer = _Answer()
        began = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=context.request_id):
            try:
                context.principal = self._principal(endpoint, owner, user)
                await self._handlers[endpoint](_scope(endpoint, context), _Body(body).receive, answer.send)
            except Exception as problem:
                error = as_chorus_error(problem)
                context.run.setdefault("error", error.code)
                answer.fail(error.status, wirejson.encode(error_body(error, "openai", context.request_id)))
                answer.headers = dict(error_headers(error))
            secs = time.perf_counter() - began
            _log.info(
                "batch request", path=endpoint, status=answer.status, duration_ms=round(secs * 1000, 1), **context.run
            )
        return answer.read(context.request_id)

    def _principal(self, endpoint: str, owner: str, user: str) -> Principal:
        """Return the principal of the request.

        Raises InvalidKey where the key of `owner` is good no more.
        """
        if self._ring is not None:
            return Principal(endpoint, self._ring.by_id(owner), user)
        if owner != LOCAL:
            raise InvalidKey("The key of this batch is not known here (any more).")
        return Principal(endpoint, user=user)


class _Body:
    """The body of a request, received in one piece."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def receive(self) -> Message:
        body, self._body = self._body, b""
        return {"type": "http.request", "body": body, "more_body": False}


class _Answer:
    """An answer as it is sent."""

    def __init__(self) -> None:
        self.status = 500
        self.headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])
        else:
            self._parts.append(message.get("body", b""))

    def fail(self, status: int, body: bytes) -> None:
        self.status = status
        self._parts = [body]

    def read(self, request_id: str) -> BatchAnswer:
        body = b"".join(self._parts)
        code, retry_after = "", self.headers.get(b"retry-after", b"")
        if self.status >= 400:
            error = wirejson.decode(body).get("error")
            code = str(error.get("code")) if isinstance(error, dict) else ""
        secs = float(retry_after) if retry_after.isdigit() else None
        return BatchAnswer(self.status, body, request_id, code, secs)


def _scope(path: str, context: RequestContext) -> Scope:
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(context.headers.items()),
        "extensions": {DISCONNECT: CancelSignal()},
    }
    attach(scope, context)
    return scope
