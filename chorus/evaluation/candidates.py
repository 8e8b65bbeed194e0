"""The candidates in the trace of a workflow's run: those that the judges saw, and the chosen one.
Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chorus.evaluation.dataset import Question
from chorus.evaluation.grading import is_right
from chorus.evaluation.results import WorkerAnswer


def read(question: Question, trace: Mapping[str, Any]) -> tuple[tuple[WorkerAnswer, ...], int | None]:
    """Return the candidates of a workflow, graded like its answer, and the place of the selected
    one.

    The place is None where nothing selects. There are no candidates where one model answered alone.
    """
    if any(shortcut["name"] == "direct" and not shortcut["path"] for shortcut in trace["shortcuts"]):
        return (), None
    answered = [worker for worker in trace["workers"] if worker["status"] == "ok" and worker["response"]]
    last = max(map(_layer, answered), default=1)
    final = [worker for worker in answered if _layer(worker) == last]
    graded = []
    for worker in final:
        right = is_right(question, worker["response"])
        graded.append(WorkerAnswer(worker["name"], worker["response"], None if right is None else float(right)))
    chosen = (trace["selector"] or {}).get("selected_worker")
    names = [candidate.name for candidate in graded]
    return tuple(graded), names.index(chosen) if chosen in names else None


def selector_status(trace: Mapping[str, Any]) -> str:
    """Return the status of the selector's stage: `skipped` after a shortcut, empty without a
    selector."""
    selector = trace["selector"]
    return str(selector["status"]) if selector is not None else ""


def calls(trace: Mapping[str, Any]) -> int:
    """Return how many upstream calls a run made, those of its nested workflows included."""
    own = [trace[name] for name in ("analyzer", "selector", "synthesizer") if trace[name] is not None]
    own += [one for stage in own for one in stage.get("passes", ())] + trace["workers"]
    nested = [calls(worker["nested"]) for worker in trace["workers"] if "nested" in worker]
    attempts: list[int] = [stage["attempts"] for stage in own]
    return sum(attempts) + sum(nested)


def _layer(worker: Mapping[str, Any]) -> int:
    """Return the layer of a worker; the trace names it from the second one on."""
    return int(worker.get("layer", 1))
