"""The instances of a service in DNS, asked again when their time to live is over (D2).

SRV records name hosts and ports, as Consul and Kubernetes' headless services answer them; with a
port of the configuration A and AAAA records do. dnspython (`chorus[dns]`) asks; without it the
system's resolver does, which knows neither SRV records nor times to live.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from random import Random
from typing import TYPE_CHECKING, Final

import anyio
from anyio.to_thread import run_sync

from chorus.discovery.instance import MAX_INSTANCES, Instance, in_order
from chorus.discovery.source import Pauses, SourceError, Status
from chorus.errors import ConfigError, Problem

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver
    from dns.resolver import Answer

MIN_TTL_SECS: Final = 1.0
MAX_TTL_SECS: Final = 300.0
SYSTEM_TTL_SECS: Final = 30.0
"""Between two questions to the system's resolver, which does not say how long its answer holds."""
LOOK_SECS: Final = 5.0
EMPTY_TTL_SECS: Final = 5.0
"""The same where there is no record: a name that has none may have one soon."""

_Found = tuple[float, tuple[Instance, ...]]
"""How long an answer holds in seconds, and the instances in it."""


class DnsSource:
    """One name."""

    def __init__(
        self,
        name: str,
        *,
        port: int | None = None,
        server: str | None = None,
        keeps_names: bool = False,
        rng: Random | None = None,
    ) -> None:
        """With a `port` the addresses of `name` are the instances, without one its SRV records.
        `server` is asked instead of those of the system: `host` or `host:port`. `keeps_names`:
        hosts of SRV records stay names, since TLS certificates have those.

        Raises:
            ConfigError: that needs dnspython, which is not installed.
        """
        self._name = name
        self._port = port
        self._keeps_names = keeps_names
        self._rng = rng
        self._resolver = _resolver(server)
        if self._resolver is None and (port is None or server is not None):
            need = "SRV records need" if port is None else "a `server` needs"
            raise ConfigError([Problem("[[model]] discovery", f"{need} dnspython; install `chorus-llm[dns]`")])
        kind = "SRV records" if port is None else "addresses"
        self.description = f"dns {kind} of {name}" + (f" at {server}" if server is not None else "")

    async def watch(self, status: Status) -> AsyncIterator[tuple[Instance, ...]]:
        """See `Source.watch`."""
        pauses = Pauses(self._rng)
        known: tuple[Instance, ...] | None = None
        while True:
            try:
                ttl, instances = await self._ask()
            except SourceError as error:
                status.failed(error)
                await anyio.sleep(pauses.secs())
                continue
            pauses.reset()
            status.answered()
            has_changed, known = instances != known, instances
            if has_changed:
                yield instances
            await anyio.sleep(min(max(ttl, MIN_TTL_SECS), MAX_TTL_SECS))

    async def look(self) -> tuple[Instance, ...]:
        """See `Source.look`."""
        return (await self._ask())[1]

    async def _ask(self) -> _Found:
        try:
            with anyio.fail_after(LOOK_SECS):
                if self._resolver is None:
                    return await self._of_system()
                if self._port is None:
                    return await self._of_services(self._resolver)
                ttl, hosts = await self._hosts(self._resolver, self._name)
                return ttl, in_order(Instance(host, self._port) for host in hosts)
        except TimeoutError:
            raise SourceError(f"the DNS server does not answer for {self._name} within {LOOK_SECS:g} s") from None

    async def _of_system(self) -> _Found:
        assert self._port is not None
        missing = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
        try:
            entries = await run_sync(
                socket.getaddrinfo,
                self._name,
                self._port,
                socket.AF_UNSPEC,
                socket.SOCK_STREAM,
                abandon_on_cancel=True,
            )
        except socket.gaierror as problem:
            if problem.errno in missing:
                return SYSTEM_TTL_SECS, ()
            raise SourceError(f"the system cannot look up {self._name} ({problem.strerror})") from None
        except (OSError, UnicodeError) as problem:
            raise SourceError(f"the system cannot look up {self._name} ({problem})") from None
        return SYSTEM_TTL_SECS, in_order(Instance(str(at[0]), self._port) for *_, at in entries)

    async def _of_services(self, resolver: Resolver) -> _Found:
        """Return the instances that the SRV records with the first priority name."""
        answer = await self._records(resolver, self._name, "SRV")
        if answer is None:
            return EMPTY_TTL_SECS, ()
        records = list(answer)
        first = min(record.priority for record in records)
        ttl, instances, hosts = float(answer.ttl), list[Instance](), dict[str, list[str]]()
        for record in [record for record in records if record.priority == first][:MAX_INSTANCES]:
            target = record.target.to_text(omit_final_dot=True)
            if self._keeps_names:
                hosts[target] = [target]
            elif target not in hosts:
                hosts[target] = _additional(answer, record.target)
                if not hosts[target]:
                    host_ttl, hosts[target] = await self._hosts(resolver, target)
                    ttl = min(ttl, host_ttl)
            instances += [Instance(host, record.port, float(record.weight or 1)) for host in hosts[target]]
        return ttl, in_order(instances)

    async def _hosts(self, resolver: Resolver, name: str) -> tuple[float, list[str]]:
        """Return the addresses of `name`, of both kinds, and how long they hold."""
        ttl, hosts = MAX_TTL_SECS, list[str]()
        for kind in ("A", "AAAA"):
            answer = await self._records(resolver, name, kind)
            if answer is not None:
                ttl = min(ttl, float(answer.ttl))
                hosts += [record.address for record in answer]
        return (ttl, hosts) if hosts else (EMPTY_TTL_SECS, [])

    async def _records(self, resolver: Resolver, name: str, kind: str) -> Answer | None:
        """Return the answer to one question; None without such a name or records of the kind."""
        from dns import exception
        from dns.resolver import NXDOMAIN, LifetimeTimeout, NoAnswer, NoNameservers

        try:
            return await resolver.resolve(name, kind, search=False)
        except (NXDOMAIN, NoAnswer):
            return None
        except LifetimeTimeout:
            raise SourceError(f"the DNS server does not answer for {name}") from None
        except NoNameservers:
            raise SourceError(f"the DNS server fails for {name} (SERVFAIL, or no answer that can be read)") from None
        except (exception.DNSException, OSError) as problem:
            raise SourceError(f"DNS cannot look up {name} ({type(problem).__name__})") from None


def _resolver(server: str | None) -> Resolver | None:
    """Return who asks; None where dnspython is not installed.

    Raises:
        ConfigError: this machine names no DNS server.
    """
    try:
        from dns import asyncresolver, nameserver, resolver
    except ImportError:
        return None
    if server is None:
        try:
            made = asyncresolver.Resolver()
        except resolver.NoResolverConfiguration:
            raise ConfigError([Problem("[[model]] discovery", "this machine names no DNS server")]) from None
    else:
        host, _, port = server.rpartition(":") if server.count(":") == 1 else (server, "", "53")
        made = asyncresolver.Resolver(configure=False)
        made.nameservers = [nameserver.Do53Nameserver(host, int(port))]
    made.lifetime, made.timeout = LOOK_SECS - 0.5, 1.5
    return made


def _additional(answer: Answer, target: object) -> list[str]:
    """Return the addresses of `target` that came with an answer."""
    return [
        record.address
        for records in answer.response.additional
        if records.name == target
        for record in records
        if hasattr(record, "address")
    ]
