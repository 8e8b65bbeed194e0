"""A scripted LLM upstream on a real socket, for tests and benchmarks.

    async with ScriptedUpstream() as up:
        up.on("glm", Status(503), Say("hello world"))     # first call fails, later ones answer
        ...                                               # point the code under test at up.api_base
        await up.wait_idle()
        assert up.calls("glm")[0].headers["authorization"] == "Bearer secret"

`ScriptedUpstream.in_thread()` serves from a thread of its own, and `python -m tests.kit --port N`
from a process, where the model's name says how to behave (`conventions.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from . import conventions
from .changes import Changes
from .connection import Connection, Exchange
from .perform import JSON_TYPE, perform, whole
from .record import Recorded
from .render import OpenAIChat, dialect_of, model_list, tag_list
from .script import Behaviour, Step

PATIENCE_SECS = 30.0
"""What a busy machine may take to let a request arrive."""
STOP_SECS = 10.0
"""The same for the end of one that was given up."""


class ScriptedUpstream:
    """An upstream that does what the test says, and remembers what it was asked.

    Attributes: `base`, `api_base` (base + "/v1"), `requests` (in order of arrival),
    `connections_opened`, `open_connections`, `in_flight`, `max_in_flight`.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        default: Callable[[Recorded], Behaviour] | None = None,
        keep_requests: bool = True,
    ) -> None:
        """`default` answers for models without a script; `answer of <model>` when not given.

        `keep_requests=False` for load: a benchmark's requests would fill the memory.
        """
        self.requests: list[Recorded] = []
        self.connections_opened = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self._port = port
        self._default = default or conventions.plain_answer
        self._scripts: dict[str, list[Step]] = {}
        self._connections: set[Connection] = set()
        self._changes = Changes()
        self._server: asyncio.Server | None = None
        self._script_errors: list[Exception] = []
        self._keeps_requests = keep_requests

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def api_base(self) -> str:
        return f"{self.base}/v1"

    @property
    def port(self) -> int:
        return self._port

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    # --- scripting

    def on(self, model: str, *steps: Step) -> Self:
        """From now on `model` does these in turn; the last repeats.

        A step is a behaviour, or a callable that is given the request and answers one. A name that
        starts with "/" is a path: `up.on("/v1/models", Status(500))`.
        """
        assert steps, "a script needs at least one step"
        self._scripts[model] = list(steps)
        return self

    def calls(self, model: str) -> list[Recorded]:
        """The requests that named `model`."""
        return [request for request in list(self.requests) if request.model == model]

    def forget(self) -> None:
        """Drop the recorded requests and the maxima, not the scripts."""
        self.requests.clear()
        self.max_in_flight = self.in_flight

    # --- waiting (from any loop; the `_blocking` ones for threads without a loop)

    async def wait_requests(self, count: int, *, model: str | None = None, timeout: float = PATIENCE_SECS) -> None:
        """Wait until `count` requests (for `model`) have arrived."""
        await self._changes.until(lambda: self._arrived(model) >= count, timeout, self._tell)

    def wait_requests_blocking(self, count: int, *, model: str | None = None, timeout: float = PATIENCE_SECS) -> None:
        """`wait_requests` for a thread without a loop."""
        self._changes.until_blocking(lambda: self._arrived(model) >= count, timeout, self._tell)

    async def wait_idle(self, timeout: float = STOP_SECS) -> None:
        """Wait until every exchange is over and the sockets of the cancelled ones are closed."""
        await self._changes.until(self._is_idle, timeout, self._tell)

    def wait_idle_blocking(self, timeout: float = STOP_SECS) -> None:
        """`wait_idle` for a thread without a loop."""
        self._changes.until_blocking(self._is_idle, timeout, self._tell)

    async def wait_closed(self, timeout: float = STOP_SECS) -> None:
        """Wait until the client has closed all its connections, pooled ones included."""
        await self._changes.until(lambda: not self._connections, timeout, self._tell)

    # --- life

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        at = ("127.0.0.1", self._port)
        self._server = await loop.create_server(lambda: Connection(self), *at, backlog=4096)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and drop every connection."""
        assert self._server is not None
        self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await self.wait_closed()
        await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if kind is None and self._script_errors:
            raise self._script_errors[0]  # a callable of the script failed: a bug in the test

    @classmethod
    @contextlib.contextmanager
    def in_thread(cls, *, default: Callable[[Recorded], Behaviour] | None = None) -> Iterator[Self]:
        """Serve from a thread with a loop of its own."""
        upstream = cls(default=default)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="scripted-upstream", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(upstream.start(), loop).result(5)
            yield upstream
        finally:
            if upstream._server is not None:
                asyncio.run_coroutine_threadsafe(upstream.stop(), loop).result(5)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
            loop.close()

    # --- what connections tell (see connection.Handler)

    def opened(self, connection: Connection) -> int:
        self._connections.add(connection)
        self.connections_opened += 1
        self._changes.notify()
        return self.connections_opened

    def lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._changes.notify()

    def arrived(self, exchange: Exchange) -> None:
        if self._keeps_requests:
            self.requests.append(exchange.request)
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self._changes.notify()

    def over(self, exchange: Exchange) -> None:
        self.in_flight -= 1
        self._changes.notify()

    async def answer(self, exchange: Exchange) -> None:
        """Answer from the script, or as the route does by itself."""
        request = exchange.request
        try:
            behaviour = self._behaviour_for(request)
            dialect = dialect_of(request)
            if behaviour is not None:
                await perform(behaviour, exchange, dialect or OpenAIChat(request))
            else:
                await self._answer_unscripted(exchange)
        except Exception as error:
            self._script_errors.append(error)
            raise

    # --- inside

    def _behaviour_for(self, request: Recorded) -> Behaviour | None:
        script = self._scripts.get(request.path) or self._scripts.get(request.model)
        if script is None:
            return self._default(request) if dialect_of(request) is not None else None
        step = script.pop(0) if len(script) > 1 else script[0]
        return step(request) if callable(step) else step

    async def _answer_unscripted(self, exchange: Exchange) -> None:
        request = exchange.request
        names = [name for name in self._scripts if not name.startswith("/")]
        if request.path.endswith("/models"):
            await whole(exchange, 200, model_list(names), JSON_TYPE)
        elif request.path == "/api/tags":
            await whole(exchange, 200, tag_list(names), JSON_TYPE)
        elif request.path == "/api/version":
            await whole(exchange, 200, b'{"version":"0.12.0"}', JSON_TYPE)
        else:
            await whole(exchange, 404, b'{"error":{"message":"no such route"}}', JSON_TYPE)

    def _arrived(self, model: str | None) -> int:
        return len(self.requests) if model is None else len(self.calls(model))

    def _is_idle(self) -> bool:
        return self.in_flight == 0

    def _tell(self) -> str:
        unfinished = [f"{r.method} {r.path} {r.model}" for r in list(self.requests) if not r.is_over]
        return (
            f"{len(self.requests)} requests arrived, {self.in_flight} in flight {unfinished}, "
            f"{self.open_connections} connections open"
        )
