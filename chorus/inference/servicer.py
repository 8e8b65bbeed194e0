"""The service `chorus.worker.v1.Worker`: a call in, an answer out (I1, I2)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import grpc
import structlog

from chorus.errors import ChorusError, Internal, NotFound, NotSupported, Stopping
from chorus.inference.engine import Engine
from chorus.inference.metrics import Generation, Metrics
from chorus.inference.slots import Slots
from chorus.llm.base import CONNECT_SECS, NO_HEADERS, Call, context_headers
from chorus.llm.providers.worker_messages import json_object, read_request, write_chunk, write_usage
from chorus.llm.providers.worker_status import ERROR_CODE, RETRY_AFTER, status_of
from chorus.worker.v1 import inference_pb2 as pb
from chorus.worker.v1 import inference_pb2_grpc

_log = structlog.get_logger("chorus.worker")

_Context = grpc.aio.ServicerContext[Any, Any]
_MAX_DETAILS: Final = 1500
"""Bytes of a status's text: it travels in a header, where each may take three, and a client takes 8 KiB."""


class WorkerServicer(inference_pb2_grpc.WorkerServicer):
    """Answers with one engine. gRPC cancels the method when the caller leaves or its deadline passes."""

    def __init__(self, model: str, engine: Engine, slots: Slots, metrics: Metrics) -> None:
        self._model = model
        self._engine = engine
        self._slots = slots
        self._metrics = metrics
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
        """Stream an answer. Writing waits for the reader, so that a slow one holds back its own answer only."""
        async with self._answered(request, context) as request_id:
            call = Call(read_request(request), context_headers(request_id), stream=True)
            generation = Generation(self._metrics)
            async with self._slots.slot():
                generation.begin()
                try:
                    async with self._engine.upstream.open(call) as chunks:
                        async for chunk in chunks:
                            generation.take(chunk)
                            await context.write(write_chunk(chunk))
                finally:
                    generation.end()

    async def Embed(self, request: pb.EmbedRequest, context: _Context) -> pb.EmbedResponse:
        """Answer the vectors of some texts."""
        response = pb.EmbedResponse()
        async with self._answered(request, context):
            if self._engine.embedder is None:
                raise NotSupported(f"The model '{self._model}' does not embed.")
            async with self._slots.slot():
                made = await self._engine.embedder.embed(
                    list(request.inputs),
                    dimensions=request.dimensions if request.HasField("dimensions") else None,
                    headers=NO_HEADERS,
                    connect_timeout=CONNECT_SECS,
                    extra=json_object(request.openai_json, "openai_json"),
                )
            response.embeddings.extend(pb.Embedding(values=vector) for vector in made.vectors)
            response.usage.CopyFrom(write_usage(made.usage))
        return response

    @asynccontextmanager
    async def _answered(self, request: pb.GenerateRequest | pb.EmbedRequest, context: _Context) -> AsyncIterator[str]:
        """A call in this block, which gets its id: what it raises ends the call with a status, and it is counted and
        logged."""
        request_id = request.request_id[:200] or f"req_{secrets.token_hex(12)}"
        log = _log.bind(request_id=request_id, model=self._model)
        code = grpc.StatusCode.OK
        self._calls += 1
        try:
            if self._is_stopping:
                raise Stopping("The worker is stopping.")
            if request.model not in ("", self._model):
                raise NotFound(f"This worker serves '{self._model}', not '{request.model[:200]}'.")
            yield request_id
        except ChorusError as error:
            code = status_of(error)
            log.info("a call failed", code=code.name, reason=error.log_message)
            await _abort(context, code, error)
        except anyio.get_cancelled_exc_class():
            code = grpc.StatusCode.CANCELLED if _has_time(context) else grpc.StatusCode.DEADLINE_EXCEEDED
            raise
        except Exception:
            code = grpc.StatusCode.INTERNAL
            log.exception("the engine failed")
            reason = f"The engine failed; the worker's log has the reason under {request_id}."
            await _abort(context, code, Internal(), reason)
        finally:
            self._metrics.ended(code.name)
            self._calls -= 1
            if self._is_stopping and not self._calls:
                self._idle.set()


async def _abort(context: _Context, code: grpc.StatusCode, error: ChorusError, reason: str | None = None) -> None:
    """End the call with the status `code`, and what a gateway needs of `error`. Always raises."""
    metadata = [(ERROR_CODE, error.code)]
    if error.retry_after is not None:
        metadata.append((RETRY_AFTER, f"{error.retry_after:g}"))
    details = (reason or str(error)).encode("utf-8", "replace")[:_MAX_DETAILS]
    await context.abort(code, details.decode("utf-8", "ignore"), tuple(metadata))


def _has_time(context: _Context) -> bool:
    """Whether the deadline of the call has not passed; True where it has none."""
    remaining = context.time_remaining()
    return remaining is None or remaining > 0
