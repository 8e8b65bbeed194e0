"""Ask upstreams what their models can do, so that lists of models say so without configuration.

Above: `service` follows its configuration, and refreshes when a list is asked for. Nothing is asked
before, no request for an answer ever waits, and a failure is a line of the log at debug. Each
address gets one GET for all its models; a second one only where the first shows a server with a
better description. Nothing costs a token.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial, reduce
from typing import Final, NamedTuple
from urllib.parse import quote

import anyio
import structlog
from anyio.to_thread import run_sync

from chorus import wirejson
from chorus.errors import LLMError, UpstreamStatus
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.pool.breaker import Breaker
from chorus.llm.providers.anthropic.address import fixed_headers, root_of
from chorus.llm.providers.model_info import (
    NOTHING,
    ModelInfo,
    decoded,
    entry_of,
    named_entry,
    read_entry,
    read_ollama,
    read_props,
)
from chorus.llm.transport.clients import Clients, Endpoint, UpstreamEndpoint
from chorus.tasks import ServerTasks
from chorus.wirejson import JSON

FIRST_WAIT_SECS: Final = 1.0
"""How long the first list of models waits for what upstreams say; later ones take what is there."""
FRESH_SECS: Final = 600.0
"""After so long an address is asked again: servers restart with other models."""
RETRY_SECS: Final = 60.0
"""The same where it did not answer."""
ASK_SECS: Final = 10.0
"""How long asking one address may take in all."""
CONNECT_SECS: Final = 5.0
_LISTING: Final = frozenset({"openai", "ollama", "responses", "anthropic"})
"""The providers whose addresses list their models."""
_NOT_FOUND: Final = 404
MAX_BYTES: Final = 8 * 1024 * 1024
"""Of one list; OpenRouter's has 1 MB."""

_log = structlog.get_logger("chorus.capabilities")


class Followed(NamedTuple):
    """A model to ask about, and the breakers of its replicas, in their order."""

    address: ModelAddress
    breakers: tuple[Breaker, ...]


class Capabilities:
    """What the upstreams of one server say of their models."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._sources: dict[_Key, _Source] = {}
        self._by_model: dict[str, list[tuple[_Source, str]]] = {}

    def follow(self, models: Iterable[Followed]) -> None:
        """Ask about these models from now on.

        What is known of an address stays until it has been asked again.
        """
        before, self._sources, self._by_model = self._sources, {}, {}
        for model in models:
            address = model.address
            if address.provider not in _LISTING:
                continue
            for replica, breaker in zip(address.replicas, model.breakers, strict=True):
                key = _key(address, replica)
                source = self._sources.get(key)
                if source is None:
                    source = self._sources[key] = _Source(address, replica, self._clients.through(address.proxy))
                    if key in before:
                        source.infos = dict(before[key].infos)
                        source.was_asked = before[key].was_asked
                name = address.model or address.name
                source.models.add(name)
                source.breakers.append(breaker)
                self._by_model.setdefault(address.name, []).append((source, name))

    async def refresh(self, models: Collection[str], tasks: ServerTasks) -> None:
        """See to it that what is known of `models` is not too old.

        Addresses are asked in the background; only those that were never asked are waited for, all
        of them `FIRST_WAIT_SECS` at most.
        """
        now = anyio.current_time()
        sources = {id(source): source for name in models for source, _ in self._by_model.get(name, ())}
        fresh: list[anyio.Event] = []
        for source in sources.values():
            if tasks.is_open and source.is_due(now):
                is_first = not source.was_asked
                done = source.begin(now)
                tasks.start(source.ask)
                if is_first:
                    fresh.append(done)
            elif source.first is not None:
                fresh.append(source.first)
        if fresh:
            with anyio.move_on_after(FIRST_WAIT_SECS):
                for done in fresh:
                    await done.wait()

    def info(self, model: str) -> ModelInfo:
        """Return what is known of a model: what holds at all its addresses that have said
        something.
        """
        infos = [source.infos[name] for source, name in self._by_model.get(model, ()) if name in source.infos]
        return reduce(ModelInfo.shared, infos) if infos else NOTHING


class _Source:
    """One address, asked about all its models at once."""

    def __init__(self, address: ModelAddress, replica: ReplicaAddress, clients: Clients) -> None:
        base = replica.api_base.rstrip("/")
        self._provider = address.provider
        api_key, headers = replica.api_key, address.headers
        if self._provider == "anthropic":
            self._root = root_of(base)
            api_key, headers = None, fixed_headers(replica.api_key, address.headers)
        else:
            self._root = base.removesuffix("/v1").removesuffix("/api").rstrip("/")
        upstream = partial(UpstreamEndpoint, clients, name=address.name, api_key=api_key, headers=headers)
        self._below_base, self._below_root = upstream(base=base), upstream(base=self._root)
        self.models: set[str] = set()
        self.breakers: list[Breaker] = []
        self.infos: dict[str, ModelInfo] = {}
        self.was_asked = False
        self.first: anyio.Event | None = None
        """Set at the end of the first time; None before and after."""
        self._due_at = 0.0
        self._openings = 0
        self._is_asking = False

    def is_due(self, now: float) -> bool:
        """Return whether to ask now: nobody has for a while, or a replica that was quarantined is
        back.
        """
        if self._is_asking or any(breaker.state(now) == "open" for breaker in self.breakers):
            return False
        return now >= self._due_at or self._openings != self._all_openings()

    def begin(self, now: float) -> anyio.Event:
        """`ask` follows. Returns what is set at its end, the first time."""
        self._is_asking = True
        self._due_at = now + RETRY_SECS
        self._openings = self._all_openings()
        done = anyio.Event()
        if not self.was_asked:
            self.first = done
        self.was_asked = True
        return done

    async def ask(self) -> None:
        """Ask, and remember what is said. Raises nothing but a cancellation."""
        try:
            with anyio.move_on_after(ASK_SECS):
                if self._provider == "anthropic":
                    await self._ask_anthropic()
                elif self._provider == "ollama":
                    await self._ask_ollama(await self._get(self._below_root.endpoint("/api/tags")))
                else:
                    await self._ask_openai()
                self._due_at = anyio.current_time() + FRESH_SECS
        except LLMError as problem:
            _log.debug("an upstream does not describe its models", upstream=self._root, reason=problem.log_message)
        finally:
            self._is_asking = False
            if self.first is not None:
                self.first.set()
                self.first = None

    async def _ask_openai(self) -> None:
        listing = await self._get(self._below_base.endpoint("/models"))
        entries = {model: entry for model in self.models if (entry := entry_of(listing, model)) is not None}
        self.infos.update({model: read_entry(entry) for model, entry in entries.items()})
        owners = {str(entry.get("owned_by")) for entry in entries.values()}
        if "llamacpp" in owners:
            props = read_props(await self._get(self._below_root.endpoint("/props")))
            self.infos.update({model: props.completed(self.infos[model]) for model in entries})
        elif "organization_owner" in owners:  # what LM Studio writes
            richer = await self._get(self._below_root.endpoint("/api/v0/models"))
            for model in entries:
                if (entry := entry_of(richer, model)) is not None:
                    self.infos[model] = read_entry(entry).completed(self.infos[model])
        elif "library" in owners:  # what Ollama writes
            await self._ask_ollama(listing)

    async def _ask_anthropic(self) -> None:
        """Ask about each model; one that is not there says nothing of the others."""
        for model in sorted(self.models):
            try:
                entry = await self._get(self._below_root.endpoint(f"/v1/models/{quote(model, safe='')}"))
            except UpstreamStatus as problem:
                if problem.upstream_status != _NOT_FOUND:
                    raise
                continue
            if isinstance(entry, Mapping):
                self.infos[model] = read_entry(entry)

    async def _ask_ollama(self, listing: JSON) -> None:
        """Ask about the models that are in the list: `/api/show` of one that is not there would be
        an error in its log.
        """
        for model in sorted(self.models):
            if named_entry(listing, model) is not None:
                show = self._below_root.endpoint("/api/show")
                with await show.post(wirejson.encode_upstream({"model": model}), connect_timeout=CONNECT_SECS) as reply:
                    raw = await reply.beginning(MAX_BYTES)
                self.infos[model] = read_ollama(await run_sync(decoded, raw))

    async def _get(self, endpoint: Endpoint) -> JSON:
        with await endpoint.get(connect_timeout=CONNECT_SECS) as reply:
            raw = await reply.beginning(MAX_BYTES)  # a longer list is cut, and then no JSON
        return await run_sync(decoded, raw)

    def _all_openings(self) -> int:
        return sum(breaker.openings for breaker in self.breakers)


_Key = tuple[str, str, str | None, frozenset[tuple[str, str]], str | None]


def _key(address: ModelAddress, replica: ReplicaAddress) -> _Key:
    headers: Mapping[str, str] = address.headers
    return (address.provider, replica.api_base, replica.api_key, frozenset(headers.items()), address.proxy)
