"""How a configured model is reached: its addresses, or who finds them, and how long it may take
(C4, C7, D2)."""

from __future__ import annotations

from chorus.config import Config, ModelConfig
from chorus.config.discovery import DiscoveryConfig
from chorus.config.timeouts import PassThroughTimeouts
from chorus.discovered import Discovered
from chorus.discovery.agent import agent_of
from chorus.discovery.instance import Instance
from chorus.discovery.source import Source
from chorus.errors import ConfigError, Problem
from chorus.llm.address import ModelAddress, ReplicaAddress, Settings
from chorus.llm.pool.pool import Pool
from chorus.llm.transport.clients import Clients
from chorus.types import Timeouts


def address_of(entry: ModelConfig) -> ModelAddress:
    """Return how a configured model is reached."""
    key = entry.api_key.get_secret_value() if entry.api_key is not None else None
    replicas = [
        ReplicaAddress(
            replica.api_base, replica.api_key.get_secret_value() if replica.api_key is not None else key, replica.weight
        )
        for replica in entry.listed
    ]
    template = entry.discovery.api_base_of(entry.provider) if entry.discovery is not None else None
    single = () if template is not None and not replicas else (ReplicaAddress(entry.api_base or "", key),)
    return ModelAddress(
        name=entry.name,
        provider=entry.provider,
        replicas=tuple(replicas) or single,
        example=Instance("localhost", 1).address(template or ""),
        model=entry.upstream_name,
        headers=entry.headers,
        extra_body=entry.extra_body,
        balance=entry.balance,
        attempts=1 + entry.retries,
        reranks="rerank" in (entry.capabilities or ()),
        health_check_secs=entry.health_check_secs,
        settings=Settings(
            entry.system, entry.max_tokens_field, frozenset(entry.omit), entry.prompt_cache, entry.api_version
        ),
        proxy=entry.proxy.get_secret_value() if entry.proxy is not None else None,
    )


def discovered_of(entry: ModelConfig, pool: Pool, clients: Clients) -> Discovered | None:
    """Return who finds the replicas of `pool`; None where the configuration names them.

    Raises:
        ConfigError: a package is missing, or the environment names an agent that cannot be one.
    """
    settings = entry.discovery
    if settings is None or settings.type == "static":
        return None
    template = settings.api_base_of(entry.provider)
    assert template is not None, "the configuration has been checked"
    key = entry.api_key.get_secret_value() if entry.api_key is not None else None
    source = _source(entry, settings, is_encrypted=template.startswith(("https://", "grpcs://")))
    return Discovered(entry.name, settings.type, source, pool, template, key, settings.grace_secs, clients.release)


def _source(entry: ModelConfig, settings: DiscoveryConfig, *, is_encrypted: bool) -> Source:
    if settings.type == "dns":
        from chorus.discovery.dns_source import DnsSource

        return DnsSource(settings.name or "", port=settings.port, server=settings.server, keeps_names=is_encrypted)
    # imports httpx, which takes 60 ms that other configurations can do without
    from chorus.discovery.consul_source import ConsulSource

    token = settings.token.get_secret_value() if settings.token is not None else None
    try:
        agent = agent_of(settings.address, token, settings.datacenter, settings.ca_file)
    except ValueError as problem:
        raise ConfigError([Problem(f'[[model]] "{entry.name}" discovery', f"CONSUL_HTTP_ADDR: {problem}")]) from None
    service = settings.service or f"llm-{entry.upstream_name}"
    return ConsulSource(agent, service, tag=settings.tag, wait_secs=settings.wait_secs)


def timeouts_of(entry: ModelConfig, config: Config) -> Timeouts:
    """Return the limits of a model's calls, in each stage and where a request names it itself."""
    times = config.workflow.timeouts_for(entry.first_base)
    patience = patience_of(entry, config)
    return Timeouts(
        times.analyzer_timeout_secs,
        times.worker_timeout_secs,
        times.selector_timeout_secs,
        times.synthesizer_timeout_secs,
        times.first_token_timeout_secs,
        times.total_timeout_secs,
        patience.first_byte_timeout_secs,
        patience.idle_timeout_secs,
        patience.first_token_timeout_secs,
    )


def patience_of(entry: ModelConfig, config: Config) -> PassThroughTimeouts:
    """Return the limits of requests that name the model themselves."""
    return config.timeouts.overridden_by(entry.timeouts)
