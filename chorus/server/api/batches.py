"""OpenAI's Batch API (M7): `/v1/batches`.

A batch belongs to the key that made it, which pays for its lines.
"""

from __future__ import annotations

import secrets
import time
from typing import Any, Final

import msgspec
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from chorus.errors import InvalidRequest, NotFound
from chorus.server.api.batch_details import BatchDetails, batch_body
from chorus.server.api.batch_requests import BATCH_ENDPOINTS
from chorus.server.api.batch_runner import BatchRunner
from chorus.server.api.conversations import merged_metadata
from chorus.server.api.files import KEEP_SECS
from chorus.server.api.paging import expiry_secs, page_body, page_limit
from chorus.server.http.auth import owner_of, user_of
from chorus.server.http.reading import read
from chorus.server.http.routes import Route
from chorus.server.http.wire import read_body, send_json
from chorus.storage.base import Storage
from chorus.storage.records import DAY_SECS, NO_BATCH, NO_FILE, Batch

_WINDOW_SECS: Final = DAY_SECS
_MAX_PAGE: Final = 100
_DEFAULT_PAGE: Final = 20


class BatchBody(msgspec.Struct):
    """The body of `POST /v1/batches`."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, Any] | None = None
    output_expires_after: dict[str, Any] | None = None


class Batches:
    """The handlers of `/v1/batches`."""

    def __init__(self, storage: Storage, runner: BatchRunner) -> None:
        self._files = storage.files
        self._batches = storage.batches
        self._runner = runner

    def routes(self) -> tuple[Route, ...]:
        """Return the routes of the API, below `/v1/batches`."""
        return (
            Route("", self.batches, "Begin a batch, or list batches", ("GET", "POST"), BatchBody, access="client"),
            Route("/{id}", self.batch, "A batch", access="client"),
            Route("/{id}/cancel", self.cancel, "Cancel a batch", ("POST",), access="client"),
        )

    async def batches(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Begin a batch, or list a page of them."""
        if scope["method"] == "POST":
            raw, _ = await read_body(scope, receive)
            await send_json(send, batch_body(await self._begun(scope, read(raw, BatchBody))))
            return
        query = QueryParams(scope["query_string"])
        page = await self._batches.page(
            owner_of(scope),
            after=query.get("after"),
            limit=page_limit(query.get("limit"), _DEFAULT_PAGE, _MAX_PAGE),
        )
        await send_json(send, page_body([batch_body(batch) for batch in page.batches], has_more=page.has_more))

    async def batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a batch."""
        batch = await self._batches.get(owner_of(scope), scope["path_params"]["id"])
        if batch is None:
            raise NotFound(NO_BATCH)
        await send_json(send, batch_body(batch))

    async def cancel(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask for the end of a batch."""
        owner, id = owner_of(scope), scope["path_params"]["id"]
        batch = await self._batches.request_cancel(owner, id)
        if batch is None:
            raise NotFound(NO_BATCH)
        if not batch.is_open and batch.status != "cancelled":
            raise InvalidRequest(f"Cannot cancel a batch with status '{batch.status}'.")
        self._runner.cancel(owner, id)
        await send_json(send, batch_body(batch))

    async def _begun(self, scope: Scope, fields: BatchBody) -> Batch:
        owner = owner_of(scope)
        if fields.endpoint not in BATCH_ENDPOINTS:
            expected = ", ".join(BATCH_ENDPOINTS)
            raise InvalidRequest(f"Invalid value for 'endpoint': expected one of {expected}.", param="endpoint")
        if fields.completion_window != "24h":
            raise InvalidRequest("Invalid value for 'completion_window': expected '24h'.", param="completion_window")
        metadata = merged_metadata({}, fields.metadata) if fields.metadata is not None else None
        details = BatchDetails(
            fields.endpoint,
            metadata,
            user_of(scope) or "",
            keep_secs=expiry_secs(fields.output_expires_after, "output_expires_after", KEEP_SECS),
        )
        file = await self._files.get(owner, fields.input_file_id)
        if file is None:
            raise NotFound(NO_FILE, param="input_file_id")
        if file.purpose != "batch":
            raise InvalidRequest("The input file of a batch has the purpose 'batch'.", param="input_file_id")
        now = time.time()
        batch = Batch(
            owner=owner,
            id=f"batch_{secrets.token_hex(16)}",
            input_file=file.id,
            output_file=f"file-{secrets.token_hex(12)}",
            error_file=f"file-{secrets.token_hex(12)}",
            created_at=now,
            expires_at=now + _WINDOW_SECS,
            value=msgspec.json.encode(details),
        )
        batch = await self._batches.create(batch)
        self._runner.begin()
        return batch
