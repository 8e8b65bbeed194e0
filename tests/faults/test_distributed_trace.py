"""One trace from a client over the gateway to an inference worker, exported by OTLP (O3)."""

from __future__ import annotations

import httpx
import pytest

from chorus.telemetry import genai
from tests.kit import Say, ScriptedUpstream, ServerProcess
from tests.kit.otlp import OtlpReceiver
from tests.kit.worker import WorkerProcess

pytestmark = pytest.mark.requirement("O3")

CONFIG = """
[[model]]
name = "echo"
provider = "grpc"
api_base = "{api_base}"
"""
MEMORY = """
[storage]
url = "memory:"
[memory]
model = "noter"
[[model]]
name = "glm"
api_base = "{base}/v1"
[[model]]
name = "noter"
api_base = "{base}/v1"
"""
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_client_gateway_and_worker_are_one_trace() -> None:
    with OtlpReceiver() as receiver:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with (
            WorkerProcess("--model", "echo", "--engine", "echo", "--name", "echo", env=environ) as worker,
            ServerProcess(CONFIG.format(api_base=worker.api_base), env={**environ, "CHORUS_LOG": "error"}) as server,
        ):
            answer = httpx.post(
                f"{server.base}/v1/chat/completions",
                json={"model": "echo", "messages": [{"role": "user", "content": "Hello"}]},
                headers={"traceparent": f"00-{TRACE}-{SPAN}-01"},
                timeout=30,
            )
            assert answer.status_code == 200
            spans = receiver.wait(lambda spans: len(spans) >= 2)
    by_name = {(span.service, span.name): span for span in spans}
    call = by_name["chorus", "chat echo"]
    work = by_name["chorus-worker", "chat echo"]
    assert {span.trace_id for span in spans} == {TRACE}
    assert (call.parent_id, work.parent_id) == (SPAN, call.span_id)
    assert work.attributes["gen_ai.usage.output_tokens"] > 0
    assert call.attributes["gen_ai.provider.name"] == "grpc"


def test_what_is_done_for_memory_is_in_the_trace_of_its_run() -> None:
    with OtlpReceiver() as receiver, ScriptedUpstream.in_thread() as scripted:
        scripted.on("noter", Say('{"mark": "", "notes": []}'))
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        config = MEMORY.format(base=scripted.base)
        with ServerProcess(config, env={**environ, "CHORUS_LOG": "error"}) as server:
            answer = httpx.post(
                f"{server.base}/v1/chat/completions",
                json={"model": "glm", "messages": [{"role": "user", "content": "I live in Bern."}]},
                headers={"X-User-ID": "ann"},
                timeout=30,
            )
            assert answer.status_code == 200
            spans = receiver.wait(lambda spans: len(spans) >= 3)
    assert {span.attributes.get(genai.STAGE) for span in spans} == {"recall", None, "memorize"}
    assert len({span.trace_id for span in spans}) == 1


def test_a_collector_that_is_away_harms_no_request() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    config = '[[model]]\nname = "m"\nprovider = "demo"\nmodel = "demo-abacus"\n'
    with ServerProcess(config, env={**environ, "CHORUS_LOG": "error"}) as server:
        for _ in range(5):
            body = {"model": "m", "messages": [{"role": "user", "content": "What is 6 * 7?"}]}
            assert httpx.post(f"{server.base}/v1/chat/completions", json=body, timeout=30).status_code == 200
    assert server.exit_code == 0
