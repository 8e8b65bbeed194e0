"""What a node works with: the run it belongs to, the models it may call, and the stages it writes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Final, Self

import anyio

from chorus.admission.gate import Gate
from chorus.errors import BudgetSpent, ChorusError, ClientGone, DeadlineExceeded, UpstreamTimeout
from chorus.events import Fault, Path, Shortcut, StageFinished, StageKind, StageStarted, Status
from chorus.journal import Journal
from chorus.llm.base import Upstream
from chorus.llm.embed import QueuedEmbedder
from chorus.llm.limit import held
from chorus.llm.pool import Pool
from chorus.llm.rerank import QueuedReranker
from chorus.race import Departure
from chorus.types import Answer, ChatRequest, Timeouts
from chorus.usage import Usage
from chorus.wirejson import JSON
from chorus.workflow.judging.response_format import Shape, wanted
from chorus.workflow.judging.temperature import ModelTemperature, Temperature
from chorus.workflow.judging.verdict import Analysis
from chorus.workflow.kinds import NodeKind
from chorus.workflow.plan import Leaf


@dataclass(frozen=True, slots=True)
class Price:
    """Price per million tokens, in whatever currency the configuration means."""

    input: float = 0.0
    output: float = 0.0
    cached: float | None = None

    def of(self, usage: Usage) -> float:
        """What `usage` costs."""
        cached = usage.cached_tokens if self.cached is not None else 0
        fresh = usage.prompt_tokens - cached
        paid = fresh * self.input + cached * (self.cached or 0.0) + usage.completion_tokens * self.output
        return paid / 1_000_000


@dataclass(frozen=True, slots=True)
class Budget:
    """What the calls of one request may use together; None is no bound (W11)."""

    max_total_tokens: int | None = None
    max_cost: float | None = None

    def is_spent(self, usage: Usage) -> bool:
        """Whether `usage` has reached a bound."""
        tokens, cost = self.max_total_tokens, self.max_cost
        return (tokens is not None and usage.total_tokens >= tokens) or (cost is not None and (usage.cost or 0) >= cost)


@dataclass(frozen=True, slots=True)
class Model:
    """A configured model as the engine sees it."""

    name: str
    upstream: Upstream
    embedder: QueuedEmbedder | None = None
    reranker: QueuedReranker | None = None
    pool: Pool | None = None
    gate: Gate | None = None
    temperature: ModelTemperature = field(default_factory=ModelTemperature)
    timeouts: Timeouts = field(default_factory=Timeouts)
    capabilities: frozenset[str] = frozenset()
    price: Price | None = None
    context_window: int | None = None


_NO_SLOT = nullcontext()
_MAX_WARNINGS: Final = 20


@dataclass(slots=True)
class Run:
    """One run of a plan for one request: everything that its nodes share.

    `choice` is the index of the answer that this run gives; its outward voice marks its deltas with it. `streaming`
    tells whether the client wants pieces. `slots` bounds the calls of one request (`max_parallel`, W3). `deadline` is on
    `clock`: no call goes on beyond it, so that the whole tree ends then with the best it has (W11).
    """

    request: ChatRequest
    request_id: str
    models: Mapping[str, Model]
    kinds: Mapping[str, NodeKind]
    journal: Journal
    rng: Random
    clock: Callable[[], float]
    started: float
    choice: int = 0
    streaming: bool = True
    slots: anyio.CapacityLimiter | None = None
    deadline: float = math.inf
    budget: Budget | None = None
    until: Departure | None = None
    """When it happens, the call of this run is cancelled; None where the whole run is cancelled from outside."""
    totals: Totals = field(default_factory=lambda: Totals())
    analyses: dict[Leaf, SharedAnalysis] = field(default_factory=dict)
    """What analyzers found, or are finding, about this request: the same one is asked once."""
    forms: dict[int, Shape | None] = field(default_factory=dict)
    """See `form`; by the identity of what the request says."""

    def now(self) -> float:
        """Seconds since the run started."""
        return self.clock() - self.started

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.clock() >= self.deadline

    def late(self) -> DeadlineExceeded:
        """The error of a call for which no time is left."""
        return DeadlineExceeded(f"The whole request has taken the {self.deadline - self.started:g} s that it may take")

    def check(self) -> None:
        """Whether another call may be made.

        Raises:
            DeadlineExceeded: there is no time left.
            BudgetSpent: there is no budget left.
        """
        if self.is_late:
            raise self.late()
        if self.budget is not None and self.budget.is_spent(self.totals.usage):
            raise BudgetSpent("The budget of this request is spent")

    def skipped(self, name: str, path: Path, saved_calls: int) -> None:
        """Record a shortcut, so that the trace shows it (W7)."""
        self.totals.shortcuts.append(Shortcut(name, path, saved_calls))

    def form(self) -> Shape | None:
        """The form that the request wants its answer in. Made ready once for all workflows and
        choices of a run."""
        key = id(self.request.response_format)
        if key not in self.forms:
            self.forms[key] = wanted(self.request)
        return self.forms[key]

    def slot(self) -> AbstractAsyncContextManager[None]:
        """Hold one of the calls that this request may make at a time; waits for one (`max_parallel`, W3)."""
        return held(self.slots) if self.slots is not None else _NO_SLOT

    def stage(
        self,
        path: Path,
        kind: StageKind,
        name: str,
        model: str | None = None,
        temperature: Temperature | None = None,
        *,
        is_group: bool = False,
    ) -> Stage:
        """Begin a stage; a `with` block around its work writes its end, whatever happens.
        `is_group`: see `StageStarted`."""
        return Stage(self, path, kind, name, model, temperature, is_group=is_group)


@dataclass(slots=True)
class Totals:
    """How many calls a run made, what they used together, the shortcuts it took and the stragglers it hedged; shared by the choices of
    one request."""

    usage: Usage = field(default_factory=Usage)
    calls: int = 0
    shortcuts: list[Shortcut] = field(default_factory=list)
    hedges: int = 0


@dataclass(slots=True)
class SharedAnalysis:
    """An analysis that several workflows of one tree wait for."""

    path: Path
    done: anyio.Event = field(default_factory=anyio.Event)
    found: Analysis | None = None


class Stage:
    """One stage in the journal: `StageStarted` on entering, exactly one `StageFinished` on leaving.

    Leaving by an error writes it: cancelled, timeout or failed. The error goes on.
    """

    def __init__(
        self,
        run: Run,
        path: Path,
        kind: StageKind,
        name: str,
        model: str | None,
        temperature: Temperature | None,
        *,
        is_group: bool = False,
    ) -> None:
        self._run = run
        self._is_group = is_group
        self._kind: StageKind = kind
        self._name = name
        self._model = model
        self._temperature = temperature
        self._finished = False
        self._warnings: list[str] = []
        self.path = path
        self.first_token_at: float | None = None
        self.attempts = 0
        self.instance_id: str | None = None
        self.usage: Usage | None = None
        self.overrun: Fault | None = None
        """Why the answer was cut short, where it was."""

    def attempting(self, instance_id: str) -> None:
        """Told by the upstream each time it sends the call to an instance."""
        self.attempts += 1
        self.instance_id = instance_id

    def warn(self, sentence: str) -> None:
        """Note that an element of the request did not reach the upstream as it is; the trace and the log say so."""
        if len(self._warnings) < _MAX_WARNINGS and sentence not in self._warnings:
            self._warnings.append(sentence)

    def finish(
        self,
        status: Status = "ok",
        *,
        answer: Answer | None = None,
        fault: Fault | None = None,
        details: Mapping[str, JSON] | None = None,
    ) -> None:
        """Write the stage's end. Only the first call counts."""
        if self._finished:
            return
        self._finished = True
        if status == "ok" and self.overrun is not None:
            status, fault = "timeout", self.overrun
        self._run.journal.write(
            StageFinished(
                self.path,
                self._run.now(),
                status,
                answer,
                self.usage,
                fault,
                self.first_token_at,
                self.attempts,
                self.instance_id,
                {**(details or {}), "warnings": self._warnings} if self._warnings else details or {},
            )
        )

    def __enter__(self) -> Self:
        heat = self._temperature
        self._run.journal.write(
            StageStarted(
                self.path,
                self._run.now(),
                self._kind,
                self._name,
                self._model,
                heat.value if heat else None,
                heat.source if heat else None,
                self._is_group,
            )
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        elif isinstance(error, ClientGone):
            self.finish("cancelled")
        elif isinstance(error, ChorusError):
            self.finish("timeout" if is_timeout(error) else "failed", fault=fault_of(error))
        elif isinstance(error, Exception):  # a cancellation is none, on asyncio and on trio
            self.finish("failed", fault=fault_of(error))
        else:
            self.finish("cancelled")


def is_timeout(error: Exception) -> bool:
    """Whether `error` says that something took too long."""
    return isinstance(error, UpstreamTimeout | DeadlineExceeded)


def fault_of(error: Exception) -> Fault:
    """What a trace may say of `error`: our own errors speak for themselves, anything else stays inside."""
    if isinstance(error, ChorusError):
        return Fault(error.code, error.message)
    return Fault("internal_error", f"Chorus itself failed here ({type(error).__name__}); its log has the details")
