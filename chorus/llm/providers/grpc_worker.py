"""The provider `grpc`: a Chorus inference worker (I1)."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

import anyio
import grpc
import structlog
from anyio.lowlevel import checkpoint
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chorus import wirejson
from chorus.errors import ConfigError, InvalidRequest, LLMError, Problem, UnsupportedFeature, UpstreamConnect
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Call, Chunk
from chorus.llm.counts import PromptEstimate
from chorus.llm.embed import EmbedCall, Embeddings
from chorus.llm.provider import Provider
from chorus.llm.providers.echo import without_prompt
from chorus.llm.providers.fields import overlaid
from chorus.llm.providers.fitted_request import ExtraBody, fitted
from chorus.llm.providers.traits import Traits
from chorus.llm.providers.worker_answers import MAX_AFTER_FINISH, AnswerReader, read_embeddings
from chorus.llm.providers.worker_messages import write_request
from chorus.llm.providers.worker_status import Progress, error_of
from chorus.llm.transport.clients import WATCHED, Clients
from chorus.llm.transport.grpc_channels import channel_to, connected, metadata_of
from chorus.worker.v1 import inference_pb2 as pb
from chorus.worker.v1 import inference_pb2_grpc

LINGER_SECS: Final = 5.0
"""How long a stream may go on after its finish reason."""
_REQUEST_ID: Final = "x-request-id"
_SERVING: Final = health_pb2.HealthCheckResponse.SERVING

_log = structlog.get_logger("chorus.llm")

_Rpc = grpc.aio.UnaryStreamCall[pb.GenerateRequest, pb.GenerateResponse]
_Metadata = tuple[tuple[str, str], ...]


def provider(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """Return the model `address` of the worker at one address.

    Raises:
        ConfigError: the model has a proxy, or an `extra_body` that the worker's wire cannot hold.
    """
    where = f'[[model]] "{address.name}"'
    if address.proxy is not None and address.proxy.strip().lower() != "none":
        raise ConfigError(
            [Problem(f"{where} proxy", 'a worker is reached without a proxy; expected "none", or nothing')]
        )
    upstream = GrpcUpstream(clients, address, at, ExtraBody(address.extra_body, where))
    return Provider(upstream.instance_id, upstream, upstream, check=upstream.check)


class GrpcUpstream:
    """One model of one worker."""

    def __init__(self, clients: Clients, address: ModelAddress, at: ReplicaAddress, extra_body: ExtraBody) -> None:
        self._clients = clients
        self._api_base = at.api_base
        self._extra_body = extra_body
        self._raw_extra_body = address.extra_body
        self._traits = Traits(system=address.settings.system or "first", omit=address.settings.omit)
        self._metadata, left_out = metadata_of(
            {**({"authorization": f"Bearer {at.api_key}"} if at.api_key else {}), **address.headers}
        )
        if left_out:
            _log.warning("headers that gRPC cannot send are left out", model=address.name, headers=sorted(left_out))
        self.name = address.name
        self.model = address.model or address.name
        self.instance_id = f"{address.name}@{at.api_base.split('://')[-1]}"

    def open(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """See `Upstream.open`."""
        return _Opened(self, call)

    def written(self, call: Call) -> pb.GenerateRequest:
        """Return the message that asks `call`.

        Raises:
            InvalidRequest: the worker's wire has no place for something in it.
        """
        request = fitted(call.request, self._traits, self._extra_body, call.warn)
        try:
            return write_request(request, self.model, call.headers.get(_REQUEST_ID, ""))
        except UnicodeEncodeError:
            raise InvalidRequest("The request holds half of a character, which has no UTF-8.") from None
        except ValueError as problem:
            raise UnsupportedFeature(f"An inference worker does not take this request: {problem}.") from None

    async def channel(self, connect_timeout: float) -> tuple[grpc.aio.Channel, Progress]:
        """Return the channel to the worker, and whether it is connected.

        A call at one that is not fails with the reason.

        Raises:
            UpstreamConnect: it is not connected in time.
        """
        try:
            channel = channel_to(self._clients, self._api_base)
            is_connected = await connected(channel, connect_timeout)
        except TimeoutError:
            raise UpstreamConnect(
                f"Upstream '{self.name}' cannot be reached (no connection within {connect_timeout:g} s)"
            ) from None
        # certificates that cannot be read, a channel that was closed
        except (OSError, ValueError) as problem:
            raise UpstreamConnect(f"Upstream '{self.name}' cannot be reached", detail=str(problem)) from None
        return channel, "sent" if is_connected else "unconnected"

    def metadata(self, headers: Mapping[str, str]) -> tuple[_Metadata, tuple[str, ...]]:
        """Return what is sent beside a request with `headers`, and the names of those that are left
        out.
        """
        of_call, left_out = metadata_of(headers)
        return self._metadata + of_call, left_out

    async def embed(self, call: EmbedCall) -> Embeddings:
        """See `Embedder.embed`."""
        texts = [text for text in call.inputs if isinstance(text, str)]
        if len(texts) < len(call.inputs):
            raise UnsupportedFeature("An inference worker embeds texts, not token numbers.", param="input")
        others = overlaid(call.extra, self._raw_extra_body)
        try:
            request = pb.EmbedRequest(
                request_id=call.headers.get(_REQUEST_ID, ""),
                model=self.model,
                inputs=texts,
                dimensions=call.dimensions,
                openai_json=wirejson.encode_upstream(others) if others else b"",
            )
        except ValueError as problem:
            raise UnsupportedFeature(f"An inference worker does not take this request: {problem}.") from None
        channel, progress = await self.channel(call.connect_timeout)
        deadline = anyio.current_effective_deadline()
        metadata, _ = self.metadata(call.headers)
        reply = inference_pb2_grpc.WorkerStub(channel).Embed(request, timeout=_secs_to(deadline), metadata=metadata)
        return read_embeddings(await self._answer(reply, progress, deadline), texts, self.name)

    async def check(self, connect_timeout: float) -> None:
        """Ask the worker's health service for the model (D4).

        One that has no such service is well: it answers.

        Raises:
            LLMError: it is away, or does not serve the model.
        """
        channel, progress = await self.channel(connect_timeout)
        deadline = anyio.current_effective_deadline()
        request = health_pb2.HealthCheckRequest(service=self.model)
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            call = stub.Check(request, timeout=_secs_to(deadline), metadata=self._metadata)
            response = await self._answer(call, progress, deadline)
        except LLMError as error:
            status = getattr(error, "upstream_status", None)
            if status == 404:
                raise LLMError(f"The worker of '{self.name}' does not serve the model") from None
            if status != 501:
                raise
        else:
            if response.status != _SERVING:
                raise LLMError(f"The worker of '{self.name}' is not serving")

    async def _answer(self, call: Any, progress: Progress, deadline: float) -> Any:
        """Return the one message that answers `call`."""
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            raise await self.failure(error, progress, deadline) from None
        except asyncio.CancelledError:
            self.check_cancelled(call)
            raise
        finally:
            call.cancel()

    async def failure(self, error: grpc.aio.AioRpcError, progress: Progress, deadline: float) -> LLMError:
        """Return the error of a call that has ended with `error`.

        The worker got the caller's limit as its deadline, and both pass at the same time. The
        caller's is waited for, so that the caller fails by its own limit.
        """
        code = error.code()
        if code is grpc.StatusCode.DEADLINE_EXCEEDED and deadline - anyio.current_time() < 1:
            await anyio.sleep_until(deadline)
            await checkpoint()
        return error_of(self.name, code, error.details() or "", error.trailing_metadata() or (), progress)

    def check_cancelled(self, call: grpc.aio.Call) -> None:
        """Tell a cancelled task from a call that was cancelled since its channel was closed.

        Raises:
            UpstreamConnect: nobody has cancelled the task.
        """
        task = asyncio.current_task()
        if call.cancelled() and task is not None and not task.cancelling():
            raise UpstreamConnect(f"The connection to '{self.name}' was closed") from None


class _Opened(AbstractAsyncContextManager[AsyncIterator[Chunk]]):
    """`Upstream.open`: leaving the block cancels the call, which stops the generation."""

    __slots__ = ("_call", "_progress", "_rpc", "_upstream")

    def __init__(self, upstream: GrpcUpstream, call: Call) -> None:
        self._upstream = upstream
        self._call = call
        self._rpc: _Rpc | None = None
        self._progress: Progress = "unconnected"

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        upstream, call = self._upstream, self._call
        message = upstream.written(call)
        metadata, left_out = upstream.metadata(call.headers)
        for name in left_out:
            call.warn(f"The header '{name}' is left out: gRPC cannot send it.")
        call.attempting(upstream.instance_id)
        channel, self._progress = await upstream.channel(call.connect_timeout)
        stub = inference_pb2_grpc.WorkerStub(channel)
        self._rpc = stub.Generate(message, timeout=_secs_to(call.deadline), metadata=metadata)
        request = call.request
        reader = AnswerReader(
            upstream.name, prompt_estimate=PromptEstimate(request), logprobs=request.logprobs, warn=call.warn
        )
        chunks = self._chunks(self._rpc, reader)
        is_repeated = request.echo and isinstance(request.prompt, str)
        return without_prompt(chunks, str(request.prompt)) if is_repeated else chunks

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if self._rpc is not None:
            self._rpc.cancel()

    async def _chunks(self, rpc: _Rpc, reader: AnswerReader) -> AsyncIterator[Chunk]:
        """Yield the pieces of the answer to `rpc`."""
        watch = WATCHED.get()
        read = reader.read
        try:
            async for message in rpc:
                if watch is not None:
                    watch()
                self._progress = "begun"
                if (chunk := read(message)) is not None:
                    yield chunk
                if reader.finish is not None:
                    break
            else:
                yield reader.end()
                return
        except grpc.aio.AioRpcError as error:
            raise await self._upstream.failure(error, self._progress, self._call.deadline) from None
        except asyncio.CancelledError:
            self._upstream.check_cancelled(rpc)
            raise
        for message in await self._last(rpc):
            if (chunk := read(message)) is not None:
                yield chunk
        yield reader.end()

    async def _last(self, rpc: _Rpc) -> list[pb.GenerateResponse]:
        """Return what comes within `LINGER_SECS` after the finish reason, with which the answer is
        whole.
        """
        messages: list[pb.GenerateResponse] = []
        with anyio.move_on_after(LINGER_SECS):
            try:
                async for message in rpc:
                    messages.append(message)
                    if len(messages) > MAX_AFTER_FINISH:
                        break
            except grpc.aio.AioRpcError:
                pass
        return messages


def _secs_to(deadline: float) -> float | None:
    """Return the seconds until `deadline`; None where there is none."""
    return None if deadline == math.inf else max(0.0, deadline - anyio.current_time())
