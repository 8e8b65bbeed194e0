"""What the trace of a workflow's run says about its candidates: which the judges saw, and which was chosen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chorus.evaluation.dataset import Question
from chorus.evaluation.grading import is_right
from chorus.evaluation.results import WorkerAnswer


def read(question: Question, trace: Mapping[str, Any]) -> tuple[tuple[WorkerAnswer, ...], int | None]:
    """The candidates of a workflow, graded like its answer, and the place of the one that was selected, None where nobody
    selects. There are none where one model answered alone: nobody stood beside it.
    """
    if any(each["name"] == "direct" and not each["path"] for each in trace["shortcuts"]):
        return (), None
    answered = [each for each in trace["workers"] if each["status"] == "ok" and each["response"]]
    last = max(map(_layer, answered), default=1)
    final = [worker for worker in answered if _layer(worker) == last]
    told = []
    for worker in final:
        right = is_right(question, worker["response"])
        told.append(WorkerAnswer(worker["name"], worker["response"], None if right is None else float(right)))
    chosen = (trace["selector"] or {}).get("selected_worker")
    names = [each.name for each in told]
    return tuple(told), names.index(chosen) if chosen in names else None


def selector_status(trace: Mapping[str, Any]) -> str:
    """How the selector's stage ended: `skipped` where a shortcut chose for it; empty where there is none."""
    selector = trace["selector"]
    return str(selector["status"]) if selector is not None else ""


def calls(trace: Mapping[str, Any]) -> int:
    """Upstream calls of a run, with those of its nested workflows."""
    own = [trace[name] for name in ("analyzer", "selector", "synthesizer") if trace[name] is not None]
    own += [each for stage in own for each in stage.get("passes", ())] + trace["workers"]
    nested = [calls(worker["nested"]) for worker in trace["workers"] if "nested" in worker]
    attempts: list[int] = [stage["attempts"] for stage in own]
    return sum(attempts) + sum(nested)


def _layer(worker: Mapping[str, Any]) -> int:
    """The layer of a worker; the trace names it from the second one on."""
    return int(worker.get("layer", 1))
