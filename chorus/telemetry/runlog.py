"""A run as lines of the log: its stages at debug, its failures at warning, its summary as fields of
the request's line."""

from __future__ import annotations

import logging
from typing import Any

import structlog

from chorus.events import UNHAPPY, Event, RunFailed, RunFinished, RunStarted, StageFinished, StageStarted
from chorus.telemetry.repeats import Repeats

_log = structlog.get_logger("chorus.workflow")


class RunLog:
    """An observer that logs one run. `summary` grows to the fields of the request's own line
    (O1)."""

    def __init__(self, repeats: Repeats) -> None:
        """`repeats` knows which warnings other runs have given."""
        self._repeats = repeats
        self.summary: dict[str, Any] = {}
        self._stages: dict[tuple[str, ...], StageStarted] = {}
        self._attempts = 0

    def __call__(self, event: Event) -> None:
        """Take one event of the run."""
        if type(event) is StageFinished:
            self._stage(event)
        elif type(event) is StageStarted:
            self._stages[event.path] = event
        elif type(event) is RunStarted:
            self.summary["workflow_id"] = event.workflow_id
            self.summary["model"] = event.model
        elif type(event) is RunFinished:
            self.summary["attempts"] = self._attempts
            self.summary["tokens"] = event.usage.total_tokens
            if event.first_token_at is not None:
                self.summary["ttft_ms"] = round(event.first_token_at * 1000, 1)
        elif type(event) is RunFailed:
            self.summary["attempts"] = self._attempts
            self.summary["error"] = event.error.code
            if event.status != "cancelled":
                _log.warning("run failed", **self._ids(), code=event.error.code, reason=event.error.log_message)

    def _stage(self, event: StageFinished) -> None:
        started = self._stages.pop(event.path)
        self._attempts += len(event.attempts)
        if event.instance_id is not None:
            self.summary["instance_id"] = event.instance_id
        for sentence in event.details.get("warnings", ()):
            write = _log.warning if self._repeats.is_news(started.name, sentence) else _log.debug
            write("request changed", **self._ids(), worker=started.name, reason=sentence)
        unhappy = event.status in UNHAPPY
        if not unhappy and not _log.is_enabled_for(logging.DEBUG):
            return
        write = _log.warning if unhappy else _log.debug
        fields: dict[str, Any] = {
            "stage": started.stage,
            "worker": started.name,
            "path": "/".join(event.path),
            "stage_model": started.model,
            "instance_id": event.instance_id,
            "attempts": len(event.attempts),
            "status": event.status,
            "duration_ms": round((event.at - started.at) * 1000, 1),
        }
        if event.fault is not None:
            fields["code"] = event.fault.code
        if event.answer is not None:
            fields["answer"] = event.answer.text
        write("stage", **self._ids(), **fields)

    def _ids(self) -> dict[str, Any]:
        return {"workflow_id": self.summary.get("workflow_id"), "model": self.summary.get("model")}
