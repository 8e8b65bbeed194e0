"""The use case, on one page: find the plan, let it in, run it, keep its trace. (Memory will come around `run`.)

Above: `server` and `chorus ask`. Below: `workflow` runs, `llm` answers, `telemetry` watches.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from functools import partial
from random import Random
from types import TracebackType
from typing import Any
from urllib.request import getproxies

import anyio
import msgspec

from chorus.admission.admission import Admission, Admitted
from chorus.admission.gate import Gate
from chorus.admission.limiter import MemoryLimiter
from chorus.admission.redis_limiter import RedisLimiter
from chorus.auth.principal import Principal
from chorus.cancellation import CancelSignal
from chorus.config import Config
from chorus.config.secrets import secret_values
from chorus.errors import NotFound, UnsupportedFeature, UpstreamTimeout
from chorus.journal import Journal, Observer
from chorus.llm.base import CONNECT_SECS
from chorus.llm.clients import Clients
from chorus.llm.counts import input_estimate, prompt_estimate
from chorus.llm.discovery import Discovery
from chorus.llm.embed import NO_EXTRA, Embeddings, EmbedInput
from chorus.llm.model_info import ModelInfo, settled
from chorus.redaction import KNOWN
from chorus.snapshot import Snapshot, compose, undescribed
from chorus.storage.base import Storage
from chorus.storage.behind import WriteBehind
from chorus.storage.memory import memory_storage
from chorus.storage.records import IN_MEMORY
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
        limiter = RedisLimiter(url.get_secret_value()) if url is not None else MemoryLimiter()
        self.is_stopping = False
        """Whether it was told to stop: it answers whom it must, but nobody should send it more (A8)."""
        self.traces = TraceStore(config.trace.keep)
        self.storage: Storage = memory_storage(IN_MEMORY)
        self.writes = WriteBehind()
        self.repeats = Repeats()
        server = config.server
        gate = None
        if server.max_concurrency is not None:
            gate = Gate(
                "The server is busy",
                server.max_concurrency,
                max_waiting=server.max_waiting,
                max_wait_secs=server.max_wait_secs,
                waited=partial(self.metrics.waited, ""),
            )
        self._admission = Admission(limiter, gate, self.metrics.rate_limited)
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
        it stops them. Without it every call belongs to its caller, none is merged, and nothing is kept."""
        async with self.storage, self.writes.open(), self._tasks.open():
            self._watch_health()
            yield

    def _watch_health(self) -> None:
        """Check the replicas of this snapshot from now on, and no longer those of an earlier one."""
        for scope in self._checks:
            scope.cancel()
        replicas = [replica for model in self.snapshot.models.values() for replica in model.pool.replicas]
        watched = [replica.health for replica in replicas if replica.health is not None]
        self._checks = [self._tasks.start(health.watch, Random()) for health in watched]

    def run(
        self,
        requests: Sequence[ChatRequest],
        *,
        request_id: str,
        unique: str,
        streaming: bool,
        observers: Sequence[Observer] = (),
        cancel_signal: CancelSignal | None = None,
        caller: Principal | None = None,
        side: str | None = None,
    ) -> AbstractAsyncContextManager[Journal]:
        """Answer `requests` (one per choice, all of the same model); the block holds the journal of the run, and
        leaving it has stopped every upstream call. `unique` becomes the workflow's id; who knows it can read the trace.
        When `cancel_signal` happens, nobody wants the answer any more, and the block is cancelled. What is done is charged to `caller`;
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
            cancel_signal=cancel_signal,
        )
        calls = snapshot.calls[plan.name]
        if len(requests) > 1:
            calls = {name: number * len(requests) for name, number in calls.items()}
        most_tokens = partial(_most_tokens, requests)
        admitted = self._admission.admit(caller, snapshot.limits, plan.name, calls, most_tokens, requests[0].priority)
        return _AdmittedRun(admitted, job, lambda job: running(plan, job, snapshot.models, snapshot.kinds))

    async def embed(
        self,
        model: str,
        inputs: Sequence[EmbedInput],
        *,
        dimensions: int | None,
        request_id: str,
        priority: Priority = "default",
        caller: Principal | None = None,
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
        admitted = self._admission.admit(
            caller, self.snapshot.limits, plan.name, {found.name: 1}, partial(input_estimate, inputs), priority
        )
        async with admitted:
            await admitted.wait()
            with anyio.move_on_after(found.timeouts.first_byte):
                vectors = await found.embedder.embed(
                    inputs,
                    dimensions=dimensions,
                    request_id=request_id,
                    connect_timeout=CONNECT_SECS,
                    priority=priority,
                    extra=extra,
                )
                if admitted.bill is not None:
                    admitted.bill.used(found.name, vectors.usage.total_tokens)
                return vectors
        raise UpstreamTimeout(f"Model '{plan.name}' did not embed within {found.timeouts.first_byte:g} s")

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
            for replica in model.pool.replicas:
                state = _BREAKER_STATES[replica.breaker.state(now)]
                yield ReplicaState(model.name, replica.instance_id, state, replica.in_flight)

    def _queues(self) -> Iterator[tuple[str, int]]:
        """How many wait for each model, and for the server itself (named ""), for the metrics."""
        for model in self.snapshot.models.values():
            if model.gate is not None:
                yield model.name, model.gate.waiting
        if (waiting := self._admission.waiting) is not None:
            yield "", waiting

    async def aclose(self) -> None:
        """Close every upstream connection."""
        await self._clients.aclose()
        await self._admission.aclose()


class _AdmittedRun(AbstractAsyncContextManager[Journal]):
    """A run that has been admitted. It waits for its slot as a run that has begun: its client gets heartbeats, a background
    response its id, and a client that disconnects leaves the line. A class for its speed (see `taught.Taught`)."""

    __slots__ = ("_admitted", "_job", "_run", "_start")

    def __init__(
        self, admitted: Admitted, job: Job, start: Callable[[Job], AbstractAsyncContextManager[Journal]]
    ) -> None:
        self._admitted = admitted
        self._job = job
        self._start = start

    async def __aenter__(self) -> Journal:
        admitted = await self._admitted.__aenter__()
        try:
            self._run = self._start(replace(self._job, turn=admitted.wait) if admitted.must_wait else self._job)
            journal = await self._run.__aenter__()
        except BaseException:
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
            await self._admitted.__aexit__(kind, error, trace)


def _most_tokens(requests: Sequence[ChatRequest]) -> int:
    """What a call that answers one of `requests` may use: it reads the longest, and writes as much as it may."""
    return max(prompt_estimate(request) + (request.sampling.max_tokens or 0) for request in requests)


def _not_kept() -> NotFound:
    return NotFound("No workflow of this id is kept; `[trace] keep` sets how many are.")
