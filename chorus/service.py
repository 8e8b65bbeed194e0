"""The use cases on one page: find the plan, let the request in, run it, keep its trace.

Above: `server` and the commands. Below: `admission` lets in, `workflow`
runs, `llm` answers, `telemetry` watches.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from urllib.request import getproxies

from chorus.accounting.budgets import Budgets
from chorus.accounting.ledger import UsageLedger
from chorus.auth.principal import LOCAL, Principal
from chorus.cancellation import CancelSignal
from chorus.config import Config
from chorus.config.secrets import secret_values
from chorus.descriptions import Descriptions
from chorus.embedding import embed
from chorus.journal import Journal, Observer
from chorus.learning import Learning
from chorus.live_runs import LiveRuns
from chorus.llm.embed import NO_EXTRA, Embeddings, EmbedInput
from chorus.llm.transport.clients import Clients
from chorus.past_runs import PastRuns
from chorus.redaction import KNOWN
from chorus.relaying import Relaying
from chorus.runs import AdmittedRun, admit_beside, check_prompts, make_admission, make_leases, most_calls, most_tokens
from chorus.sessions.memorizer import Memorizer
from chorus.sessions.user_memory import UserMemory
from chorus.snapshot import Snapshot, compose
from chorus.storage.affinity import StoredSessions
from chorus.storage.base import Storage
from chorus.storage.behind import WriteBehind
from chorus.storage.guard import guarded
from chorus.storage.opening import open_storage
from chorus.storage.records import retention
from chorus.tasks import ServerTasks
from chorus.telemetry.metrics import Metrics
from chorus.telemetry.repeats import Repeats
from chorus.telemetry.shared import SharedMetrics
from chorus.telemetry.trace_store import TraceStore
from chorus.telemetry.tracing import NO_TRACING, Tracing
from chorus.types import ChatRequest, Extra, Priority
from chorus.watch import Watches, discovery_states, queue_lengths, replica_states
from chorus.workflow.engine import Job, running


class Chorus:
    """Answers requests, as one configuration says. Close it with `aclose()`."""

    def __init__(
        self, config: Config, shared_metrics: SharedMetrics | None = None, tracing: Tracing = NO_TRACING
    ) -> None:
        """Raises ConfigError: a workflow of `config` cannot be run, or its store, which `serving()`
        opens, is not installed.
        """
        self._clients, self._tracing, self._tasks = Clients(), tracing, ServerTasks()
        self._watches = Watches(self._tasks, lambda: self.descriptions.follow(self.snapshot))
        self.metrics = Metrics(
            lambda: replica_states(self.snapshot),
            lambda: queue_lengths(self.snapshot, self.admission),
            shared_metrics,
            lambda: discovery_states(self.snapshot),
        )
        self.descriptions = Descriptions(self._clients, self._tasks)
        is_shared, away = config.storage.is_shared, self.metrics.storage_unavailable
        kept = retention(traces=config.trace.keep) if is_shared else None
        self.storage: Storage = guarded(open_storage(config.storage.address, kept))
        self.writes = WriteBehind(away, is_shared=is_shared)
        self._sessions = StoredSessions(self.storage.affinities, self.writes, partial(away, "affinity"))
        self._leases = make_leases(config, self._tasks)
        self.snapshot: Snapshot = self._compose(config)
        self.usage = UsageLedger(self.storage.usage, partial(away, "usage"))
        budgets = Budgets(self.usage, partial(away, "budget"))
        self.admission = make_admission(config, self.metrics, budgets, self._leases)
        traces = self.storage.traces if is_shared else None
        self.past_runs = PastRuns(TraceStore(config.trace.keep), traces, self.writes, partial(away, "traces"))
        self.learning = Learning(self.storage.outcomes, self.writes, self.past_runs.events, lambda: self.snapshot, away)
        memorizer = Memorizer(self.metrics.observer, self.past_runs.extend, tracing.after)
        self.memory = UserMemory(self.storage, memorizer, config.memory)
        self.live_runs, self.repeats = LiveRuns(), Repeats()
        recorder, counting = partial(self.past_runs.recorder, ()), (self.metrics, self.usage)
        self.relaying = Relaying(lambda: self.snapshot, self.admission, self.live_runs, tracing, recorder, *counting)
        self.started_at = time.time()
        """Seconds since 1970."""
        self.is_stopping = False
        """Whether the server stops: requests are still answered, and `/ready` is a 503 (A8)."""

    def reload(self, config: Config) -> None:
        """Serve `config` from the next request on (C12).

        Requests in flight finish with that of before. Unchanged models are kept. `[server]`,
        `[storage]`, `[trace]` and who keeps the notes on users hold until a restart.

        Raises:
            ConfigError: a workflow of it cannot be run; everything stays as it is.
        """
        self.snapshot = self._compose(config, self.snapshot)
        self._watches.follow(self.snapshot)

    def _compose(self, config: Config, before: Snapshot | None = None) -> Snapshot:
        KNOWN.add(secret_values(config, getproxies()))  # before any upstream is asked
        snapshot = compose(config, self._clients, self.metrics.waited, self._tasks, before, self._leases)
        snapshot.share_sessions(self._sessions if config.storage.is_shared else None)
        self.descriptions.follow(snapshot)
        return snapshot

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Keep records, run calls for several callers (K3), health checks (D4) and discovery (D2)
        in this block. Without it every call belongs to its caller, none is merged, and nothing is
        kept or found.
        """
        async with self.storage, self.writes.open(), self.usage.open(), self.past_runs.open(), self._tasks.open():
            self._watches.follow(self.snapshot)
            async with self.memory.open():
                yield

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
        recall_user: str | None = None,
        notes: tuple[str, ...] = (),
    ) -> AbstractAsyncContextManager[Journal]:
        """Answer `requests` (one per choice, all of the same model). The block holds the journal of
        the run; leaving it has stopped every upstream call. `unique` becomes the workflow's id, by
        which the trace is found. `cancel_signal` cancels the block. The run is charged to `caller`;
        without one it is free. `side` and `notes`: see `RunStarted`. The notes on `recall_user`,
        who belongs to the caller, go to the models, and the exchange is read for new ones.

        Raises:
            UnknownModel: nothing has that name.
            BudgetExhausted: the budget of the caller's key is spent.
            RateLimited: a rate limit is reached.
            QueueFull: the server answers as many requests as it may, and as many wait.
            UnsupportedFeature: a prompt of token numbers for a workflow.
        """
        snapshot = self.snapshot
        plan = snapshot.resolve(requests[0].model)
        check_prompts(plan, requests)
        owner = caller.owner if caller is not None else LOCAL
        counting = (self.usage.observer(caller),) if caller is not None else ()
        admit = partial(admit_beside, self.admission, caller, snapshot.limits)
        around = self.memory.around(snapshot.memory, owner, recall_user, requests, side, counting, admit)
        recorder = self.past_runs.recorder(requests, owner)
        live = self.live_runs.entry(f"wf_{unique}", requests[0].model, caller, cancel_signal)
        traced = self._tracing.begin(caller, snapshot.entries, requests)
        job = Job(
            workflow_id=live.id,
            request_id=request_id,
            requests=requests,
            streaming=streaming,
            observers=(recorder, self.metrics.observer(), *counting, *observers, *traced.observers, *around.observers),
            outgoing=traced.headers,
            prepare=around.prepare,
            side=side,
            notes=notes,
            cancel_signal=live.cancel_signal,
            on_journal=live.enter,
        )
        calls = most_calls(snapshot.calls[plan.name], requests)
        most, priority = partial(most_tokens, requests, around.note_tokens), requests[0].priority
        admitted = self.admission.admit(caller, snapshot.limits, plan.name, calls, most, priority)
        job = self.learning.job(plan, job)
        return AdmittedRun(admitted, job, lambda job: running(plan, job, snapshot.models, snapshot.kinds), live)

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
        """Return the vectors of `inputs`, in their order (A4), charged to `caller`. `extra` goes to
        the upstream as it is. `priority` holds for the server's slot and for the model's (K2).

        Raises:
            BudgetExhausted, RateLimited, QueueFull, QueueTimeout, UnknownModel: as `run` does.
            UnsupportedFeature: it is a workflow, or a model that does not embed.
            LLMError: the upstream failed.
        """
        begin = partial(embed, self.snapshot, self.admission, self.usage, model, inputs, dimensions=dimensions)
        return await begin(request_id=request_id, priority=priority, caller=caller, extra=extra)

    async def aclose(self) -> None:
        """Close every upstream connection, and export the traces that wait."""
        await self._clients.aclose()
        await self.admission.aclose()
        await self._tracing.aclose()
