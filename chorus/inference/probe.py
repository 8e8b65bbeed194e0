"""What a worker says of its health, for who has no client of gRPC at hand."""

from __future__ import annotations

from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_OPTIONS = (("grpc.enable_http_proxy", 0),)
"""The question is for this worker, whatever the environment says of proxies."""


def serving_status(address: str, service: str, timeout_secs: float) -> str:
    """Return what `grpc.health.v1` at `address`, HOST:PORT, says of `service`.

    The empty name is the whole worker. It is "SERVING", "NOT_SERVING", or the gRPC status where
    there is no such answer, such as "UNAVAILABLE" or "NOT_FOUND".
    """
    request = health_pb2.HealthCheckRequest(service=service)
    with grpc.insecure_channel(address, options=_OPTIONS) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(request, timeout=timeout_secs)
        except grpc.RpcError as problem:
            return str(problem.code().name)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)
