"""Clients of an inference worker that are not ours: gRPC's reflection client, a health probe, and
one made from the proto in another language (I1).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.clients import environments
from tests.kit.worker_process import WorkerProcess

pytestmark = pytest.mark.requirement("I1")
PROTOS = Path(__file__).resolve().parents[2] / "proto"
SERVICE = "chorus.worker.v1.Worker"


@pytest.fixture(scope="module")
def worker() -> Iterator[WorkerProcess]:
    with WorkerProcess("m", delay_secs=0.005) as process:
        yield process


@pytest.fixture
def channel(worker: WorkerProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{worker.port}") as channel:
        yield channel


def test_a_client_that_knows_no_proto_asks_by_reflection(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert set(database.get_services()) >= {SERVICE, "grpc.health.v1.Health"}
    pool = descriptor_pool.DescriptorPool(database)
    method = pool.FindServiceByName(SERVICE).FindMethodByName("Generate")
    assert method.server_streaming
    request = message_factory.GetMessageClass(method.input_type)
    response: Any = message_factory.GetMessageClass(method.output_type)
    call = channel.unary_stream(
        f"/{SERVICE}/Generate", request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )
    asked = json_format.ParseDict({"prompt": "hello there"}, request())
    answers = [json_format.MessageToDict(answer) for answer in call(asked, timeout=10)]
    assert "".join(answer.get("text", "") for answer in answers) == "hello there"
    assert answers[-1]["finishReason"] == "FINISH_REASON_STOP"


@pytest.mark.parametrize("service", ["", "m", SERVICE])
def test_a_probe_sees_the_worker_and_its_model(channel: grpc.Channel, service: str) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    response = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
    assert response.status == health_pb2.HealthCheckResponse.SERVING


def test_a_probe_of_another_model_finds_none(channel: grpc.Channel) -> None:
    health: Any = health_pb2_grpc.HealthStub(channel)
    with pytest.raises(grpc.RpcError) as raised:
        health.Check(health_pb2.HealthCheckRequest(service="another"), timeout=5)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_client_made_from_the_proto_in_another_language(worker: WorkerProcess) -> None:
    command = environments.node_grpc()
    if command is None:
        pytest.skip("Node is not on this machine")
    command += [str(PROTOS), f"127.0.0.1:{worker.port}", "m"]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    seen = json.loads(ran.stdout)
    assert seen["answer"]["texts"] == ["hello", " there,", " 世界"]
    assert (seen["answer"]["finish"], seen["answer"]["code"]) == ("FINISH_REASON_STOP", 0)
    assert int(seen["answer"]["usage"]["completion_tokens"]["low"]) == 3
    assert (seen["short"]["texts"], seen["short"]["finish"]) == (["one", " two"], "FINISH_REASON_LENGTH")
    code = grpc.StatusCode
    codes = [seen["cancelled"], seen["late"], seen["other"]["code"], seen["empty"]["code"], seen["embedded"]]
    assert codes == [
        each.value[0]
        for each in (code.CANCELLED, code.DEADLINE_EXCEEDED, code.NOT_FOUND, code.INVALID_ARGUMENT, code.UNIMPLEMENTED)
    ]
    assert "serves 'm'" in seen["other"]["details"]
