"""The events of a run as JSON: one table of types and fields, which docs/API.md lists.

Times (`at_ms`) are milliseconds since the run started. Fields that have nothing to say are left
out, but for `choice` of a delta, which is null for everything that is no output for the client.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from chorus.events import Delta, Event, RunFailed, RunFinished, RunStarted, StageFinished, StageStarted, WorkersPicked
from chorus.server.http.errors import error_object
from chorus.server.http.frames import Frame
from chorus.telemetry.trace import picked_fields
from chorus.types import Answer, ToolCall

EVENT_TYPES: Final = (
    "run.started",
    "workers.picked",
    "stage.started",
    "delta",
    "stage.finished",
    "run.finished",
    "run.failed",
)
"""The types that there are. New ones may come: a reader leaves out what it does not know."""


class NativeEncoder:
    """Makes one frame of each event. Its id is the number of the event, counted from 1."""

    def __init__(self, request_id: str, after: int = 0) -> None:
        """`after` is the number of the last event that the reader has."""
        self._request_id = request_id
        self._number = after

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        self._number = number = self._number + 1
        fields = event_fields(event, self._request_id)
        kind = fields["type"]
        return (Frame({"type": kind, "sequence_number": number, **fields}, kind, number),)


def event_fields(event: Event, request_id: str) -> dict[str, Any]:
    """Return `event` as a JSON object, `type` first."""
    match event:
        case Delta():
            return _delta(event)
        case RunStarted():
            return _run_started(event)
        case StageStarted():
            return _stage_started(event)
        case StageFinished():
            return _stage_finished(event)
        case WorkersPicked():
            return {"type": "workers.picked", "at_ms": _ms(event.at), **picked_fields(event)}
        case RunFinished():
            return _run_finished(event)
        case RunFailed():
            return {
                "type": "run.failed",
                "at_ms": _ms(event.at),
                "status": event.status,
                "error": error_object(event.error, request_id),
                "usage": event.usage.as_json(),
                "cost": event.usage.cost,
            }


def answer_fields(answer: Answer) -> dict[str, Any]:
    """Return an answer of a model as a JSON object."""
    fields: dict[str, Any] = {"text": answer.text, "finish_reason": answer.finish_reason}
    if answer.reasoning:
        fields["reasoning"] = answer.reasoning
    if answer.tool_calls:
        fields["tool_calls"] = [_call(call) for call in answer.tool_calls]
    if answer.logprobs is not None:
        fields["logprobs"] = answer.logprobs
    return fields


def _run_started(event: RunStarted) -> dict[str, Any]:
    started = datetime.fromtimestamp(event.started_at, UTC)
    fields: dict[str, Any] = {
        "type": "run.started",
        "run_id": event.workflow_id,
        "request_id": event.request_id,
        "model": event.model,
        "workflow": event.workflow,
        "started_at": started.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "choices": event.choices,
    }
    if event.side is not None:
        fields["side_request"] = event.side
    if event.relay is not None:
        fields["relay"] = event.relay
    if event.notes:
        fields["notes"] = list(event.notes)
    return fields


def _stage_started(event: StageStarted) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "type": "stage.started",
        "path": "/".join(event.path),
        "at_ms": _ms(event.at),
        "stage": event.stage,
        "name": event.name,
        "model": event.model,
        "index": event.index,
        "layer": event.layer,
        "choice": event.choice,
        "is_group": event.is_group,
        "is_hedge": event.is_hedge,
    }
    if event.temperature is not None:
        fields["temperature"] = event.temperature
        fields["temperature_source"] = event.temperature_source
    return fields


def _delta(event: Delta) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "type": "delta",
        "path": "/".join(event.path),
        "at_ms": _ms(event.at),
        "choice": event.choice,
    }
    if event.text:
        fields["text"] = event.text
    if event.reasoning:
        fields["reasoning"] = event.reasoning
    if event.tool_calls:
        pieces = event.tool_calls
        fields["tool_calls"] = [
            {"index": piece.index, "id": piece.id, "name": piece.name, "arguments": piece.arguments} for piece in pieces
        ]
    if event.logprobs is not None:
        fields["logprobs"] = event.logprobs
    return fields


def _stage_finished(event: StageFinished) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "type": "stage.finished",
        "path": "/".join(event.path),
        "at_ms": _ms(event.at),
        "status": event.status,
        "attempts": list(event.attempts),
        "queue_ms": _ms(event.queue_secs),
    }
    if event.first_token_at is not None:
        fields["first_token_at_ms"] = _ms(event.first_token_at)
    if event.answer is not None:
        fields["answer"] = answer_fields(event.answer)
    if event.usage is not None:
        fields["usage"] = event.usage.as_json()
        fields["cost"] = event.usage.cost
    if event.fault is not None:
        fields["error"] = {"code": event.fault.code, "message": event.fault.message}
    if event.details:
        fields["details"] = dict(event.details)
    return fields


def _run_finished(event: RunFinished) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "type": "run.finished",
        "at_ms": _ms(event.at),
        "answers": [answer_fields(answer) for answer in event.answers],
        "usage": event.usage.as_json(),
        "cost": event.usage.cost,
        "calls": event.calls,
        "shortcuts": [
            {"name": shortcut.name, "path": "/".join(shortcut.path), "saved_calls": shortcut.saved_calls}
            for shortcut in event.shortcuts
        ],
    }
    if event.first_token_at is not None:
        fields["first_token_at_ms"] = _ms(event.first_token_at)
    return fields


def _call(call: ToolCall) -> dict[str, str]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


def _ms(secs: float) -> float:
    return round(max(secs, 0.0) * 1000, 3)
