"""The endpoints of a Consul agent that Chorus uses, over httpx.

Sources: developer.hashicorp.com/consul/api-docs, pages `features/blocking`, `health`,
`agent/service`, `agent/check` and `status`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import anyio
import httpx
import msgspec

from chorus.certificates import trusted
from chorus.discovery.agent import Agent
from chorus.discovery.instance import Instance, in_order
from chorus.discovery.source import SourceError
from chorus.errors import ChorusError, excerpt

MAX_BODY: Final = 8 * 1024 * 1024
"""Bytes of a list of instances; one of a thousand has 2 MB."""
ANSWER_SECS: Final = 5.0
"""How long an answer that waits for nothing may take."""
_CONNECT_SECS: Final = 3.0


class _Weights(msgspec.Struct):
    passing: float = msgspec.field(name="Passing", default=1)


class _Service(msgspec.Struct):
    address: str = msgspec.field(name="Address", default="")
    port: int = msgspec.field(name="Port", default=0)
    weights: _Weights | None = msgspec.field(name="Weights", default=None)


class _Node(msgspec.Struct):
    address: str = msgspec.field(name="Address", default="")


class _Entry(msgspec.Struct):
    node: _Node = msgspec.field(name="Node")
    service: _Service = msgspec.field(name="Service")


_ENTRIES: Final = msgspec.json.Decoder(list[_Entry])


class _Reply(NamedTuple):
    """A successful reply, or that something is missing (status 404)."""

    status: int
    x_index: str
    body: bytes


class Consul:
    """A client of one agent. `open()` makes one."""

    def __init__(self, agent: Agent, http: httpx.AsyncClient) -> None:
        self._agent = agent
        self._http = http

    async def instances(
        self, service: str, *, tag: str | None = None, index: int = 0, wait_secs: float = 0.0
    ) -> tuple[int, tuple[Instance, ...]]:
        """Return the instances of `service` whose checks all pass, and the index of that answer.

        With an `index` above 0 the agent waits for a change after it, `wait_secs` at most and a
        sixteenth more, and may answer without one.

        Raises:
            SourceError: there is no answer.
        """
        query: dict[str, str] = {"passing": "true"}
        secs = ANSWER_SECS
        if tag is not None:
            query["tag"] = tag
        if index > 0:
            query |= {"index": str(index), "wait": f"{wait_secs:g}s"}
            secs += wait_secs + wait_secs / 16
        reply = await self._ask("GET", f"/v1/health/service/{_part(service)}", secs, query)
        try:
            entries = _ENTRIES.decode(reply.body)
            answered = int(reply.x_index or "0")
        except ValueError:
            raise SourceError(f"Consul at {self._agent.address} sends no list of instances") from None
        places = (
            Instance(
                entry.service.address or entry.node.address,
                entry.service.port,
                entry.service.weights.passing if entry.service.weights and entry.service.weights.passing > 0 else 1.0,
            )
            for entry in entries
        )
        return answered, in_order(places)

    async def register(self, service: Mapping[str, Any]) -> None:
        """Register `service`, or again with other values. Raises SourceError."""
        await self._ask("PUT", "/v1/agent/service/register", ANSWER_SECS, content=msgspec.json.encode(service))

    async def deregister(self, service_id: str) -> None:
        """Remove a service; one that is not there is no error. Raises SourceError."""
        await self._ask("PUT", f"/v1/agent/service/deregister/{_part(service_id)}", ANSWER_SECS, missing_is_fine=True)

    async def knows(self, service_id: str) -> bool:
        """Return whether the agent has that service. Raises SourceError."""
        path = f"/v1/agent/service/{_part(service_id)}"
        return (await self._ask("GET", path, ANSWER_SECS, missing_is_fine=True)).status != 404

    async def passes(self, check_id: str) -> bool:
        """Say that the check of a time to live passes; False where the agent has none of that id.
        Raises SourceError."""
        path = f"/v1/agent/check/pass/{_part(check_id)}"
        return (await self._ask("PUT", path, ANSWER_SECS, missing_is_fine=True)).status != 404

    async def fails(self, check_id: str) -> None:
        """Say that the check of a time to live fails. Raises SourceError."""
        await self._ask("PUT", f"/v1/agent/check/fail/{_part(check_id)}", ANSWER_SECS, missing_is_fine=True)

    async def leader(self) -> str:
        """Return the address of the cluster's leader, empty where there is none.

        Raises SourceError.
        """
        reply = await self._ask("GET", "/v1/status/leader", ANSWER_SECS)
        try:
            return msgspec.json.decode(reply.body, type=str)
        except ValueError:
            raise SourceError(f"Consul at {self._agent.address} does not name its leader") from None

    async def _ask(
        self,
        method: str,
        path: str,
        secs: float,
        query: Mapping[str, str] | None = None,
        *,
        content: bytes | None = None,
        missing_is_fine: bool = False,
    ) -> _Reply:
        """Return the successful reply. `missing_is_fine`: so is one that something is missing."""
        at = self._agent.address
        params = dict(query or {})
        if self._agent.datacenter is not None and method == "GET" and path.startswith("/v1/health"):
            params["dc"] = self._agent.datacenter
        try:
            with anyio.fail_after(secs):
                async with self._http.stream(method, path, params=params, content=content) as reply:
                    body = bytearray()
                    async for part in reply.aiter_bytes():
                        body += part
                        if len(body) > MAX_BODY:
                            raise SourceError(f"Consul at {at} sends more than {MAX_BODY >> 20} MiB")
        except TimeoutError:
            raise SourceError(f"Consul at {at} does not answer within {secs:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as problem:
            why = excerpt(str(problem)) or type(problem).__name__
            raise SourceError(f"Consul at {at} cannot be reached ({why})") from None
        status, text = reply.status_code, excerpt(bytes(body[:2000]).decode(errors="replace").strip())
        if missing_is_fine and _is_missing(status, text):
            return _Reply(404, "", b"")
        if 200 <= status < 300:
            return _Reply(status, reply.headers.get("x-consul-index", ""), bytes(body))
        if status in (401, 403):
            shown = "its token" if self._agent.token else "a client without a token"
            raise SourceError(f"Consul at {at} refuses {shown} (status {status}: {text})")
        raise SourceError(f"Consul at {at} answers with status {status}: {text}")


def _is_missing(status: int, text: str) -> bool:
    """Return whether an agent's answer means that it has no such service or check.

    That is 404, and 500 before Consul 1.11.
    """
    return status == 404 or (status == 500 and text.lower().startswith(("unknown check", "unknown service", "checkid")))


def _part(name: str) -> str:
    return quote(name, safe="")


@asynccontextmanager
async def open_consul(agent: Agent) -> AsyncIterator[Consul]:
    """A client of `agent`, closed at the end of the block.

    Raises:
        SourceError: the certificates of `ca_file` cannot be read.
    """
    headers = {"x-consul-token": agent.token} if agent.token else {}
    # no proxy of the environment: an agent is on this machine or beside it
    async with httpx.AsyncClient(
        base_url=agent.address,
        headers=headers,
        verify=_verify(agent),
        timeout=httpx.Timeout(None, connect=_CONNECT_SECS),  # `_ask` bounds the whole
        limits=httpx.Limits(max_connections=4),
        trust_env=False,
    ) as http:
        yield Consul(agent, http)


def _verify(agent: Agent) -> ssl.SSLContext | bool:
    """Raises SourceError: the certificates that are to be trusted cannot be read."""
    try:
        return trusted(agent.ca_file) if agent.address.startswith("https") else False
    except ChorusError as problem:
        raise SourceError(problem.message) from None
