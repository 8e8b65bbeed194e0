"""The use case, on one page: find the plan, let it in, run it, keep its trace. (Memory will come around `run`.)

Above: `server` and `chorus ask`. Below: `workflow` runs, `llm` answers, `telemetry` watches.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from random import Random
from typing import Any
from urllib.request import getproxies

import anyio
import msgspec

from chorus.admission.gate import Gate
from chorus.admission.limiter import Limiter, MemoryLimiter
from chorus.admission.limits import Bill, Caller, Limits, costs_of
from chorus.admission.redis_limiter import RedisLimiter
from chorus.config import Config
from chorus.config.secrets import secret_values
from chorus.errors import NotFound, RateLimited, UnsupportedFeature, UpstreamTimeout, sane_wait
from chorus.journal import Journal, Observer
from chorus.llm.base import CONNECT_SECS
from chorus.llm.clients import Clients
from chorus.llm.counts import input_estimate, prompt_estimate
from chorus.llm.discovery import Discovery
from chorus.llm.embed import NO_EXTRA, Embeddings, EmbedInput
from chorus.llm.model_info import ModelInfo, settled
from chorus.race import Departure
from chorus.redaction import KNOWN
from chorus.snapshot import Snapshot, compose, undescribed
from chorus.tasks import ServerTasks
from chorus.telemetry.metrics import Metrics
from chorus.telemetry.repeats import Repeats
from chorus.telemetry.shared import ReplicaState, SharedMetrics
from chorus.telemetry.trace_store import TraceStore
from chorus.types import ChatRequest, Extra, Priority
from chorus.workflow.engine import Job, Plan, running
from chorus.workflow.plan import Leaf, refs

_BREAKER_STATES = {"closed": 0, "half_open": 1, "open": 2}


class Chorus:
    """Everything that answers, for one configuration. Close it with `aclose()`."""

    def __init__(self, config: Config, shared_metrics: SharedMetrics | None = None) -> None:
        """Raises ConfigError when a workflow of `config` cannot be run."""
        self._clients = Clients()
        self.metrics = Metrics(self._replicas, self._queues, shared_metrics)
        self._tasks = ServerTasks()
        self._checks: list[anyio.CancelScope] = []
        self._discovery = Discovery(self._clients)
        self.snapshot: Snapshot = self._compose(config)
        url = config.storage.url
        self._limiter: Limiter = RedisLimiter(url.get_secret_value()) if url is not None else MemoryLimiter()
        self.is_stopping = False
        """Whether it was told to stop: it answers whom it must, but nobody should send it more (A8)."""
        self.traces = TraceStore(config.trace.keep)
        self.repeats = Repeats()
        server = config.server
        self._gate = None
        if server.max_concurrency is not None:
            self._gate = Gate(
                "The server is busy",
                server.max_concurrency,
                max_waiting=server.max_waiting,
                max_wait_secs=server.max_wait_secs,
                waited=partial(self.metrics.waited, ""),
            )
        self.started_at = time.time()

    def reload(self, config: Config) -> None:
        """Serve `config` from the next request on; those in flight finish on what they began with, and models whose entries
        have not changed stay what they are (C12). `[server]`, `[storage]` and `[trace]` stay until the process is started anew.

        Raises:
            ConfigError: a workflow of it cannot be run; everything stays as it is.
        """
        self.snapshot = self._compose(config, self.snapshot)
        if self._tasks.is_open:
            self._watch_health()

    def _compose(self, config: Config, before: Snapshot | None = None) -> Snapshot:
        KNOWN.add(secret_values(config, getproxies()))  # before any upstream is asked
        snapshot = compose(config, self._clients, self.metrics.waited, self._tasks, before)
        self._discovery.follow(undescribed(snapshot))
        return snapshot

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """While the block lasts, calls for several callers (K3) and health checks (D4) go on as tasks of the server; leaving
        it stops them. Without it every call belongs to its caller, and none is merged."""
        async with self._tasks.open():
            self._watch_health()
            yield

    def _watch_health(self) -> None:
        """Check the replicas of this snapshot from now on, and no longer those of an earlier one."""
        for scope in self._checks:
            scope.cancel()
        pools = [model.pool for model in self.snapshot.models.values() if model.pool is not None]
        watched = [replica.health for pool in pools for replica in pool.replicas if replica.health is not None]
        self._checks = [self._tasks.start(health.watch, Random()) for health in watched]

    def run(
        self,
        requests: Sequence[ChatRequest],
        *,
        request_id: str,
        unique: str,
        streaming: bool,
        observers: Sequence[Observer] = (),
        until: Departure | None = None,
        caller: Caller | None = None,
        side: str | None = None,
    ) -> AbstractAsyncContextManager[Journal]:
        """Answer `requests` (one per choice, all of the same model); the block holds the journal of the run, and
        leaving it has stopped every upstream call. `unique` becomes the workflow's id; who knows it can read the trace.
        When `until` happens, nobody wants the answer any more, and the block is cancelled. What is done is charged to `caller`;
        without one it is free. `side`: see `RunStarted`.

        Raises:
            UnknownModel: nothing has that name.
            RateLimited: a rate limit is reached.
            QueueFull: the server answers as many requests as it may, and as many wait.
            UnsupportedFeature: a prompt of token numbers for a workflow.
        """
        snapshot = self.snapshot
        plan = snapshot.resolve(requests[0].model)
        if not isinstance(plan.root, Leaf) and any(isinstance(request.prompt, tuple) for request in requests):
            raise UnsupportedFeature(
                f"'{plan.name}' is a workflow, which needs the text of a prompt; token numbers go to a single model.",
                param="prompt",
            )
        job = Job(
            workflow_id=f"wf_{unique}",
            request_id=request_id,
            requests=requests,
            streaming=streaming,
            observers=(self.traces.recorder(requests), self.metrics.observer(), *observers),
            side=side,
            until=until,
        )
        payer = caller if caller is not None and snapshot.limits.concern(caller) else None
        if payer is None and self._gate is None:
            return running(plan, job, snapshot.models, snapshot.kinds)
        return self._admitted(snapshot, plan, job, payer)

    @asynccontextmanager
    async def _admitted(self, snapshot: Snapshot, plan: Plan, job: Job, payer: Caller | None) -> AsyncIterator[Journal]:
        """The run of `job`, charged to `payer` and in one of the server's slots (K1, K2). It waits for its turn as a run that has
        begun: its client gets heartbeats, a background response its id, and who leaves the line leaves it as any run.

        Raises:
            RateLimited, QueueFull: it may not go on.
        """
        bill = None
        if payer is not None:
            calls, most = snapshot.calls[plan.name], partial(_most_tokens, job.requests)
            if len(job.requests) > 1:
                calls = {model: number * len(job.requests) for model, number in calls.items()}
            bill = await self._charge(snapshot.limits, payer, plan.name, calls, most)
        gate = self._gate
        is_inside = False
        # not looked up by `turn`: `job` holds that, and each who waits would be a cycle
        priority = job.requests[0].priority

        async def turn() -> None:
            nonlocal is_inside
            if gate is not None:
                await gate.enter(priority)
                is_inside = True

        try:
            if gate is not None and not (is_inside := gate.enter_now()):
                gate.check_room()
                job = replace(job, turn=turn)
            async with running(plan, job, snapshot.models, snapshot.kinds) as journal:
                if bill is not None:
                    journal.observe(bill.watch)
                yield journal
        finally:
            if gate is not None and is_inside:
                gate.leave()
            if bill is not None:
                await bill.settle()

    async def _charge(
        self, limits: Limits, payer: Caller, plan: str, calls: Mapping[str, int], most_tokens: Callable[[], int]
    ) -> Bill:
        """Charge `payer` so many calls of each model, each of which uses `most_tokens` or fewer; the bill is to be settled when
        it is known what it came to (K1).

        Raises:
            RateLimited: it does not fit.
        """
        accounts = limits.accounts(payer, plan, calls)
        tokens: Mapping[str, int] = {}
        if any(account.kind == "tokens" for account in accounts):
            each = most_tokens()
            tokens = {model: number * each for model, number in calls.items()}
        decision = await self._limiter.take(accounts, costs_of(accounts, calls, tokens))
        payer.standing = decision.standing
        if decision.refused is not None:
            account, wait = decision.refused
            self.metrics.rate_limited(account.scope, account.kind)
            secs = max(1, math.ceil(sane_wait(wait)))
            raise RateLimited(f"{account} Try again in {secs} s.", retry_after=secs)
        return Bill(decision)

    async def embed(
        self,
        model: str,
        inputs: Sequence[EmbedInput],
        *,
        dimensions: int | None,
        request_id: str,
        priority: Priority = "default",
        caller: Caller | None = None,
        extra: Extra = NO_EXTRA,
    ) -> Embeddings:
        """The vectors of `inputs`, in their order (A4), charged to `caller`. `extra` goes to the upstream as it is. `priority` holds
        wherever it waits: for the server's slot and for the model's (K2).

        Raises:
            RateLimited: a rate limit is reached.
            QueueFull, QueueTimeout: the server answers as many requests as it may.
            UnknownModel: nothing has that name.
            UnsupportedFeature: it is a workflow, or a model that does not embed.
            LLMError: the upstream failed.
        """
        plan = self.snapshot.resolve(model)
        if not isinstance(plan.root, Leaf):
            raise UnsupportedFeature(
                f"'{plan.name}' is a workflow; embeddings come from a single model.", param="model"
            )
        found = self.snapshot.models[plan.root.ref]
        if found.embedder is None:
            raise UnsupportedFeature(f"The model '{plan.name}' does not embed.", param="model")
        limits, bill = self.snapshot.limits, None
        if caller is not None and limits.concern(caller):
            most = partial(input_estimate, inputs)
            bill = await self._charge(limits, caller, plan.name, {found.name: 1}, most)
        try:
            async with self._slot(priority):
                with anyio.move_on_after(found.timeouts.first_byte):
                    vectors = await found.embedder.embed(
                        inputs,
                        dimensions=dimensions,
                        request_id=request_id,
                        connect_timeout=CONNECT_SECS,
                        priority=priority,
                        extra=extra,
                    )
                    if bill is not None:
                        bill.used(found.name, vectors.usage.total_tokens)
                    return vectors
        finally:
            if bill is not None:
                await bill.settle()
        raise UpstreamTimeout(f"Model '{plan.name}' did not embed within {found.timeouts.first_byte:g} s")

    @asynccontextmanager
    async def _slot(self, priority: Priority) -> AsyncIterator[None]:
        """Hold one of the server's slots while the block lasts (K2)."""
        if self._gate is None:
            yield
            return
        await self._gate.enter(priority)
        try:
            yield
        finally:
            self._gate.leave()

    async def discover(self, plans: Iterable[Plan]) -> None:
        """Find out what the models of `plans` can do, where it is not known yet. It takes a second at most, and no time where
        all upstreams have been asked before."""
        await self._discovery.refresh({ref for plan in plans for ref in refs(plan.root)}, self._tasks)

    def model_info(self, model: str, *, assumes: bool = False) -> ModelInfo:
        """What a configured model can do. `assumes`: one behind an OpenAI-compatible address takes tools, unless it is known
        that it does not."""
        entry = self.snapshot.entries[model]
        return settled(
            self._discovery.info(model),
            entry.capabilities,
            entry.context_window,
            assumes_tools=assumes and entry.provider == "openai",
        )

    def trace(self, workflow_id: str) -> dict[str, Any]:
        """The trace of an earlier run (W9).

        Raises:
            NotFound: it is unknown, or older than the traces that are kept.
        """
        found = self.traces.get(workflow_id)
        if found is None:
            raise _not_kept()
        return found

    def asked(self, workflow_id: str, model: str) -> list[ChatRequest]:
        """What was asked in an earlier run, to be asked of `model` now.

        Raises:
            NotFound: the run is unknown, or older than the traces that are kept.
        """
        kept = self.traces.requests(workflow_id)
        if kept is None:
            raise _not_kept()
        return [msgspec.structs.replace(request, model=model) for request in kept]

    def _replicas(self) -> Iterator[ReplicaState]:
        """How every replica does at this moment, for the metrics."""
        now = anyio.current_time()
        for model in self.snapshot.models.values():
            for replica in model.pool.replicas if model.pool is not None else ():
                state = _BREAKER_STATES[replica.breaker.state(now)]
                yield ReplicaState(model.name, replica.instance_id, state, replica.in_flight)

    def _queues(self) -> Iterator[tuple[str, int]]:
        """How many wait for each model, and for the server itself (named ""), for the metrics."""
        for model in self.snapshot.models.values():
            if model.gate is not None:
                yield model.name, model.gate.waiting
        if self._gate is not None:
            yield "", self._gate.waiting

    async def aclose(self) -> None:
        """Close every upstream connection."""
        await self._clients.aclose()
        await self._limiter.aclose()


def _most_tokens(requests: Sequence[ChatRequest]) -> int:
    """What a call that answers one of `requests` may use: it reads the longest, and writes as much as it may."""
    return max(prompt_estimate(request) + (request.sampling.max_tokens or 0) for request in requests)


def _not_kept() -> NotFound:
    return NotFound("No workflow of this id is kept; `[trace] keep` sets how many are.")
