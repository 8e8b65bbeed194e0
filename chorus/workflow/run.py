"""A run of a plan: what its nodes share, and the bounds that hold for all of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

import anyio

from chorus.cancellation import CancelSignal
from chorus.errors import BudgetSpent, DeadlineExceeded
from chorus.events import Path, Shortcut, ShortcutName, StageKind
from chorus.journal import Journal
from chorus.llm.base import context_headers
from chorus.llm.filters.concurrency import held
from chorus.types import ChatRequest
from chorus.usage import NONE, Usage
from chorus.workflow.judging.response_format import ResponseFormat, wanted
from chorus.workflow.judging.temperature import Temperature
from chorus.workflow.judging.verdict import Analysis
from chorus.workflow.kinds import NodeKind
from chorus.workflow.learned_route import Known
from chorus.workflow.model import Model
from chorus.workflow.plan import Leaf
from chorus.workflow.stage import NO_PLACE, Place, Stage

_NO_SLOT = nullcontext()


@dataclass(frozen=True, slots=True)
class Budget:
    """What the calls of one request may use together; None is no bound (W11)."""

    max_total_tokens: int | None = None
    max_cost: float | None = None

    def is_spent(self, usage: Usage) -> bool:
        """Return whether `usage` has reached a bound."""
        tokens, cost = self.max_total_tokens, self.max_cost
        return (tokens is not None and usage.total_tokens >= tokens) or (cost is not None and (usage.cost or 0) >= cost)


class Learner(Protocol):
    """Knows what came of earlier runs of a workflow."""

    rng: Random

    async def known(self) -> tuple[Known, str]:
        """Return what is known, and a sentence where that is not all; "" else. Raises nothing but
        cancellation."""
        ...


@dataclass(slots=True)
class Run:
    """One run of a plan for one request: everything that its nodes share.

    `choice` is the index of the answer that this run gives; its output marks its deltas with it.
    `streaming` is whether the client wants pieces. `slots` bounds the calls of one request
    (`max_parallel`, W3). `deadline` is on `clock`: no call goes on beyond it, so that the whole
    tree ends then with the best it has (W11).
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
    cancel_signal: CancelSignal | None = None
    """Cancels the call of this run; None where the whole run is cancelled from outside."""
    totals: Totals = field(default_factory=lambda: Totals())
    analyses: dict[Leaf, SharedAnalysis] = field(default_factory=dict)
    """The analyses of this request, begun or done: the same analyzer is asked once."""
    outgoing: Callable[[Path], Mapping[str, str]] | None = None
    """Returns the headers that carry the context of a stage's call on.

    None where nothing is traced.
    """
    learner: Learner | None = None
    """For learned routes; None: they know nothing."""
    response_formats: dict[int, ResponseFormat | None] = field(default_factory=dict)
    """See `response_format`; by the identity of what the request says."""

    def headers(self, path: Path) -> Mapping[str, str]:
        """Return the outgoing context of a call that the stage at `path` makes."""
        own = context_headers(self.request_id)
        return {**own, **self.outgoing(path)} if self.outgoing is not None else own

    def now(self) -> float:
        """Seconds since the run started."""
        return self.clock() - self.started

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.clock() >= self.deadline

    def late(self) -> DeadlineExceeded:
        """Return the error of a call for which no time is left."""
        return DeadlineExceeded(f"The whole request has taken the {self.deadline - self.started:g} s that it may take")

    def check(self) -> None:
        """Check that another call may be made.

        Raises:
            DeadlineExceeded: there is no time left.
            BudgetSpent: there is no budget left.
        """
        if self.is_late:
            raise self.late()
        if self.budget is not None and self.budget.is_spent(self.totals.usage):
            raise BudgetSpent("The budget of this request is spent")

    def skipped(self, name: ShortcutName, path: Path, saved_calls: int) -> None:
        """Record a shortcut, so that the trace shows it (W7)."""
        self.totals.shortcuts.append(Shortcut(name, path, saved_calls))

    def response_format(self) -> ResponseFormat | None:
        """Return the response format of the request. Made ready once for all workflows and
        choices of a run."""
        key = id(self.request.response_format)
        if key not in self.response_formats:
            self.response_formats[key] = wanted(self.request)
        return self.response_formats[key]

    def slot(self) -> AbstractAsyncContextManager[None]:
        """Hold one of the calls that this request may make at a time (`max_parallel`, W3).

        It waits for one.
        """
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
        place: Place = NO_PLACE,
    ) -> Stage:
        """Return a stage to enter; a `with` block around its work writes its end, whatever happens.
        `is_group`: see `StageStarted`."""
        return Stage(
            self.journal,
            self.now,
            path,
            kind,
            name,
            model,
            temperature,
            is_group=is_group,
            place=place,
            choice=self.choice,
        )


@dataclass(slots=True)
class Totals:
    """How many calls a run made, their usage, and the shortcuts and hedges that it took.

    The choices of one request share it.
    """

    usage: Usage = NONE
    calls: int = 0
    shortcuts: list[Shortcut] = field(default_factory=list)
    hedges: int = 0


@dataclass(slots=True)
class SharedAnalysis:
    """An analysis that several workflows of one tree wait for."""

    path: Path
    done: anyio.Event = field(default_factory=anyio.Event)
    analysis: Analysis | None = None
