"""A scripted inference worker: gRPC on a real socket, in a thread, with faults by model name.

with ScriptedWorker.in_thread() as worker:
    worker.on("m", Pieces("Hello", " there"))
    ...at worker.api_base...
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from chorus.worker.v1 import inference_pb2 as pb
from chorus.worker.v1 import inference_pb2_grpc

STOP: Mapping[str, Any] = {"finish_reason": "FINISH_REASON_STOP", "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
_SECONDS = 10.0


@dataclass(frozen=True)
class Pieces:
    """Sends `pieces`, texts or the fields of messages, then those of `last`.

    None: the stream ends without them.
    """

    pieces: Sequence[str | Mapping[str, Any]] = ()
    last: Mapping[str, Any] | None = field(default_factory=lambda: STOP)
    repeats: int = 1


@dataclass(frozen=True)
class Fails:
    """Ends with a status, after `pieces`."""

    code: grpc.StatusCode
    details: str = "the reason"
    metadata: Sequence[tuple[str, str]] = ()
    pieces: Sequence[str] = ()


@dataclass(frozen=True)
class Hangs:
    """Sends `pieces`, then nothing more until the call is cancelled."""

    pieces: Sequence[str] = ()


@dataclass(frozen=True)
class Drops:
    """Sends `pieces`, then closes every connection of the worker, which goes on with new ones."""

    pieces: Sequence[str] = ()


Step = Pieces | Fails | Hangs | Drops


@dataclass
class ReceivedCall:
    """One call as it came."""

    request: pb.GenerateRequest | pb.EmbedRequest
    metadata: dict[str, str | bytes]
    remaining: float | None
    """Seconds until its deadline."""


class ScriptedWorker(inference_pb2_grpc.WorkerServicer):
    """Does what its script says for each model, and remembers what it was asked."""

    def __init__(
        self, options: Sequence[tuple[str, Any]] = (), credentials: grpc.ServerCredentials | None = None
    ) -> None:
        self._options = (("grpc.so_reuseport", 0), *options)
        self._credentials = credentials
        self._scripts: dict[str, Step | list[list[float]]] = {}
        self._server: grpc.aio.Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.health = health.aio.HealthServicer()
        self.port = 0
        self.asked: list[ReceivedCall] = []
        self.in_flight = 0
        self.cancelled = 0
        self.written = 0
        """Messages that were handed to gRPC."""

    @property
    def api_base(self) -> str:
        return f"{'grpcs' if self._credentials else 'grpc'}://localhost:{self.port}"

    def on(self, model: str, step: Step | list[list[float]]) -> None:
        """What calls of `model` come to; vectors for its embeddings."""
        self._scripts[model] = step

    def forget(self) -> None:
        """Forget what was asked."""
        self.asked.clear()
        self.cancelled = self.written = 0

    def calls(self, model: str) -> list[ReceivedCall]:
        """What was asked of `model`."""
        return [asked for asked in self.asked if asked.request.model == model]

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> None:
        """Do what the script says."""
        self._note(request, context)
        self.in_flight += 1
        try:
            await self._answer(self._scripts[request.model], context)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1

    async def Embed(self, request: pb.EmbedRequest, context: Any) -> pb.EmbedResponse:
        """The vectors of the script, or its failure."""
        self._note(request, context)
        step = self._scripts[request.model]
        if not isinstance(step, list):
            await self._answer(step, context)
            raise AssertionError("the script has no vectors")
        return pb.EmbedResponse(embeddings=[pb.Embedding(values=vector) for vector in step], usage={"prompt_tokens": 7})

    def _note(self, request: Any, context: Any) -> None:
        self.asked.append(ReceivedCall(request, dict(tuple(context.invocation_metadata())), context.time_remaining()))

    async def _answer(self, step: Step | list[list[float]], context: Any) -> None:
        assert not isinstance(step, list)
        for _ in range(step.repeats if isinstance(step, Pieces) else 1):
            for piece in step.pieces:
                await context.write(pb.GenerateResponse(**({"text": piece} if isinstance(piece, str) else piece)))
                self.written += 1
        match step:
            case Pieces(last=last) if last is not None:
                await context.write(pb.GenerateResponse(**last))
            case Fails():
                await context.abort(step.code, step.details, tuple(step.metadata))
            case Hangs():
                await asyncio.Event().wait()
            case Drops():
                asyncio.get_running_loop().create_task(self.restart())
                await asyncio.Event().wait()

    # --- life

    async def start(self) -> None:
        """Listen; at the same port as before."""
        self._server = server = grpc.aio.server(options=self._options)
        inference_pb2_grpc.add_WorkerServicer_to_server(self, server)
        health_pb2_grpc.add_HealthServicer_to_server(self.health, server)
        address = f"localhost:{self.port}"
        if self._credentials is not None:
            self.port = server.add_secure_port(address, self._credentials)
        else:
            self.port = server.add_insecure_port(address)
        await server.start()

    async def stop(self) -> None:
        """Stop listening, and drop every call."""
        assert self._server is not None
        server, self._server = self._server, None
        await server.stop(0)

    async def restart(self) -> None:
        """Drop every connection."""
        await self.stop()
        await self.start()

    async def set_health(self, service: str, *, serving: bool) -> None:
        """What the health service says of `service`."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        await self.health.set(service, status)

    def run(self, coroutine: Any) -> Any:
        """Run `coroutine` where the worker runs, and return its result."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_SECONDS)

    @classmethod
    @contextlib.contextmanager
    def in_thread(cls, **options: Any) -> Iterator[Self]:
        """Serve from a thread with a loop of its own."""
        worker = cls(**options)
        worker._loop = loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="scripted-worker", daemon=True)
        thread.start()
        try:
            worker.run(worker.start())
            yield worker
        finally:
            if worker._server is not None:
                worker.run(worker.stop())
            loop.call_soon_threadsafe(loop.stop)
            thread.join(5)
            loop.close()
