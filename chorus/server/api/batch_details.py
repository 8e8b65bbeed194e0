"""What a batch is on the wire, and what its process keeps of it in its record (M7)."""

from __future__ import annotations

import time
from typing import Any, Final, Literal

import msgspec

from chorus.server.api.batch_lines import LineProblem
from chorus.server.api.files import KEEP_SECS
from chorus.storage.records import Batch, BatchStatus
from chorus.wirejson import JSON

MAX_ERRORS: Final = 100
"""Errors that a batch object lists."""
Moment = Literal["in_progress", "finalizing", "completed", "failed", "expired", "cancelled"]


class BatchDetails(msgspec.Struct):
    """The `value` of a batch's record. `times` are seconds since 1970."""

    endpoint: str
    metadata: dict[str, str] | None = None
    user: str = ""
    """The user that `X-User-ID` named."""
    model: str = ""
    keep_secs: float = KEEP_SECS
    times: dict[Moment, int] = {}
    errors: list[dict[str, Any]] = []

    def add_error(self, problem: LineProblem, number: int | None = None) -> None:
        """Let the batch object list what is wrong with the file, or with line `number` of it."""
        if len(self.errors) < MAX_ERRORS:
            line = number + 1 if number is not None else None
            self.errors.append({"code": problem.code, "line": line, "message": problem.message, "param": problem.param})

    def reach(self, moment: Moment) -> None:
        """Note that the batch has come to `moment` now, where it has not before."""
        self.times.setdefault(moment, int(time.time()))


def details_of(batch: Batch) -> BatchDetails:
    """Return the details in the record of `batch`."""
    return msgspec.json.decode(batch.value, type=BatchDetails)


def changed(batch: Batch, details: BatchDetails, status: BatchStatus, total: int | None = None) -> Batch:
    """Return the record with other details and another status."""
    lines = batch.total if total is None else total
    return msgspec.structs.replace(batch, status=status, total=lines, value=msgspec.json.encode(details))


def batch_body(batch: Batch) -> dict[str, JSON]:
    """Return the batch object."""
    details = details_of(batch)
    is_over = not batch.is_open
    errors = {"object": "list", "data": details.errors} if details.errors else None
    times = {f"{moment}_at": details.times.get(moment) for moment in Moment.__args__}  # type: ignore[attr-defined]
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": details.endpoint,
        "model": details.model or None,
        "errors": errors,
        "input_file_id": batch.input_file,
        "completion_window": "24h",
        "status": "cancelling" if batch.cancelling_at and not is_over else batch.status,
        "output_file_id": batch.output_file if is_over and batch.completed else None,
        "error_file_id": batch.error_file if is_over and batch.failed else None,
        "created_at": int(batch.created_at),
        "expires_at": int(batch.expires_at),
        "cancelling_at": int(batch.cancelling_at) or None,
        **times,
        "request_counts": {"total": batch.total, "completed": batch.completed, "failed": batch.failed},
        "usage": _usage(batch) if batch.status != "validating" else None,
        "metadata": details.metadata,
    }


def _usage(batch: Batch) -> dict[str, JSON]:
    return {
        "input_tokens": batch.input_tokens,
        "input_tokens_details": {"cached_tokens": batch.cached_tokens},
        "output_tokens": batch.output_tokens,
        "output_tokens_details": {"reasoning_tokens": batch.reasoning_tokens},
        "total_tokens": batch.input_tokens + batch.output_tokens,
    }
