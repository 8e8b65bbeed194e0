"""Runs that are admitted: a request is charged and has its slot while its plan runs.

Above: `service`. Below: `admission` says when it may begin, `workflow.engine` runs the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from functools import partial
from types import TracebackType

import msgspec

from chorus.accounting.budgets import Budgets
from chorus.admission.admission import Admission, Admitted
from chorus.admission.limiter import MemoryLimiter
from chorus.admission.limits import Limits
from chorus.admission.redis_leases import RedisLeases
from chorus.admission.redis_limiter import RedisLimiter
from chorus.admission.shared_gate import make_gate
from chorus.auth.principal import Principal
from chorus.config import Config
from chorus.errors import ChorusError, UnsupportedFeature
from chorus.journal import Journal
from chorus.live_runs import LiveRun
from chorus.llm.counts import prompt_estimate
from chorus.tasks import ServerTasks
from chorus.telemetry.metrics import Metrics
from chorus.types import ChatRequest
from chorus.workflow.engine import Job, Plan
from chorus.workflow.plan import Leaf


class AdmittedRun(AbstractAsyncContextManager[Journal]):
    """A run that has been admitted. It waits for its slot as a run that has begun: its client gets
    heartbeats, a background response its id, and a client that disconnects leaves the queue. A
    class for its speed (see `taught.Taught`)."""

    __slots__ = ("_admitted", "_job", "_live", "_run", "_start")

    def __init__(
        self,
        admitted: Admitted,
        job: Job,
        start: Callable[[Job], AbstractAsyncContextManager[Journal]],
        live: LiveRun,
    ) -> None:
        """`start` returns the block of a run of `job`; `live` is its entry among the live runs."""
        self._live = live
        self._admitted = admitted
        self._job = job
        self._start = start

    async def __aenter__(self) -> Journal:
        try:
            admitted = await self._admitted.__aenter__()
        except ChorusError as error:
            self._live.refuse(error.code)
            raise
        try:
            job = self._job
            if admitted.must_wait:
                job = msgspec.structs.replace(job, turn=admitted.wait)
            if admitted.notes:
                job = msgspec.structs.replace(job, notes=(*job.notes, *admitted.notes))
            self._live.watch_client()
            self._run = self._start(job)
            journal = await self._run.__aenter__()
        except BaseException:
            self._live.leave()
            await admitted.__aexit__(None, None, None)
            raise
        if admitted.bill is not None:
            journal.observe(admitted.bill.watch)
        return journal

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        try:
            return await self._run.__aexit__(kind, error, trace)
        finally:
            self._live.leave()
            await self._admitted.__aexit__(kind, error, trace)


def make_leases(config: Config, tasks: ServerTasks) -> RedisLeases | None:
    """Return the slots that processes share; None where each counts its own."""
    url = config.storage.redis
    return RedisLeases(url, tasks) if url is not None and config.limits.shared_concurrency else None


def make_admission(config: Config, metrics: Metrics, budgets: Budgets, leases: RedisLeases | None) -> Admission:
    """Return the admission that `[server]`, `[limits]` and `[storage]` describe."""
    server, url = config.server, config.storage.redis
    limiter = RedisLimiter(url) if url is not None else MemoryLimiter()
    gate = make_gate("The server is busy", server, leases, "server", partial(metrics.waited, ""))
    return Admission(limiter, gate, metrics.rate_limited, budgets.check, leases.aclose if leases else None)


def admit_beside(
    admission: Admission, caller: Principal | None, limits: Limits, model: str, request: ChatRequest
) -> Admitted:
    """Return the block of a call of `model` beside the runs, charged to `caller`.

    It takes no slot of the server.
    """
    payer = copy(caller)  # what it has left stands in the headers of the run's own answer
    return admission.charge(payer, limits, model, {model: 1}, partial(most_tokens, (request,)))


def check_prompts(plan: Plan, requests: Sequence[ChatRequest]) -> None:
    """Raises UnsupportedFeature for a prompt of token numbers to a workflow."""
    if not isinstance(plan.root, Leaf) and any(isinstance(request.prompt, tuple) for request in requests):
        raise UnsupportedFeature(
            f"'{plan.name}' is a workflow, which needs the text of a prompt; token numbers go to a single model.",
            param="prompt",
        )


def most_calls(calls: Mapping[str, int], requests: Sequence[ChatRequest]) -> Mapping[str, int]:
    """Return how often `requests` call each model, where one of them makes these `calls`."""
    return calls if len(requests) == 1 else {name: number * len(requests) for name, number in calls.items()}


def most_tokens(requests: Sequence[ChatRequest], recalled: int = 0) -> int:
    """Return how many tokens a call that answers one of `requests` may use.

    It reads the longest, with `recalled` tokens of notes, and writes as much as it may.
    """
    return recalled + max(prompt_estimate(request) + (request.sampling.max_tokens or 0) for request in requests)
