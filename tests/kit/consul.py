"""A Consul agent on a real socket, as far as Chorus uses one: what
developer.hashicorp.com/consul/api-docs says, and what its source does (`agent/blockingquery`), with
faults that a test asks for.

    async with FakeConsul() as consul:
        consul.add("llm-glm", "127.0.0.1", 50051)
        ...                                        # point the code under test at consul.address
        await consul.stop(); await consul.start()  # a restart that loses its state

What stands behind a path of the API, in short: `GET /v1/health/service/NAME` blocks with `index`
until the index of the service is higher or `wait` is over, and then answers what there is;
`passing` leaves out every entry of which a check, that of its node included, does not pass. A check
with `GRPC` is made for real; one with `TTL` wants to be passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from .changes import Changes

_MAX_WAIT = 600.0
_DEFAULT_WAIT = 300.0
_SERVICE_KEYS = {
    *(
        "ID",
        "Name",
        "Tags",
        "Address",
        "TaggedAddresses",
        "Meta",
        "Port",
        "Kind",
        "Proxy",
        "Connect",
        "Check",
        "Checks",
    ),
    *("EnableTagOverride", "Weights", "Namespace", "Partition", "Locality"),
}
_CHECK_KEYS = {
    *("CheckID", "Name", "Status", "Notes", "TTL", "GRPC", "GRPCUseTLS", "Interval", "Timeout"),
    "DeregisterCriticalServiceAfter",
}


@dataclass
class Service:
    """One registered instance, and its check."""

    body: dict[str, Any]
    status: str = "passing"
    critical_since: float | None = None
    checking: asyncio.Task[None] | None = None
    passed_at: float = 0.0
    modified: int = 0
    created: int = 0

    @property
    def id(self) -> str:
        return str(self.body.get("ID") or self.body["Name"])

    @property
    def check(self) -> dict[str, Any]:
        return self.body.get("Check") or {}


@dataclass
class Faults:
    """What goes wrong from now on."""

    status: int | None = None
    """Every request is answered with this status and `text`."""
    text: str = "No cluster leader"
    hangs: bool = False
    """Requests are taken and never answered."""
    empty: bool = False
    """No instance passes, whatever the checks say."""
    unchanged_at_once: bool = False
    """A blocking query returns at once, with the same index and data."""
    huge: bool = False
    """The list has no end."""
    garbage: bool = False
    """The list is no JSON."""


@dataclass
class Question:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    token: str | None
    body: Any = field(default=None)


class FakeConsul:
    """An agent that is also its own server.

    Attributes: `address`, `port`, `questions` (the last 500, in order), `faults`, `token` (without
    it in a request the answer is 403).
    """

    def __init__(
        self,
        *,
        token: str | None = None,
        node_address: str = "127.0.0.1",
        datacenter: str = "dc1",
        host: str = "127.0.0.1",
        port: int = 0,
        certificate: Path | None = None,
    ) -> None:
        """It listens at `host` and `port`.

        0 is any that is free. With a `certificate`, a file that has its key, too, it speaks TLS as
        localhost.
        """
        self._certificate = certificate
        self._host, self.port = host, port
        self.faults = Faults()
        self.token = token
        self.questions: deque[Question] = deque(maxlen=500)
        self.node_status = "passing"
        self.reap_secs = 60.0
        """The least `DeregisterCriticalServiceAfter` that holds: an agent's own is a minute."""
        self._node_address = node_address
        self._datacenter = datacenter
        self._services: dict[str, Service] = {}
        self._index = 10
        self._restored = 0
        self._of_service: dict[str, int] = {}
        self._moved = asyncio.Event()
        self._changes = Changes()
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def address(self) -> str:
        if self._certificate is not None:
            return f"https://localhost:{self.port}"
        return f"http://{self._host}:{self.port}"

    # --- what a test does

    def add(
        self,
        name: str,
        host: str,
        port: int,
        *,
        weight: int = 1,
        tags: tuple[str, ...] = (),
        status: str = "passing",
        id: str | None = None,
    ) -> str:
        """Register an instance without a check of its own; its id."""
        body = {
            "ID": id or f"{name}-{host}-{port}",
            "Name": name,
            "Address": host,
            "Port": port,
            "Tags": list(tags),
            "Weights": {"Passing": weight, "Warning": 1},
        }
        self._register(body, status)
        return str(body["ID"])

    def remove(self, service_id: str) -> None:
        """Deregister an instance."""
        service = self._services.pop(service_id)
        if service.checking is not None:
            service.checking.cancel()
        self._touch(service.body["Name"])

    def set_status(self, service_id: str, status: str) -> None:
        """Let the check of an instance have this status."""
        service = self._services[service_id]
        if service.status != status:
            service.status = status
            service.critical_since = _now() if status == "critical" else None
            self._touch(service.body["Name"])

    def touch(self, name: str) -> None:
        """Let the index move without a change of what is answered (consul#4988)."""
        self._touch(name)

    def rewind(self) -> None:
        """Let the index go backwards, as after a snapshot was restored; blocking queries return."""
        self._index = 3
        self._of_service.clear()
        self._restored += 1
        self._wake()

    def passing(self, name: str) -> list[str]:
        """The ids of the passing instances of `name`."""
        return sorted(each.id for each in self._services.values() if each.body["Name"] == name and self._passes(each))

    def registered(self, name: str) -> list[dict[str, Any]]:
        """What was sent to register the instances of `name`."""
        return [each.body for each in self._services.values() if each.body["Name"] == name]

    async def until_passing(self, name: str, count: int, timeout: float = 10.0) -> None:
        """Wait until `count` instances of `name` pass."""
        await self._changes.until(lambda: len(self.passing(name)) == count, timeout, lambda: str(self.passing(name)))

    async def until_gone(self, name: str, timeout: float = 10.0) -> None:
        """Wait until no instance of `name` is registered."""
        await self._changes.until(lambda: not self.registered(name), timeout, lambda: str(self.registered(name)))

    async def until_asked(self, count: int, path: str = "/v1/health/service/", timeout: float = 10.0) -> None:
        """Wait until `count` requests below `path` have come."""
        await self._changes.until(lambda: len(self.asked(path)) >= count, timeout, lambda: f"{self.asked(path)}")

    def asked(self, path: str = "/v1/health/service/") -> list[Question]:
        """The requests below `path`."""
        return [each for each in self.questions if each.path.startswith(path)]

    # --- life

    async def start(self) -> None:
        """Listen, at the port of before where there was one, with an empty state."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self._host, self.port))
        self.port = listener.getsockname()[1]
        settings = uvicorn.Config(
            self._app(),
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=0,
            ssl_certfile=self._certificate,
        )
        self._server = _Server(settings)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has nothing to wait for
            await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Stop as if killed: connections break off, and the state is lost."""
        assert self._server is not None
        assert self._serving is not None
        for listening in self._server.servers:  # or who asks again at once gets an empty list
            listening.close()
        for service in self._services.values():
            if service.checking is not None:
                service.checking.cancel()
        self._services.clear()
        self._of_service.clear()
        self._index = 10
        for connection in list(self._server.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        self._server.should_exit = self._server.force_exit = True
        await self._serving
        for task in list(self._server.server_state.tasks):
            task.cancel()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # --- what an agent does

    def _app(self) -> Starlette:
        table = [
            ("PUT", "/v1/agent/service/register", self._put_service),
            ("PUT", "/v1/agent/service/deregister/{id:path}", self._delete_service),
            ("GET", "/v1/agent/service/{id:path}", self._get_service),
            ("PUT", "/v1/agent/check/pass/{id:path}", self._put_check),
            ("PUT", "/v1/agent/check/fail/{id:path}", self._put_check),
            ("GET", "/v1/health/service/{name:path}", self._health),
            ("GET", "/v1/status/leader", self._leader),
        ]
        return Starlette(
            routes=[Route(path, self._guarded(handler), methods=[method]) for method, path, handler in table]
        )

    def _guarded(self, handler: Any) -> Any:
        async def answer(request: Request) -> Response:
            raw = await request.body()
            token = request.headers.get("x-consul-token")
            body = json.loads(raw) if raw else None
            self.questions.append(Question(request.method, request.url.path, dict(request.query_params), token, body))
            self._changes.notify()
            if self.faults.hangs:
                await asyncio.Event().wait()
            if self.token is not None and token != self.token:
                reason = "token with AccessorID '00000000-0000-0000-0000-000000000002' lacks permission"
                return PlainTextResponse(f"Permission denied: {reason} 'service:read'", 403)
            if self.faults.status is not None:
                return PlainTextResponse(self.faults.text, self.faults.status)
            reply: Response = await handler(request)
            return reply

        return answer

    async def _put_service(self, request: Request) -> Response:
        body = _canonical(json.loads(await request.body()), _SERVICE_KEYS)
        if not body.get("Name"):
            return PlainTextResponse("Missing service name", 400)
        if unknown := body.keys() - _SERVICE_KEYS:
            return PlainTextResponse(f"Request decode failed: unknown fields {sorted(unknown)}", 400)
        checks = [each for each in (body.get("Check"), *(body.pop("Checks", None) or ())) if each]
        if len(checks) > 1:
            return PlainTextResponse("this agent of the tests knows one check of a service", 400)
        body.pop("Check", None)
        if checks:
            body["Check"] = _canonical(checks[0], _CHECK_KEYS)
        self._register(body, (body.get("Check") or {}).get("Status", "critical" if body.get("Check") else "passing"))
        return Response()

    async def _delete_service(self, request: Request) -> Response:
        service_id = request.path_params["id"]
        if service_id not in self._services:
            return PlainTextResponse(f'Unknown service ID "{service_id}". Ensure that the service ID is passed', 404)
        self.remove(service_id)
        return Response()

    async def _get_service(self, request: Request) -> Response:
        service = self._services.get(request.path_params["id"])
        if service is None:
            return PlainTextResponse(f"unknown service ID: {request.path_params['id']}", 404)
        entry = self._service(service)
        shown = {key: entry[key] for key in ("ID", "Service", "Tags", "Meta", "Port", "Address", "Weights")}
        shown |= {"EnableTagOverride": False, "ContentHash": f"{service.modified:016x}", "Datacenter": self._datacenter}
        return JSONResponse(shown, headers={"X-Consul-ContentHash": f"{service.modified:016x}"})

    async def _put_check(self, request: Request) -> Response:
        check_id = request.path_params["id"]
        service = self._services.get(check_id.removeprefix("service:"))
        if service is None or "TTL" not in service.check:
            return PlainTextResponse(f'Unknown check ID "{check_id}". Ensure that the check ID is passed', 404)
        service.passed_at = _now()
        self.set_status(service.id, "passing" if "/pass/" in request.url.path else "critical")
        return Response()

    async def _leader(self, request: Request) -> Response:
        return JSONResponse(f"{self._node_address}:8300")

    async def _health(self, request: Request) -> Response:
        name, query = request.path_params["name"], request.query_params
        asked = int(query.get("index", "0"))
        wait = min(_secs(query.get("wait", "")) or _DEFAULT_WAIT, _MAX_WAIT)
        if asked > 0 and not self.faults.unchanged_at_once:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait + wait / 16):
                    restored = self._restored
                    while self._index_of(name) <= asked and restored == self._restored:
                        await self._moved.wait()
        services = [each for each in self._services.values() if each.body["Name"] == name]
        if (tag := query.get("tag")) is not None:
            services = [each for each in services if tag in (each.body.get("Tags") or [])]
        if "passing" in query and query["passing"] not in ("0", "false"):
            services = [each for each in services if self._passes(each) and not self.faults.empty]
        headers = {
            "X-Consul-Index": str(self._index_of(name)),
            "X-Consul-KnownLeader": "true",
            "X-Consul-LastContact": "0",
        }
        if self.faults.garbage:
            return Response("<html>a proxy in between</html>", media_type="application/json", headers=headers)
        body = json.dumps([self._entry(each) for each in services])
        if self.faults.huge:
            body = f"[{' ' * (9 * 1024 * 1024)}{body[1:]}"
        return Response(body, media_type="application/json", headers=headers)

    def _entry(self, service: Service) -> dict[str, Any]:
        node = {
            "ID": "40e4a748-2192-161a-0510-9bf59fe950b5",
            "Node": "fake",
            "Address": self._node_address,
            "Datacenter": self._datacenter,
            "TaggedAddresses": {"lan": self._node_address, "wan": self._node_address},
            "Meta": {"consul-network-segment": ""},
            "CreateIndex": 5,
            "ModifyIndex": 6,
        }
        checks = [self._check("serfHealth", "Serf Health Status", self.node_status, "", "")]
        if service.check or service.status != "passing":
            checks.append(
                self._check(
                    f"service:{service.id}",
                    f"Service '{service.body['Name']}' check",
                    service.status,
                    service.id,
                    service.body["Name"],
                )
            )
        return {"Node": node, "Service": self._service(service), "Checks": checks}

    def _service(self, service: Service) -> dict[str, Any]:
        body = service.body
        return {
            "ID": service.id,
            "Service": body["Name"],
            "Tags": body.get("Tags") or [],
            "Address": body.get("Address", ""),
            "TaggedAddresses": body.get("TaggedAddresses"),
            "Meta": body.get("Meta"),
            "Port": body.get("Port", 0),
            "Weights": body.get("Weights") or {"Passing": 1, "Warning": 1},
            "EnableTagOverride": False,
            "Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {}},
            "Connect": {},
            "PeerName": "",
            "CreateIndex": service.created,
            "ModifyIndex": service.modified,
        }

    def _check(self, check_id: str, name: str, status: str, service_id: str, service_name: str) -> dict[str, Any]:
        return {
            "Node": "fake",
            "CheckID": check_id,
            "Name": name,
            "Status": status,
            "Notes": "",
            "Output": "",
            "ServiceID": service_id,
            "ServiceName": service_name,
            "ServiceTags": [],
            "Type": "",
            "Interval": "",
            "Timeout": "",
            "ExposedPort": 0,
            "Definition": {},
            "CreateIndex": 5,
            "ModifyIndex": 6,
        }

    def _register(self, body: dict[str, Any], status: str) -> None:
        service_id = str(body.get("ID") or body["Name"])
        old = self._services.pop(service_id, None)
        if old is not None and old.checking is not None:
            old.checking.cancel()
        service = Service(body, status, passed_at=_now(), created=old.created if old is not None else self._index + 1)
        self._services[service_id] = service
        if service.check:
            service.checking = asyncio.create_task(self._keep_checking(service))
        self._touch(body["Name"])
        service.modified = self._index

    async def _keep_checking(self, service: Service) -> None:
        check = service.check
        interval = _secs(check.get("Interval") or check.get("TTL", "")) or 10.0
        gone = _secs(check.get("DeregisterCriticalServiceAfter", ""))
        while True:
            await asyncio.sleep(interval if "TTL" not in check else interval / 4)
            if "TTL" in check:
                if _now() - service.passed_at > interval:
                    self.set_status(service.id, "critical")
            elif "GRPC" in check:
                passes = await _grpc_passes(check["GRPC"], _secs(check.get("Timeout", "")) or 10.0)
                self.set_status(service.id, "passing" if passes else "critical")
            since = service.critical_since
            if gone and since is not None and _now() - since > max(gone, self.reap_secs):
                service.checking = None
                self.remove(service.id)
                return

    def _passes(self, service: Service) -> bool:
        return service.status == "passing" and self.node_status == "passing"

    def _index_of(self, name: str) -> int:
        return self._of_service.get(name, self._index)

    def _touch(self, name: str) -> None:
        self._index += 1
        self._of_service[name] = self._index
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
        self._changes.notify()


def _canonical(body: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """`body` with the keys in `known` as those are written: an agent reads keys in any case, as Go
    does (py-consul sends lower ones).
    """
    names = {name.lower(): name for name in known}
    return {names.get(key.lower(), key): value for key, value in body.items()}


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield


def _now() -> float:
    return asyncio.get_running_loop().time()


def _secs(text: str) -> float:
    """The seconds that a duration of Go means, such as `1m30s` or `500ms`; 0 for an empty one."""
    total, number = 0.0, ""
    units = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    position = 0
    while position < len(text):
        if text[position] in "0123456789.":
            number += text[position]
            position += 1
            continue
        unit = "ms" if text.startswith("ms", position) else text[position]
        total += float(number) * units[unit]
        number = ""
        position += len(unit)
    return total


async def _grpc_passes(target: str, timeout: float) -> bool:
    """Whether gRPC's health protocol says SERVING at `host:port/service`."""
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    place, _, service = target.partition("/")
    try:
        async with grpc.aio.insecure_channel(place) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            reply = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=timeout)
            return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)
    except grpc.aio.AioRpcError:
        return False
