"""Traces in short, for lists: without texts and single stages; and the filter of such a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import msgspec

TraceStatus = Literal["ok", "degraded", "failed", "cancelled"]
TRACE_STATUSES: Final[tuple[TraceStatus, ...]] = get_args(TraceStatus)


class WorkerSummary(msgspec.Struct, frozen=True):
    """A worker: what it is called, and how it ended."""

    name: str
    status: str
    model: str | None = None


class SelectorSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """The selector; `selected_worker` is None where it did not choose."""

    name: str
    status: str
    model: str | None = None
    selected_worker: str | None = None


class TraceSummary(msgspec.Struct, frozen=True):
    """The fields of a trace that a list shows. Traces of earlier versions lack some of them."""

    workflow_id: str
    workflow: str
    status: str
    started_at: str
    duration_ms: float
    critical_path_ms: float
    workers: list[WorkerSummary]
    selector: SelectorSummary | None
    shortcuts: list[dict[str, Any]]
    usage: dict[str, Any]
    cost: float | None
    errors: list[dict[str, Any]]
    request_id: str | None = None
    first_token_ms: float | None = None
    calls: int | None = None


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """Which traces are listed: those that meet every condition.

    `workflow` is the name of a workflow or of a model, `id` a part of the trace's id.
    """

    status: TraceStatus | None = None
    workflow: str | None = None
    min_duration_ms: float = 0.0
    id: str = ""

    @property
    def is_empty(self) -> bool:
        """Whether every trace is wanted."""
        return self == TraceFilter()

    def wants(self, trace: TraceSummary) -> bool:
        """Return whether `trace` meets every condition."""
        return (
            (self.status is None or trace.status == self.status)
            and (self.workflow is None or trace.workflow == self.workflow)
            and trace.duration_ms >= self.min_duration_ms
            and self.id in trace.workflow_id
        )


def trace_summary(trace: Mapping[str, Any] | bytes) -> TraceSummary:
    """Return the summary of a trace, or of its JSON text.

    Raises msgspec.ValidationError where it is no trace.
    """
    return _decoder.decode(trace) if isinstance(trace, bytes) else msgspec.convert(trace, TraceSummary)


_decoder: Final = msgspec.json.Decoder(TraceSummary)
