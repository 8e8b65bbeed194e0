"""The service `chorus.worker.v1.Worker`: a call in, an answer out (I1, I2)."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import anyio
import grpc
import structlog

from chorus.errors import ChorusError, Internal, NotFound, NotSupported, Stopping
from chorus.inference.engine import Engine
from chorus.inference.metrics import Generation, Metrics
from chorus.inference.slots import Slots
from chorus.llm.base import Call, context_headers
from chorus.llm.embed import EmbedCall
from chorus.llm.providers.worker_messages import json_object, read_request, write_chunk, write_usage
from chorus.llm.providers.worker_status import ERROR_CODE, RETRY_AFTER, status_of
from chorus.telemetry.tracing import NO_TRACING, PROPAGATED, TracedCall, Tracing
from chorus.worker.v1 import inference_pb2 as pb
from chorus.worker.v1 import inference_pb2_grpc

_log = structlog.get_logger("chorus.worker")

_Context = grpc.aio.ServicerContext[Any, Any]
_MAX_DETAILS: Final = 1500
"""Bytes of a status's text: in its header each may take three, and a client takes 8 KiB."""


class WorkerServicer(inference_pb2_grpc.WorkerServicer):
    """Answers with one engine.

    gRPC cancels the method when the caller leaves or its deadline passes.
    """

    def __init__(
        self, model: str, engine: Engine, slots: Slots, metrics: Metrics, tracing: Tracing = NO_TRACING
    ) -> None:
        self._model = model
        self._engine = engine
        self._slots = slots
        self._metrics = metrics
        self._tracing = tracing
        self._calls = 0
        self._idle = anyio.Event()
        """Set once the worker is stopping and no call goes on."""
        self._is_stopping = False

    def stop(self) -> None:
        """Refuse new calls from now on."""
        self._is_stopping = True
        if not self._calls:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Wait until no call goes on, after `stop`."""
        await self._idle.wait()

    async def Generate(self, request: pb.GenerateRequest, context: _Context) -> None:
        """Stream an answer.

        Writing waits for the reader, so that a slow one holds back its own answer only.
        """

        async def stream(request_id: str, traced: TracedCall) -> None:
            warnings: list[str] = []
            headers = {**context_headers(request_id), **traced.headers}
            call = Call(read_request(request), headers, stream=True, warn=warnings.append)
            generation = Generation(self._metrics)
            async with self._slots.slot():
                generation.begin()
                try:
                    async with self._engine.upstream.open(call) as chunks:
                        async for chunk in chunks:
                            generation.take(chunk)
                            if chunk.usage is not None:
                                traced.took(chunk.usage)
                            message = write_chunk(chunk)
                            if warnings:
                                message.warnings.extend(warnings)
                                warnings.clear()
                            await context.write(message)
                finally:
                    generation.end()

        await self._answer(request, context, stream)

    async def Embed(self, request: pb.EmbedRequest, context: _Context) -> pb.EmbedResponse:
        """Answer the vectors of some texts."""
        response = pb.EmbedResponse()

        async def embed(request_id: str, traced: TracedCall) -> None:
            if self._engine.embedder is None:
                raise NotSupported(f"The model '{self._model}' does not embed.")
            async with self._slots.slot():
                made = await self._engine.embedder.embed(
                    EmbedCall(
                        list(request.inputs),
                        dimensions=request.dimensions if request.HasField("dimensions") else None,
                        headers={**context_headers(request_id), **traced.headers},
                        extra=json_object(request.openai_json, "openai_json"),
                    )
                )
            response.embeddings.extend(pb.Embedding(values=vector) for vector in made.vectors)
            response.usage.CopyFrom(write_usage(made.usage))

        await self._answer(request, context, embed)
        return response

    async def _answer(
        self,
        request: pb.GenerateRequest | pb.EmbedRequest,
        context: _Context,
        work: Callable[[str, TracedCall], Awaitable[None]],
    ) -> None:
        """Do `work`, which gets the id of the call and its span.

        What it raises ends the call with a status.

        It has a task of its own: gRPC cancels by asyncio's `Task.cancel`, from which no shield of
        anyio protects what an engine does at the end of a call. A task group turns that into a
        cancellation by anyio's rules, and waits.
        """
        ending = _Ending(request.request_id[:200] or f"req_{secrets.token_hex(12)}")
        self._calls += 1
        async with anyio.create_task_group() as group:
            group.start_soon(self._work, request, context, work, ending)
        if ending.error is not None:
            await _abort(context, ending.code, ending.error)

    async def _work(
        self,
        request: pb.GenerateRequest | pb.EmbedRequest,
        context: _Context,
        work: Callable[[str, TracedCall], Awaitable[None]],
        ending: _Ending,
    ) -> None:
        """Do `work` and say in `ending` what came of it; it is counted and logged."""
        log = _log.bind(request_id=ending.request_id, model=self._model)
        traced = self._tracing.call(_trace_headers(context), self._model)
        try:
            if self._is_stopping:
                raise Stopping("The worker is stopping.")
            if request.model not in ("", self._model):
                raise NotFound(f"This worker serves '{self._model}', not '{request.model[:200]}'.")
            await work(ending.request_id, traced)
        except ChorusError as error:
            ending.code, ending.error = status_of(error), error
            log.info("a call failed", code=ending.code.name, reason=error.log_message)
        except anyio.get_cancelled_exc_class():
            ending.code = _why_cancelled(context)
            raise
        except grpc.aio.InternalError:
            # the caller has left: nothing can be written any more
            ending.code = _why_cancelled(context)
        except Exception:
            ending.code, ending.error = grpc.StatusCode.INTERNAL, _EngineFailed(ending.request_id)
            log.exception("the engine failed")
        finally:
            traced.end(ending.error)
            self._metrics.ended(ending.code.name)
            self._calls -= 1
            if self._is_stopping and not self._calls:
                self._idle.set()


class _EngineFailed(Internal):
    """A fault of the engine, of which its worker's log has the details."""

    def __init__(self, request_id: str) -> None:
        super().__init__()
        self.message = f"The engine failed; the worker's log has the reason under {request_id}."


@dataclass(slots=True)
class _Ending:
    """How a call has ended."""

    request_id: str
    code: grpc.StatusCode = grpc.StatusCode.OK
    error: ChorusError | None = None
    """The error that its caller gets."""


async def _abort(context: _Context, code: grpc.StatusCode, error: ChorusError) -> None:
    """End the call with the status `code`, and what a gateway needs of `error`. Always raises."""
    metadata = [(ERROR_CODE, error.code)]
    if error.retry_after is not None:
        metadata.append((RETRY_AFTER, f"{error.retry_after:g}"))
    details = error.message.encode("utf-8", "replace")[:_MAX_DETAILS]
    await context.abort(code, details.decode("utf-8", "ignore"), tuple(metadata))


def _trace_headers(context: _Context) -> dict[str, str]:
    """Return the headers of the caller's trace."""
    metadata = context.invocation_metadata() or ()
    return {str(name): str(value) for name, value in metadata if name in PROPAGATED}


def _why_cancelled(context: _Context) -> grpc.StatusCode:
    """Return the status of a call that has no caller any more."""
    remaining = context.time_remaining()
    is_late = remaining is not None and remaining <= 0
    return grpc.StatusCode.DEADLINE_EXCEEDED if is_late else grpc.StatusCode.CANCELLED
