"""`/api/v1/feedback` and `/api/v1/learning`: scores of answers, and what learned routes know."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from chorus.errors import ForbiddenRoute, InvalidRequest
from chorus.learning import MAX_COMMENT, settings_of
from chorus.server.http.auth import check_model, may_ask, owner_of, principal_of
from chorus.server.http.bodies import RequestBody
from chorus.server.http.routes import Route, posted
from chorus.server.http.wire import send_json
from chorus.service import Chorus
from chorus.storage.records import Credit, Outcome
from chorus.workflow.engine import Plan
from chorus.workflow.learned_route import ANY, NO_COUNTS, Known, Learned, posterior
from chorus.workflow.nodes.route import grouped
from chorus.workflow.plan import Flow

FEEDBACK_PATH: Final = "/api/v1/feedback"
LEARNING_PATH: Final = "/api/v1/learning"


class FeedbackBody(msgspec.Struct):
    """The request body: a score of a run's answer, from 0 (thumb down) to 1 (thumb up)."""

    workflow_id: str
    score: Annotated[float, msgspec.Meta(extra_json_schema={"minimum": 0, "maximum": 1})]
    comment: Annotated[str | None, msgspec.Meta(extra_json_schema={"maxLength": MAX_COMMENT})] = None


class LearningApi:
    """Handlers over one `Chorus`."""

    def __init__(self, chorus: Chorus) -> None:
        self._chorus = chorus

    def routes(self) -> list[Route]:
        """Return the routes."""
        summary = "What is known of the workers of learned routes"
        return [
            posted(FEEDBACK_PATH, FeedbackBody, self.feedback, "A score for an answer", access="client"),
            Route(LEARNING_PATH, self.learning, summary, ("GET", "DELETE"), access="client"),
        ]

    async def feedback(self, scope: Scope, body: RequestBody[FeedbackBody], send: Send) -> None:
        """Keep a feedback in place of the caller's earlier one on the same run, and send it.

        Raises:
            InvalidRequest: the score is out of range, or the comment too long.
            NotFound: the caller has no such run.
            StorageUnavailable: it is another process's run, and the store is away.
        """
        given = body.fields
        if not 0 <= given.score <= 1:
            raise InvalidRequest("Invalid value for 'score': expected a number from 0 to 1.", param="score")
        comment = (given.comment or "").strip()
        if len(comment) > MAX_COMMENT:
            raise InvalidRequest(f"'comment' has at most {MAX_COMMENT} characters.", param="comment")
        learning, run = self._chorus.learning, given.workflow_id
        outcome, is_kept = await learning.give_feedback(owner_of(scope), run, given.score, comment)
        shown = {"workflow_id": run, **feedback_fields(outcome), "stored": is_kept}
        await send_json(send, {**shown, "learned": [_learned(credit) for credit in outcome.credits]})

    async def learning(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the posteriors, or forget them.

        They are those of the workflow that the query names, or of all that the caller may ask for.

        Raises:
            UnknownModel: there is no such workflow.
            ForbiddenRoute: the key that would forget is not an administrator's.
            StorageUnavailable: the store is away.
        """
        name = QueryParams(scope["query_string"]).get("workflow")
        snapshot = self._chorus.snapshot
        if name is not None:
            check_model(scope, name)
            plans = [snapshot.resolve(name)]
        else:
            plans = [plan for plan in snapshot.plans.values() if may_ask(scope, plan.name)]
        if scope["method"] == "DELETE":
            key = principal_of(scope).key
            if key is not None and key.role != "admin":
                raise ForbiddenRoute("This needs an administrator's key.")
            workflow = plans[0].name if name is not None else None
            await self._chorus.learning.reset(workflow)
            await send_json(send, {"workflow": workflow, "reset": True})
            return
        workflows: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        for plan in plans:
            if (settings := settings_of(plan)) is not None:
                workflows.append({"workflow": plan.name, **msgspec.to_builtins(settings)})
                rows += _rows(plan, settings, await self._chorus.learning.counts(plan.name, settings))
        await send_json(send, {"workflows": workflows, "data": rows})


def feedback_fields(outcome: Outcome) -> dict[str, Any]:
    """Return a feedback as the trace shows it."""
    at = datetime.fromtimestamp(outcome.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"score": outcome.score, "comment": outcome.comment, "created_at": at}


def _learned(credit: Credit) -> dict[str, Any]:
    return {"task_type": credit.task_type, "worker": credit.worker, "weight": credit.feedback}


def _rows(plan: Plan, settings: Learned, known: Known) -> Iterator[dict[str, Any]]:
    """Yield what is believed of each worker, for each task type that came up."""
    assert isinstance(plan.root, Flow)
    workers = [worker for worker, _ in grouped(plan.root.workers)]
    for task_type in sorted({task_type for task_type, _ in known} or {ANY}):
        for worker in workers:
            counts = known.get((task_type, worker), NO_COUNTS)
            believed = posterior(counts)
            yield {
                "workflow": plan.name,
                "task_type": task_type,
                "worker": worker,
                "alpha": round(believed.alpha, 4),
                "beta": round(believed.beta, 4),
                "mean": round(believed.mean, 4),
                "feedback": round(counts.feedback, 4),
                "liked": round(counts.liked, 4),
                "verdicts": round(counts.verdicts, 4),
                "won": round(counts.won, 4),
                "tokens_per_answer": round(counts.tokens / counts.answers, 1) if counts.answers > 0 else None,
            }
