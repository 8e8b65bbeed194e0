"""The trace: a journal folded into the `workflow` object (`WorkflowExecutionDetails`, W9)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from chorus.errors import ChorusError
from chorus.events import (
    UNHAPPY,
    Delta,
    Event,
    Path,
    Pick,
    RunFailed,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
    WorkersPicked,
)
from chorus.types import Answer
from chorus.usage import Usage

_MIN_QUEUE_SECS = 0.001
"""A wait that is shown; anything shorter is the writing of the request, not a queue."""


def workflow_details(events: Iterable[Event], *, is_kept: bool = False) -> dict[str, Any]:
    """Return the `workflow` object of the run with these `events`; a run that goes on has the
    status `running`. `is_kept` adds what a response has elsewhere: the run's `answers`, and what
    models reasoned before they answered (`response_reasoning`).

    Times are in milliseconds: `started_ms` since the run began, `first_token_ms` and `duration_ms`
    since the stage did.
    """
    return _Fold(events, is_kept=is_kept).whole()


def picked_fields(event: WorkersPicked) -> dict[str, Any]:
    """Return what a learned route decided as a JSON object."""
    fields: dict[str, Any] = {
        "path": "/".join(event.path),
        "task_type": event.task_type,
        "workers": [{"worker": pick.worker, "picked": pick.is_picked, **_why(pick)} for pick in event.picks],
    }
    return {**fields, "note": event.note} if event.note else fields


def _why(pick: Pick) -> dict[str, Any]:
    """Return why a learned route picked a worker, or did not."""
    return {
        "reason": pick.reason,
        "alpha": round(pick.alpha, 4),
        "beta": round(pick.beta, 4),
        "mean": round(pick.alpha / (pick.alpha + pick.beta), 4),
        "draw": round(pick.draw, 4),
    }


class _Record:
    """A stage: how it began, and how it ended if it has."""

    def __init__(self, started: StageStarted) -> None:
        self.started = started
        self.finished: StageFinished | None = None

    def end(self, now: float) -> float:
        return self.finished.at if self.finished is not None else now


class _Fold:
    def __init__(self, events: Iterable[Event], *, is_kept: bool) -> None:
        self._is_kept = is_kept
        self._stages: dict[Path, _Record] = {}
        self._started: RunStarted | None = None
        self._over: RunFinished | RunFailed | None = None
        self._now = 0.0
        self._picked: list[WorkersPicked] = []
        self._pick_of: dict[tuple[Path, str], Pick] = {}
        """By the path of the workflow, and the name of the worker."""
        for event in events:
            match event:
                case RunStarted():
                    self._started = event
                    continue
                case StageStarted():
                    self._stages[event.path] = _Record(event)
                case StageFinished():
                    self._stages[event.path].finished = event
                case RunFinished() | RunFailed():
                    self._over = event
                case WorkersPicked():
                    self._picked.append(event)
                    self._pick_of.update(((event.path, name), pick) for pick in event.picks for name in pick.members)
                case Delta():
                    pass
            # the run does not wait for its `memorize`
            if self._over is None or event is self._over:
                self._now = event.at
        self._children: dict[Path, list[Path]] = {}
        for path in self._stages:
            self._children.setdefault(path[:-1], []).append(path)

    def whole(self) -> dict[str, Any]:
        """Return the details of the run itself."""
        over, run = self._over, self._started
        name = run.workflow if run is not None else ""
        details = self._flow((), name, 0.0, self._now)
        errors: list[dict[str, Any]] = details["errors"]
        if isinstance(over, RunFailed):
            details["status"] = over.status
            errors.append(_error(over.error))
        elif over is None:
            details["status"] = "running"
        if over is not None:
            details["usage"] = over.usage.as_json()
            details["cost"] = over.usage.cost
        if isinstance(over, RunFinished):
            details["calls"] = over.calls
            details["first_token_ms"] = _ms(over.first_token_at) if over.first_token_at is not None else None
            if self._is_kept:
                details["answers"] = [_answer(answer) for answer in over.answers]
        if run is not None and run.side is not None:
            details["side_request"] = run.side
        if run is not None and run.relay is not None:
            details["relay"] = run.relay
        if self._picked:
            details["routes"] = [picked_fields(picked) for picked in self._picked]
        notes = list(run.notes) if run is not None else []
        memorize = self._stages.get(("memorize",))
        if memorize is not None and memorize.finished is not None and memorize.finished.fault is not None:
            notes.append(f"The exchange was not noted: {memorize.finished.fault.message}")
        if notes:
            details["notes"] = notes
        for name in ("recall", "memorize"):
            if (stage := self._stage((name,))) is not None:
                details[name] = stage
        return details

    def _flow(self, path: Path, name: str, began: float, ended: float) -> dict[str, Any]:
        """Return the details of the workflow at `path`: the run, or a worker that is a workflow."""
        inner = self._children.get(path, [])
        workers = [p for p in inner if self._stages[p].started.stage == "worker"]
        workers.sort(key=lambda p: self._stages[p].started.index)
        run = self._started
        errors: list[dict[str, Any]] = []
        details: dict[str, Any] = {
            "workflow_id": run.workflow_id if run is not None else None,
            "request_id": run.request_id if run is not None else None,
            "workflow": name,
            "status": "ok",
            "started_at": _rfc3339((run.started_at if run is not None else 0.0) + began),
            "duration_ms": _ms(ended - began),
            "critical_path_ms": _ms(self._critical(path)),
            "analyzer": self._stage((*path, "analyzer")),
            "workers": [self._stage(worker) for worker in workers],
            "selector": self._stage((*path, "selector")),
            "synthesizer": self._stage((*path, "synthesizer")),
            "shortcuts": self._shortcuts(path),
            "usage": (total := self._usage(path)).as_json(),
            "cost": total.cost,
            "errors": errors,
        }
        for below, record in self._stages.items():
            finished = record.finished
            if record.started.stage == "memorize":  # it came after the answer
                continue
            if below[: len(path)] == path and finished is not None and finished.status in UNHAPPY:
                details["status"] = "degraded"
                if finished.fault is not None:
                    where = {"stage": record.started.stage, "name": record.started.name, "path": "/".join(below)}
                    errors.append({**where, "code": finished.fault.code, "message": finished.fault.message})
        return details

    def _shortcuts(self, path: Path) -> list[dict[str, Any]]:
        """Return the shortcuts taken at and below `path`."""
        taken = self._over.shortcuts if isinstance(self._over, RunFinished) else ()
        return [
            {"name": shortcut.name, "path": "/".join(shortcut.path), "saved_calls": shortcut.saved_calls}
            for shortcut in taken
            if shortcut.path[: len(path)] == path
        ]

    def _stage(self, path: Path) -> dict[str, Any] | None:
        """Return one stage as the trace shows it; None where there was none."""
        record = self._stages.get(path)
        if record is None:
            return None
        started, finished = record.started, record.finished
        end = record.end(self._now)
        shown: dict[str, Any] = {
            "name": started.name,
            "model": started.model,
            "instance_id": finished.instance_id if finished is not None else None,
            "status": finished.status if finished is not None else "running",
            "started_ms": _ms(started.at),
            "first_token_ms": None,
            "duration_ms": _ms(end - started.at),
            "attempts": len(finished.attempts) if finished is not None else 0,
            "temperature": started.temperature,
            "temperature_source": started.temperature_source,
            "usage": None,
            "error": None,
        }
        if started.layer > 1:
            shown["layer"] = started.layer
        if started.is_hedge:
            shown["hedge"] = True
        if self._pick_of and (pick := self._pick_of.get((path[:-1], started.name))) is not None:
            shown["picked"] = _why(pick)
        if finished is None:
            return shown
        if len(finished.attempts) > 1:
            shown["instances"] = list(finished.attempts)
        if finished.queue_secs >= _MIN_QUEUE_SECS:
            shown["queue_ms"] = _ms(finished.queue_secs)
        if finished.first_token_at is not None:
            shown["first_token_ms"] = _ms(finished.first_token_at - started.at)
        if finished.usage is not None:
            shown["usage"] = finished.usage.as_json()
            if finished.usage.cost is not None:
                shown["cost"] = finished.usage.cost
        if self._is_kept and finished.answer is not None and finished.answer.reasoning:
            shown["response_reasoning"] = finished.answer.reasoning
        if finished.fault is not None:
            shown["error"] = {"code": finished.fault.code, "message": finished.fault.message}
        if started.stage == "worker":
            answer = finished.answer
            shown["response"] = answer.text if answer is not None else None
            if answer is not None and answer.tool_calls:
                shown["tool_calls"] = _tool_calls(answer)
            if path in self._children:
                shown["nested"] = self._flow(path, started.name, started.at, end)
        elif path in self._children:
            shown["passes"] = [self._stage(below) for below in self._children[path]]
            shown["usage"] = self._usage(path).as_json()
        shown.update(finished.details)
        return shown

    def _usage(self, path: Path) -> Usage:
        """Return the usage of every call at and below `path`."""
        total = Usage()
        for below, record in self._stages.items():
            if below[: len(path)] == path and record.finished is not None and record.finished.usage is not None:
                total += record.finished.usage
        return total

    def _critical(self, path: Path) -> float:
        """Seconds on the longest chain of stages that waited for each other: what the run would
        have taken had Chorus itself taken no time.

        Backwards from the end: each stage waits for the last one before it that had ended when it
        began. Workers of a layer do not wait for each other, except a hedge.
        """
        spans = [
            (record.started, record.end(self._now), self._critical(p) if p in self._children else None)
            for p, record in ((p, self._stages[p]) for p in self._children.get(path, []))
            if record.started.stage != "memorize"
        ]
        total, horizon = 0.0, self._now + 1.0
        while before := [span for span in spans if span[1] <= horizon]:
            last = max(before, key=lambda span: (span[1], -span[0].at))
            stage, ended, nested = last
            total += nested if nested is not None else ended - stage.at
            spans = [span for span in before if span is not last and not _are_parallel(span[0], stage)]
            horizon = stage.at
        return total


def _are_parallel(earlier: StageStarted, stage: StageStarted) -> bool:
    """Return whether `stage` cannot have waited for `earlier`."""
    are_workers = earlier.stage == stage.stage == "worker"
    return are_workers and earlier.layer == stage.layer and not stage.is_hedge


def _ms(seconds: float) -> float:
    return round(max(seconds, 0.0) * 1000, 3)


def _answer(answer: Answer) -> dict[str, Any]:
    fields: dict[str, Any] = {"text": answer.text, "finish_reason": answer.finish_reason}
    if answer.reasoning:
        fields["reasoning"] = answer.reasoning
    if answer.tool_calls:
        fields["tool_calls"] = _tool_calls(answer)
    return fields


def _tool_calls(answer: Answer) -> list[dict[str, Any]]:
    return [{"id": call.id, "name": call.name, "arguments": call.arguments} for call in answer.tool_calls]


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _error(error: ChorusError) -> dict[str, Any]:
    return {"stage": "run", "name": "", "path": "", "code": error.code, "message": error.message}
