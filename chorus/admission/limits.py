"""Which limits a request comes under (K1), and what it is charged.

What counts is work, not requests: a workflow is charged the calls it may make and the tokens it may
use, on its caller's accounts, and gets back what it did not need.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from chorus.admission.limiter import Decision
from chorus.admission.meter import Account, Kind, Scope
from chorus.auth.principal import Principal
from chorus.events import Event, Path, StageFinished, StageStarted
from chorus.rate import Rate

_MANY: Final = 10_000
"""At so many combinations of keys, routes and plans all are forgotten: a look-up is quick."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The rates of one scope.

    Several of a kind hold together: ten a second, and a thousand a day.
    """

    requests: tuple[Rate, ...] = ()
    tokens: tuple[Rate, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.requests or self.tokens)


class Limits:
    """Every limit of a configuration. `key` holds for each key that has none of its own."""

    def __init__(
        self,
        everybody: Limit = Limit(),
        key: Limit = Limit(),
        routes: Mapping[str, Limit] | None = None,
        models: Mapping[str, Limit] | None = None,
    ) -> None:
        self._everybody = everybody
        self._key = key
        self._routes = routes or {}
        self._models = models or {}
        self._are_any = bool(everybody or key or routes or models)
        self._known: dict[object, Sequence[Account]] = {}

    def concern(self, caller: Principal) -> bool:
        """Return whether there is anything to charge; a key may bring limits of its own."""
        key = caller.key
        return self._are_any or (key is not None and bool(key.requests or key.tokens))

    def accounts(self, caller: Principal, plan: str, models: Iterable[str]) -> Sequence[Account]:
        """Return the accounts that a request to `plan` comes under, which asks `models`."""
        key = caller.key
        known_as = (caller.route, plan, (key.id, key.requests, key.tokens) if key is not None else None)
        accounts = self._known.get(known_as)
        if accounts is None:
            if len(self._known) >= _MANY:
                self._known.clear()
            accounts = self._known[known_as] = tuple(self._accounts(caller, models))
        return accounts

    def _accounts(self, caller: Principal, models: Iterable[str]) -> Iterator[Account]:
        yield from _of("server", "", "this server", self._everybody)
        if caller.key is not None:
            own = Limit(caller.key.request_rates, caller.key.token_rates) or self._key
            yield from _of("key", caller.key.id, "this key", own)
        if caller.route in self._routes:
            yield from _of("route", caller.route, caller.route, self._routes[caller.route])
        for model in models:
            if model in self._models:
                yield from _of("model", model, f"the model '{model}'", self._models[model], model)


def _of(scope: Scope, name: str, whose: str, limit: Limit, model: str | None = None) -> Iterator[Account]:
    kinds: tuple[tuple[Kind, Sequence[Rate]], ...] = (("requests", limit.requests), ("tokens", limit.tokens))
    for kind, rates in kinds:
        for rate in rates:
            yield Account(f"{scope}:{name}:{kind}:{rate}", scope, whose, kind, rate, model)


def costs_of(accounts: Sequence[Account], calls: Mapping[str, int], tokens: Mapping[str, int]) -> list[int]:
    """Return what so many calls of each model, and so many tokens of each, come to on each
    account.
    """
    costs = []
    for account in accounts:
        counts = calls if account.kind == "requests" else tokens
        costs.append(sum(counts.values()) if account.model is None else counts.get(account.model, 0))
    return costs


class Bill:
    """What a run was charged beforehand, and what it comes to."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self._calls: dict[str, int] = {}
        self._tokens: dict[str, int] = {}
        self._models: dict[Path, str] = {}

    def watch(self, event: Event) -> None:
        """An observer of the run: counts the calls it makes.

        Tries of one call at several replicas are one call.
        """
        if type(event) is StageStarted:
            if event.model is not None:
                self._models[event.path] = event.model
        elif type(event) is StageFinished:
            model = self._models.pop(event.path, None)
            if model is not None and event.attempts:
                self.used(model, event.usage.total_tokens if event.usage is not None else 0)

    def used(self, model: str, tokens: int) -> None:
        """One call was made, and used so many tokens."""
        self._calls[model] = self._calls.get(model, 0) + 1
        self._tokens[model] = self._tokens.get(model, 0) + tokens

    async def settle(self) -> None:
        """Give back what was not needed, or charge what was used beyond it."""
        await self._decision.settle(costs_of(self._decision.accounts, self._calls, self._tokens))
