"""Which limits a request comes under (K1), and what it is charged.

What counts is work, not requests: a workflow is charged the calls it may make and the tokens it may use, on its caller's
accounts, and gets back what it did not need.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chorus.admission.keys import Key
from chorus.admission.limiter import Decision
from chorus.admission.meter import Charge, Kind, Scope, Standing
from chorus.events import Event, Path, StageFinished, StageStarted
from chorus.rate import Rate


@dataclass(slots=True)
class Caller:
    """Who asks, and where; `standing` is how it stands with the limits since it was charged."""

    route: str
    key: Key | None = None
    standing: Standing | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """The rates of one scope. Several of a kind hold together: ten a second, and a thousand a day."""

    requests: tuple[Rate, ...] = ()
    tokens: tuple[Rate, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.requests or self.tokens)


@dataclass(frozen=True, slots=True)
class Load:
    """What a request takes: how many calls of each model, and how many tokens of each."""

    calls: Mapping[str, int]
    tokens: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit of a configuration. `key` holds for each key that has none of its own."""

    everybody: Limit = Limit()
    key: Limit = Limit()
    routes: Mapping[str, Limit] = field(default_factory=dict)
    models: Mapping[str, Limit] = field(default_factory=dict)

    def concern(self, caller: Caller) -> bool:
        """Whether there is anything to charge; a key may bring limits of its own."""
        key = caller.key
        return self._are_any or (key is not None and bool(key.requests or key.tokens))

    @property
    def _are_any(self) -> bool:
        return bool(self.everybody or self.key or self.routes or self.models)

    def charges(self, caller: Caller, load: Load) -> list[Charge]:
        """What `load` comes to on each account it is charged to; always the same accounts for the same caller and models."""
        calls, tokens = sum(load.calls.values()), sum(load.tokens.values())
        found = [*_charges("server", "server", "this server", self.everybody, calls, tokens)]
        if caller.key is not None:
            own = Limit(caller.key.request_rates, caller.key.token_rates) or self.key
            found += _charges("key", f"key:{caller.key.id}", "this key", own, calls, tokens)
        if caller.route in self.routes:
            limit = self.routes[caller.route]
            found += _charges("route", f"route:{caller.route}", caller.route, limit, calls, tokens)
        for model, number in load.calls.items():
            if model in self.models:
                used = load.tokens.get(model, 0)
                found += _charges("model", f"model:{model}", f"the model '{model}'", self.models[model], number, used)
        return found


def _charges(scope: Scope, account: str, whose: str, limit: Limit, calls: int, tokens: int) -> Iterator[Charge]:
    kinds: tuple[tuple[Kind, Sequence[Rate], int], ...] = (
        ("requests", limit.requests, calls),
        ("tokens", limit.tokens, tokens),
    )
    for kind, rates, cost in kinds:
        for rate in rates:
            yield Charge(f"{account}:{kind}:{rate}", scope, whose, kind, rate, cost)


class Bill:
    """What a run was charged beforehand, and what it comes to."""

    def __init__(self, limits: Limits, caller: Caller, expected: Load, decision: Decision) -> None:
        self._limits = limits
        self._caller = caller
        self._decision = decision
        self._calls = dict.fromkeys(expected.calls, 0)
        self._tokens = dict.fromkeys(expected.calls, 0)
        self._models: dict[Path, str] = {}

    def watch(self, event: Event) -> None:
        """An observer of the run: counts the calls it makes. Tries of one call at several replicas are one call."""
        if isinstance(event, StageStarted):
            if event.model is not None:
                self._models[event.path] = event.model
        elif isinstance(event, StageFinished):
            model = self._models.pop(event.path, None)
            if model is not None and event.attempts:
                self.used(model, event.usage.total_tokens if event.usage is not None else 0)

    def used(self, model: str, tokens: int) -> None:
        """One call was made, and used so many tokens."""
        self._calls[model] = self._calls.get(model, 0) + 1
        self._tokens[model] = self._tokens.get(model, 0) + tokens

    async def settle(self) -> None:
        """Give back what was not needed, or charge what was used beyond it."""
        charges = self._limits.charges(self._caller, Load(self._calls, self._tokens))
        costs = {charge.account: charge.cost for charge in charges}
        await self._decision.settle([costs[charge.account] for charge in self._decision.charges])
