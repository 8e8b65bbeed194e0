"""Load, errors, tokens and costs of a server, second by second for fifteen minutes (O4).

Samples are kept for each owner.

Above: `server/api/stats.py` takes a sample a second and sends it. Below: the live runs, which hand
over each run that has ended. A run costs one entry in a list; it is folded once a second.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from chorus import wirejson
from chorus.events import Delta, RunFailed, RunFinished, StageFinished, StageStarted
from chorus.live_runs import LiveRun, LiveRuns
from chorus.telemetry.shared import ReplicaState

SECONDS: Final = 900
"""Samples that are kept: fifteen minutes."""
_MAX_TIMES: Final = 256
"""Times of one owner and second that percentiles are taken of."""
_BREAKERS: Final = ("closed", "half_open", "open")


@dataclass(slots=True)
class ModelTally:
    """What one model did in one second."""

    calls: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = None

    def add(self, other: ModelTally) -> None:
        """Add what `other` counts."""
        self.calls += other.calls
        self.errors += other.errors
        self.prompt_tokens += other.prompt_tokens
        self.completion_tokens += other.completion_tokens
        if other.cost is not None:
            self.cost = (self.cost or 0.0) + other.cost


@dataclass(slots=True)
class Tally:
    """What the runs that ended in one second did."""

    requests: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Runs that failed, by the code of their error; cancelled ones are none."""
    first_tokens: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    """Seconds until the first token of a run, and that a call waited for its slot."""
    models: dict[str, ModelTally] = field(default_factory=dict)

    def add_run(self, run: LiveRun) -> None:
        """Count a run that has ended."""
        self.requests += 1
        models: dict[tuple[str, ...], str] = {}
        for event in run.journal.events:
            if type(event) is Delta:
                continue
            if type(event) is StageStarted:
                if event.model is not None:
                    models[event.path] = event.model
            elif type(event) is StageFinished:
                if (model := models.get(event.path)) is not None:
                    self._add_call(model, event)
            elif type(event) is RunFinished:
                if event.first_token_at is not None and len(self.first_tokens) < _MAX_TIMES:
                    self.first_tokens.append(event.first_token_at)
            elif type(event) is RunFailed and event.status == "failed":
                self.errors[event.error.code] += 1

    def add_refusal(self, code: str) -> None:
        """Count a request that was refused before its run began, with the code of its error."""
        self.requests += 1
        self.errors[code] += 1

    def add(self, other: Tally) -> None:
        """Add what `other` counts."""
        self.requests += other.requests
        self.errors += other.errors
        self.first_tokens += other.first_tokens
        self.waits += other.waits
        for name, tally in other.models.items():
            self.models.setdefault(name, ModelTally()).add(tally)

    def _add_call(self, model: str, stage: StageFinished) -> None:
        tally = self.models.get(model)
        if tally is None:
            tally = self.models[model] = ModelTally()
        if stage.attempts:
            tally.calls += 1
            if len(self.waits) < _MAX_TIMES:
                self.waits.append(stage.queue_secs)
        if stage.fault is not None:
            tally.errors += 1
        if (usage := stage.usage) is not None:
            tally.prompt_tokens += usage.prompt_tokens
            tally.completion_tokens += usage.completion_tokens
            if usage.cost is not None:
                tally.cost = (tally.cost or 0.0) + usage.cost


@dataclass(frozen=True, slots=True)
class _Second:
    """One sample. `whole` is what everybody together did, encoded."""

    at: int
    tallies: Mapping[str, Tally]
    whole: bytes
    live: Mapping[str, int]


class LiveStats:
    """The samples of one server. `take` adds one; to be called once a second."""

    def __init__(
        self,
        runs: LiveRuns,
        replicas: Callable[[], Iterable[ReplicaState]],
        queues: Callable[[], Iterable[tuple[str, int]]],
    ) -> None:
        """`replicas` and `queues`, with how many wait for each model, are asked at each sample."""
        self._runs = runs
        self._replicas = replicas
        self._queues = queues
        self._seconds: deque[_Second] = deque(maxlen=SECONDS)
        self.count = 0
        """How many samples were taken so far."""
        self._state = b""
        self._frames: dict[str | None, bytes] = {}

    def take(self, now: float) -> None:
        """Take the sample of the second that ends `now`, in seconds since 1970."""
        tallies: dict[str, Tally] = {}
        for owner, ended in self._runs.take_ended():
            tally = tallies.get(owner)
            if tally is None:
                tally = tallies[owner] = Tally()
            if isinstance(ended, LiveRun):
                tally.add_run(ended)
            else:
                tally.add_refusal(ended)
        total = Tally()
        for tally in tallies.values():
            total.add(tally)
        replicas, queues = [*self._replicas()], dict(self._queues())
        live = self._runs.live_counts()
        active = sum(replica.in_flight for replica in replicas)
        whole = _encoded(int(now), total, sum(live.values()), active_calls=active, queued=sum(queues.values()))
        self._seconds.append(_Second(int(now), tallies, whole, live))
        self._state = b',"queues":%b,"replicas":%b}' % (
            wirejson.encode(queues),
            wirejson.encode([*map(_replica, replicas)]),
        )
        self._frames.clear()
        self.count += 1

    def sample(self, owner: str | None) -> bytes:
        """Return the newest sample as `owner` sees it, encoded once.

        None sees everybody's runs, and the replicas.
        """
        if (data := self._frames.get(owner)) is None:
            newest = self._seconds[-1]
            data = newest.whole[:-1] + self._state if owner is None else _of(newest, owner)
            self._frames[owner] = data
        return data

    def history(self, owner: str | None) -> bytes:
        """Return the samples of the last fifteen minutes, oldest first, as one JSON array."""
        return b"[%b]" % b",".join(self._history(owner))

    def _history(self, owner: str | None) -> Iterator[bytes]:
        for second in self._seconds:
            yield second.whole if owner is None else _of(second, owner)


def _of(second: _Second, owner: str) -> bytes:
    return _encoded(second.at, second.tallies.get(owner, _NOTHING), second.live.get(owner, 0))


_NOTHING: Final = Tally()


def _encoded(at: int, tally: Tally, live: int, **more: int) -> bytes:
    """Return a sample as a JSON object."""
    fields: dict[str, Any] = {
        "at": at,
        "requests": tally.requests,
        "errors": sum(tally.errors.values()),
        "errors_by_code": dict(tally.errors),
        "live_runs": live,
        **more,
        "queue_wait_ms": _percentiles(tally.waits),
        "first_token_ms": _percentiles(tally.first_tokens),
        "models": {
            name: {
                "calls": model.calls,
                "errors": model.errors,
                "prompt_tokens": model.prompt_tokens,
                "completion_tokens": model.completion_tokens,
                "cost": model.cost,
            }
            for name, model in tally.models.items()
        },
    }
    return wirejson.encode(fields)


def _percentiles(secs: list[float]) -> dict[str, float] | None:
    """Return the median and the 95th percentile in milliseconds; None of nothing."""
    if not secs:
        return None
    ordered = sorted(secs)
    last = len(ordered) - 1
    return {"p50": round(ordered[last // 2] * 1000, 1), "p95": round(ordered[round(last * 0.95)] * 1000, 1)}


def _replica(replica: ReplicaState) -> dict[str, Any]:
    return {
        "model": replica.model,
        "instance_id": replica.instance_id,
        "breaker": _BREAKERS[replica.breaker],
        "active_calls": replica.in_flight,
    }
