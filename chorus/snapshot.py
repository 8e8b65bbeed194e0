"""A configuration ready to serve: models with their stacks, workflows with their plans (C5 to C9).

Immutable once composed: a request in flight keeps the snapshot it began with, and a reload will
swap one reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from typing import Final

from chorus.admission.batching import Batching
from chorus.admission.gate import Gate
from chorus.admission.limits import Limit, Limits
from chorus.admission.shared_gate import Leases, make_gate
from chorus.config import Config, ModelConfig, WorkflowConfig
from chorus.config.limits import LimitConfig, LimitsConfig
from chorus.config.memory import MemoryConfig
from chorus.config.prices import known_price
from chorus.discovered import Discovered
from chorus.errors import ConfigError, Problem, UnknownModel, UnsupportedFeature
from chorus.llm.embed import EmbedCall, Embedder, Embeddings
from chorus.llm.filters.embedding_batches import Work
from chorus.llm.pool.pool import Pool
from chorus.llm.pool.sessions import SharedSessions
from chorus.llm.registry import build
from chorus.llm.relay import Relay
from chorus.llm.transport.clients import Clients
from chorus.reached import address_of, discovered_of, patience_of, timeouts_of
from chorus.tasks import ServerTasks
from chorus.workflow import kinds as node_kinds
from chorus.workflow.engine import Plan
from chorus.workflow.estimate.stages import stages_of
from chorus.workflow.judging.temperature import ModelTemperature
from chorus.workflow.kinds import NodeKind
from chorus.workflow.learned_route import Learned
from chorus.workflow.model import Model, Price
from chorus.workflow.parse import parse
from chorus.workflow.plan import Flow, Leaf, Node, refs
from chorus.workflow.run import Budget

LATEST = ":latest"

_SEARCHED: Final = 200
"""A longer name is nobody's typing error. Looking for the nearest ones goes through all of it in
Python: 30 MB took minutes."""

Waited = Callable[[str, float], None]
"""Called with the name of a model and the seconds that a call waited for it."""


def _ignore(model: str, seconds: float) -> None:
    """Default of `compose`'s `waited`: nobody measures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel(Model):
    """A model of a server, with what is watched of it beside its calls."""

    pool: Pool
    gate: Gate | None
    relay: Relay | None
    """Where requests that are no chat are relayed to; None where nothing is."""
    discovered: Discovered | None
    """Who finds the replicas; None where the configuration names them."""


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """What may be noted of users, and the model that finds notes; None: nobody does. The fields are
    those of `[memory]`."""

    model: Model | None
    timeout_secs: float
    max_notes: int
    max_tokens: int
    recall_timeout_secs: float


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What can be asked: every model and workflow by the name that requests use."""

    plans: Mapping[str, Plan]
    models: Mapping[str, ServedModel]
    entries: Mapping[str, ModelConfig]
    """What `models` were made of."""
    kinds: Mapping[str, NodeKind]
    limits: Limits
    calls: Mapping[str, Mapping[str, int]]
    """By the name of a plan: how often one request calls each model, at most."""
    memory: MemorySettings

    def share_sessions(self, sessions: SharedSessions | None) -> None:
        """Let every model's sessions stay where `sessions` says."""
        for model in self.models.values():
            model.pool.shared_sessions = sessions

    def resolve(self, name: str) -> Plan:
        """The plan behind `name`; Ollama's clients append `:latest` to names without a tag.

        Raises:
            UnknownModel: there is none; it lists the nearest names to one of at most 200
            characters.
        """
        plan = self.plans.get(name) or self.plans.get(name.removesuffix(LATEST))
        if plan is None:
            nearest = get_close_matches(name, self.plans, n=3, cutoff=0.5) if len(name) <= _SEARCHED else ()
            raise UnknownModel(name, nearest)
        return plan

    def provider_of(self, name: str) -> str | None:
        """Return the provider of the model that `name` means; None of a workflow.

        Raises:
            UnknownModel: nothing has that name.
        """
        root = self.resolve(name).root
        return self.entries[root.ref].provider if isinstance(root, Leaf) else None

    def embedding_model(self, name: str) -> tuple[str, Embedder, float]:
        """Return the name of the model that `name` means, its embedder, and its limit in seconds.

        Raises:
            UnknownModel: nothing has that name.
            UnsupportedFeature: it is a workflow, or a model that does not embed.
        """
        plan = self.resolve(name)
        if not isinstance(plan.root, Leaf):
            raise UnsupportedFeature(
                f"'{plan.name}' is a workflow; embeddings come from a single model.", param="model"
            )
        model = self.models[plan.root.ref]
        if model.embedder is None:
            raise UnsupportedFeature(f"The model '{plan.name}' does not embed.", param="model")
        return model.name, model.embedder, model.timeouts.first_byte

    def relayed_model(self, name: str) -> tuple[ServedModel, Relay, float | None]:
        """Return the model that `name` means, its relay, and how many seconds a request may take.

        Raises:
            UnknownModel: nothing has that name.
            UnsupportedFeature: it is a workflow, or a model that nothing is relayed to.
        """
        plan = self.resolve(name)
        if not isinstance(plan.root, Leaf):
            raise UnsupportedFeature(f"'{plan.name}' is a workflow; this needs a single model.", param="model")
        model = self.models[plan.root.ref]
        if model.relay is None:
            raise UnsupportedFeature(f"The provider of the model '{plan.name}' has no such endpoint.", param="model")
        return model, model.relay, plan.total


def compose(
    config: Config,
    clients: Clients,
    waited: Waited = _ignore,
    tasks: ServerTasks | None = None,
    before: Snapshot | None = None,
    leases: Leases | None = None,
) -> Snapshot:
    """Build everything that `config` describes.

    `waited` gets the seconds that a call waited for its model; `tasks` are where calls for
    several callers go on, without it there are none. Models whose entries are the same as in the
    snapshot `before` are taken over with all that is known of their replicas, their queues and
    their slots. So are those of which only the list of replicas has changed, with all that is known
    of the replicas that stay; calls that go on with the snapshot `before` see the new list, too.
    `leases` are the slots of models that processes share.

    Raises:
        ConfigError: with every problem of every workflow.
    """
    kinds = node_kinds.installed()
    flows, problems = read_flows(config, kinds, frozenset(entry.name for entry in config.models))
    if problems:
        raise ConfigError(problems, source=config.source)
    tasks = tasks or ServerTasks()
    models = {
        entry.name: _kept(entry, config, before) or _model(entry, config, clients, waited, tasks, before, leases)
        for entry in config.models
    }
    if before is not None:
        models |= _with_new_replicas(config, models, before)
    total = config.workflow.timeouts.total_timeout_secs
    plans: dict[str, Plan] = {}
    for name, (settings, flow) in flows.items():
        spend = settings.budget
        plans[name] = Plan(
            name,
            flow,
            max_parallel=config.workflow.max_parallel,
            total=settings.total_timeout_secs or total,
            budget=Budget(spend.max_total_tokens, spend.max_cost) if spend is not None else None,
            progress=settings.progress,
            reports_total_usage=config.workflow.usage == "total",
            seed=settings.seed,
            description=settings.description or "",
            side_model=_side_model(config, flow),
        )
    for entry in config.models:
        own = models[entry.name].timeouts.total or patience_of(entry, config).total_timeout_secs
        plans[entry.name] = Plan(entry.name, Leaf(entry.name, entry.name), total=own)
    calls = {name: _calls(plan, models) for name, plan in plans.items()}
    entries = {entry.name: entry for entry in config.models}
    return Snapshot(plans, models, entries, kinds, _limits(config.limits), calls, _memory(config.memory, models))


def _memory(given: MemoryConfig, models: Mapping[str, Model]) -> MemorySettings:
    model = models[given.model] if given.model is not None else None
    return MemorySettings(model, given.timeout_secs, given.max_notes, given.max_tokens, given.recall_timeout_secs)


def _calls(plan: Plan, models: Mapping[str, Model]) -> Mapping[str, int]:
    calls = Counter[str]()
    for stage in stages_of(plan.root, models, 0, 0):
        calls[stage.model or stage.name] += stage.calls
    return calls


def _side_model(config: Config, flow: Flow) -> str | None:
    """The model that answers requests beside the conversation in place of a workflow.

    None where the workflow does.
    """
    if config.workflow.side_requests == "workflow":
        return None
    if config.workflow.side_model is not None:
        return config.workflow.side_model
    first: Node = flow
    while isinstance(first, Flow):
        first = first.workers[0]
    return next(refs(first))


def workflow_problems(config: Config, declared: frozenset[str]) -> list[Problem]:
    """Return the problems of the workflows of `config`, for `config.load` to report."""
    return read_flows(config, node_kinds.installed(), declared)[1]


def read_flows(
    config: Config, kinds: Mapping[str, NodeKind], declared: frozenset[str]
) -> tuple[dict[str, tuple[WorkflowConfig, Flow]], list[Problem]]:
    """Every workflow of `config` by its model id, and what is wrong with them, references to models
    that are not `declared` included (C8).
    """
    flows: dict[str, tuple[WorkflowConfig, Flow]] = {}
    problems: list[Problem] = []
    used: set[str] = set()
    for name, settings in _workflows(config):
        flow, faults = parse(
            settings.tree,
            label=name,
            place=settings.tree_place,
            depth=settings.nested_worker_depth,
            max_leaf_calls=config.workflow.max_leaf_calls,
            kinds=kinds,
        )
        problems.extend(faults)
        if flow is not None:
            flow = replace(flow, learned=_learned(settings))
            flows[name] = (settings, flow)
            used.update(refs(flow))
    undefined = sorted(used - declared)
    if undefined:
        problems.append(Problem("", f"Workflow configuration references undefined model(s): {', '.join(undefined)}"))
    if (side := config.workflow.side_model) is not None and side not in declared:
        problems.append(Problem("[workflow] side_model", "there is no [[model]] of this name"))
    if (noting := config.memory.model) is not None and noting not in declared:
        problems.append(Problem("[memory] model", "there is no [[model]] of this name"))
    problems.extend(_memory_problems(config.memory))
    for name in sorted(config.limits.models.keys() - declared):
        problems.append(Problem(f'[limits.models."{name}"]', "there is no [[model]] of this name"))
    return flows, problems


def _learned(settings: WorkflowConfig) -> Learned | None:
    """How the workers of a request are picked; None where all answer."""
    given = settings.learning
    if settings.route != "learned":
        return None
    return Learned(given.workers, given.explore, given.half_life_days)


def _memory_problems(given: MemoryConfig) -> Iterator[Problem]:
    """What is wrong with where the notes on users are."""
    places = [name for name in ("url", "command") if getattr(given, name) is not None]
    if given.provider == "mcp" and len(places) != 1:
        yield Problem("[memory] provider", '"mcp" needs either `url` or `command`')
    elif given.provider == "store" and places:
        yield Problem(f"[memory] {places[0]}", 'this needs `provider = "mcp"`')


def _limits(given: LimitsConfig) -> Limits:
    return Limits(
        _limit(given),
        _limit(given.keys),
        {route: _limit(limit) for route, limit in given.routes.items()},
        {model: _limit(limit) for model, limit in given.models.items()},
    )


def _limit(given: LimitConfig) -> Limit:
    return Limit(given.requests, given.tokens)


def _workflows(config: Config) -> Iterator[tuple[str, WorkflowConfig]]:
    if config.integration is not None:
        yield "chorus", config.integration
    for name, workflow in config.workflows.items():
        yield f"chorus/{name}", workflow


def _kept(entry: ModelConfig, config: Config, before: Snapshot | None) -> ServedModel | None:
    if before is None or before.entries.get(entry.name) != entry:
        return None
    return replace(before.models[entry.name], timeouts=timeouts_of(entry, config))


def _with_new_replicas(config: Config, models: Mapping[str, ServedModel], before: Snapshot) -> dict[str, ServedModel]:
    """Those of `models` of which only the list of replicas has changed since `before`, with their
    pools of before.

    Call it when nothing can fail any more: it changes the pools. Each new address has been used in
    `models` already, so that none of them is refused here.
    """
    updated: dict[str, ServedModel] = {}
    for entry in config.models:
        old = before.entries.get(entry.name)
        if old is None or old == entry or not old.listed or not entry.listed:
            continue
        if entry.model_copy(update={"replicas": old.replicas, "discovery": old.discovery}) == old:
            known, new = before.models[entry.name], models[entry.name]
            known.pool.update(address_of(entry).replicas)
            updated[entry.name] = replace(known, timeouts=new.timeouts, price=new.price)
    return updated


def _model(
    entry: ModelConfig,
    config: Config,
    clients: Clients,
    waited: Waited,
    tasks: ServerTasks,
    before: Snapshot | None,
    leases: Leases | None,
) -> ServedModel:
    price = entry.price or known_price(entry.upstream_name, entry.first_base)
    name = entry.name
    gate = make_gate(f"The model '{name}' is busy", entry, leases, f"model:{name}", partial(waited, name))
    reached = build(address_of(entry), clients, gate, _batches(entry, tasks))
    return ServedModel(
        name=entry.name,
        upstream=reached.upstream,
        embedder=reached.embedder,
        reranker=reached.reranker,
        pool=reached.pool,
        relay=reached.relay,
        gate=gate,
        discovered=_discovered(entry, reached.pool, clients, before),
        temperature=ModelTemperature(entry.temperature, entry.auto_temperature),
        timeouts=timeouts_of(entry, config),
        capabilities=frozenset(entry.capabilities or ()),
        price=Price(price.input, price.output, price.cached, price.cache_write) if price is not None else None,
        context_window=entry.context_window,
    )


def _discovered(entry: ModelConfig, pool: Pool, clients: Clients, before: Snapshot | None) -> Discovered | None:
    """Who finds the replicas of `entry`; with what is known of them where only something else of
    the entry has changed."""
    discovered = discovered_of(entry, pool, clients)
    old = before.entries.get(entry.name) if before is not None else None
    if discovered is None or before is None or old is None:
        return discovered
    known = before.models[entry.name].discovered
    asks_the_same = (old.discovery, old.upstream_name) == (entry.discovery, entry.upstream_name)
    if known is not None and asks_the_same:
        discovered.begin_with(known.instances)
    return discovered


def _batches(entry: ModelConfig, tasks: ServerTasks) -> Callable[[Work], Batching[EmbedCall, Embeddings]] | None:
    batch = entry.embedding_batch
    if batch is None:
        return None
    return partial(
        Batching[EmbedCall, Embeddings],
        max_size=batch.max_batch_size,
        window_secs=batch.window_ms / 1000,
        tasks=tasks,
    )
