"""A worker in Consul, for as long as it serves (I4)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from chorus.discovery.agent import Agent
from chorus.errors import ConfigError, Problem

_EVERYWHERE = ("0.0.0.0", "::", "[::]", "")  # noqa: S104 - what is refused

Leave = Callable[[], Awaitable[None]]
"""Deregisters; nothing happens the second time."""


async def _nothing() -> None:
    """Do nothing: the `leave` of a worker that is not registered."""


def advertised(advertise: str | None, host: str, port: int) -> tuple[str, int]:
    """Return the host and port by which others reach a worker that listens at `host` and `port`.

    They come from `advertise`, HOST or HOST:PORT, as far as it says.

    Raises:
        ConfigError: `advertise` is neither, or missing where the worker listens at every address.
    """
    if advertise is None:
        if host in _EVERYWHERE:
            reason = f"missing; a worker that listens at {host or 'every address'} does not know where others reach it"
            raise ConfigError([Problem("advertise", reason)])
        return host.strip("[]"), port
    name, written = advertise, str(port)
    if advertise.startswith("["):
        name, _, rest = advertise[1:].partition("]")
        written = rest.removeprefix(":") or written
    elif advertise.count(":") == 1:
        name, _, written = advertise.partition(":")
    if not name or name in _EVERYWHERE or "/" in name or not written.isascii() or not written.isdigit():
        raise ConfigError([Problem("advertise", "expected HOST or HOST:PORT, as others reach the worker")])
    if not 0 < int(written) < 65536:
        raise ConfigError([Problem("advertise", "expected a port from 1 to 65535")])
    return name, int(written)


@asynccontextmanager
async def registering(agent: Agent | None, name: str, place: tuple[str, int]) -> AsyncIterator[Leave]:
    """Keep the worker of the model `name` at `place` registered while the block runs.

    Without an agent nothing happens. The value of the block deregisters; so does its end.
    """
    if agent is None:
        yield _nothing
        return
    from chorus.discovery.registration import Registration, registered  # imports httpx: 60 ms

    async with registered(agent, Registration(name, *place)) as kept:
        yield kept.leave
