"""The provider `grpc`: a Chorus inference worker (I1)."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Final

import anyio
import grpc

from chorus.errors import InvalidRequest, UpstreamProtocol
from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Call, Chunk
from chorus.llm.provider import Provider
from chorus.llm.providers.worker_messages import read_chunk, write_request
from chorus.llm.providers.worker_status import error_of
from chorus.llm.transport.clients import WATCHED, Clients
from chorus.llm.transport.grpc_channels import channel_to
from chorus.worker.v1 import inference_pb2 as pb
from chorus.worker.v1 import inference_pb2_grpc

_REQUEST_ID: Final = "x-request-id"

_Rpc = grpc.aio.UnaryStreamCall[pb.GenerateRequest, pb.GenerateResponse]


def provider(address: ModelAddress, at: ReplicaAddress, clients: Clients) -> Provider:
    """The model `address` of the worker at one address."""
    upstream = GrpcUpstream(clients, address, at)
    return Provider(upstream.instance_id, upstream)


class GrpcUpstream:
    """One model of one worker."""

    def __init__(self, clients: Clients, address: ModelAddress, at: ReplicaAddress) -> None:
        self._clients = clients
        self._api_base = at.api_base
        self._name = address.name
        self._model = address.model or address.name
        self.instance_id = f"{address.name}@{at.api_base.split('://')[-1]}"

    def open(self, call: Call) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """See `Upstream.open`."""
        return _Opened(self, call)

    def begin(self, call: Call) -> _Rpc:
        """Send `call`."""
        stub = inference_pb2_grpc.WorkerStub(channel_to(self._clients, self._api_base))
        deadline = anyio.current_effective_deadline()
        timeout = None if deadline == math.inf else max(0.0, deadline - anyio.current_time())
        request = write_request(call.request, self._model, call.headers.get(_REQUEST_ID, ""))
        call.attempting(self.instance_id)
        rpc: _Rpc = stub.Generate(request, timeout=timeout, metadata=tuple(call.headers.items()))
        return rpc

    async def chunks(self, rpc: _Rpc) -> AsyncIterator[Chunk]:
        """The pieces of the answer to `rpc`."""
        finished = False
        watch = WATCHED.get()
        try:
            async for message in rpc:
                if watch is not None:
                    watch()
                chunk = read_chunk(message)
                finished = finished or chunk.finish_reason is not None
                yield chunk
        except grpc.aio.AioRpcError as error:
            raise error_of(self._name, error.code(), error.details() or "", error.trailing_metadata()) from None
        except InvalidRequest as error:
            raise UpstreamProtocol(f"Upstream '{self._name}' sent {error}") from None
        if not finished:
            raise UpstreamProtocol(f"Upstream '{self._name}' ended its stream without a finish reason")


class _Opened(AbstractAsyncContextManager[AsyncIterator[Chunk]]):
    """`Upstream.open`: leaving the block cancels the call, which stops the generation."""

    __slots__ = ("_call", "_rpc", "_upstream")

    def __init__(self, upstream: GrpcUpstream, call: Call) -> None:
        self._upstream = upstream
        self._call = call
        self._rpc: _Rpc | None = None

    async def __aenter__(self) -> AsyncIterator[Chunk]:
        self._rpc = self._upstream.begin(self._call)
        return self._upstream.chunks(self._rpc)

    async def __aexit__(self, kind: object, error: object, trace: object) -> None:
        if self._rpc is not None:
            self._rpc.cancel()
