"""Spans of runs: their tree, their times, their names, and the context that goes on with calls
(O3).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from chorus import config as configuration
from chorus.auth.principal import Principal
from chorus.cancellation import CancelSignal
from chorus.errors import ChorusError
from chorus.journal import Journal
from chorus.relaying import RelayRequest
from chorus.server.api.relay.bodies import JsonBody
from chorus.service import Chorus
from chorus.snapshot import workflow_problems
from chorus.telemetry import genai
from chorus.telemetry.otel import SCOPE, recorder_of
from chorus.telemetry.span_recorder import SdkSpans
from chorus.telemetry.spans import SpanTracing
from chorus.telemetry.tracing import NO_TRACING, tracing_of
from chorus.types import ChatRequest, Message
from tests.kit import Hang, Say, ScriptedUpstream, Status

pytestmark = pytest.mark.requirement("O3")

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "tracestate": "vendor=1"}
PANEL = """
[[model]]
name = "first"
api_base = "{base}"
max_concurrency = 1
price = {{ input = 1, output = 2 }}

[[model]]
name = "second"
api_base = "{base}"
retries = 2

[[model]]
name = "judge"
provider = "demo"
model = "demo-judge"

[workflow-integration]
workers = ["first", {{ name = "pair", workers = ["second", "judge"], selector = "judge" }}]
selector = "judge"
"""


class Traces:
    """Runs of a server that keeps its spans."""

    def __init__(self, upstream: ScriptedUpstream, *, captures_content: bool = False, sampled: bool = True) -> None:
        self._exporter = InMemorySpanExporter()
        spans = SdkSpans(Resource.create({}), SCOPE, [SimpleSpanProcessor(self._exporter)])
        recorder = recorder_of([spans])
        if not sampled:
            recorder = replace(recorder, sampler=ALWAYS_OFF)
        tracing = SpanTracing(recorder, captures_content=captures_content)
        text = PANEL.format(base=upstream.api_base)
        self._config = configuration.loads(text, environ={}, find_problems=workflow_problems)
        self._tracing = tracing

    async def run(self, model: str, *, trace: dict[str, str] | None = None) -> list[ReadableSpan]:
        """Ask once, and return the spans in the order of their beginnings."""
        chorus = Chorus(self._config, tracing=self._tracing)
        request = ChatRequest(model, (Message("user", "The secret question?"),))
        caller = Principal("/test", trace=trace or {})
        async with (
            chorus.serving(),
            chorus.run((request,), request_id="req_1", unique="1" * 24, streaming=True, caller=caller) as journal,
        ):
            await self._ended(journal)
        await chorus.aclose()
        return sorted(self._exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    async def relay(self) -> list[ReadableSpan]:
        """Have one request relayed, and return the spans."""
        chorus = Chorus(self._config, tracing=self._tracing)
        request = RelayRequest(
            model="first",
            path="/audio/speech",
            body=JsonBody("first", {}),
            request_id="req_1",
            unique="1" * 24,
            caller=Principal("/test", trace=PARENT),
            cancel_signal=CancelSignal(),
        )
        async with chorus.serving(), chorus.relaying.open(request) as answer:
            assert b"".join([part async for part in answer])
        await chorus.aclose()
        return list(self._exporter.get_finished_spans())

    async def _ended(self, journal: Journal) -> None:
        await journal.ended()


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as scripted:
        scripted.on("first", Say("I am first.", usage=(7, 3)))
        scripted.on("second", Say("I am second."))
        yield scripted


def named(spans: Sequence[ReadableSpan], name: str) -> ReadableSpan:
    [span] = [span for span in spans if span.name == name]
    return span


def attributes_of(span: ReadableSpan) -> Mapping[str, Any]:
    assert span.attributes is not None
    return span.attributes


def parent_of(spans: Sequence[ReadableSpan], span: ReadableSpan) -> str:
    assert span.parent is not None
    return next(other.name for other in spans if other.context.span_id == span.parent.span_id)


async def test_the_tree_of_a_workflow(upstream: ScriptedUpstream) -> None:
    spans = await Traces(upstream).run("chorus")
    root = named(spans, "invoke_workflow chorus")
    spans = without_queues(spans)
    assert root.parent is None
    tree = {
        (span.name, parent_of(spans, span), attributes_of(span)["chorus.path"]) for span in spans if span is not root
    }
    assert tree == {
        ("chat first", "invoke_workflow chorus", "0"),
        ("invoke_workflow pair", "invoke_workflow chorus", "1"),
        ("chat second", "invoke_workflow pair", "1/0"),
        ("chat judge", "invoke_workflow pair", "1/1"),
        ("chat judge", "invoke_workflow pair", "1/selector"),
        ("chat judge", "invoke_workflow chorus", "selector"),
    }
    for span in spans:
        assert root.start_time <= span.start_time <= span.end_time <= root.end_time  # type: ignore[operator]
    assert named(spans, "chat first").kind is SpanKind.CLIENT
    assert root.kind is SpanKind.INTERNAL


async def test_attributes_are_those_of_the_table(upstream: ScriptedUpstream) -> None:
    spans = await Traces(upstream).run("first")
    call = named(spans, "chat first")
    assert attributes_of(call) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "first",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "server.address": "127.0.0.1",
        "server.port": upstream.port,
        "chorus.run_id": "wf_" + "1" * 24,
        "chorus.request_id": "req_1",
        "chorus.instance": f"first@127.0.0.1:{upstream.port}",
        "chorus.cost": pytest.approx(13e-6),
    }
    assert [event.name for event in call.events] == ["first_token"]
    names = {name for span in spans for name in attributes_of(span)}
    assert all(name in genai.PUBLISHED or name.startswith("chorus.") for name in names)


async def test_the_callers_trace_goes_on_to_the_upstream(upstream: ScriptedUpstream) -> None:
    spans = await Traces(upstream).run("first", trace=PARENT)
    assert {f"{span.context.trace_id:032x}" for span in spans} == {TRACE}
    call = named(spans, "chat first")
    headers = upstream.requests[0].headers
    assert headers["traceparent"] == f"00-{TRACE}-{call.context.span_id:016x}-01"
    assert headers["tracestate"] == "vendor=1"
    assert call.parent is not None
    assert call.parent.span_id == 0xB7AD6B7169203331


async def test_a_relayed_request_has_the_name_of_what_it_asks_for(upstream: ScriptedUpstream) -> None:
    usage = {"input_tokens": 3, "output_tokens": 9}
    upstream.on("/v1/audio/speech", Status(200, {"usage": usage}))
    (span,) = without_queues(await Traces(upstream).relay())
    attributes = attributes_of(span)
    assert (span.name, span.kind) == ("audio/speech first", SpanKind.CLIENT)
    assert attributes[genai.OPERATION] == "audio/speech"
    assert (attributes[genai.INPUT_TOKENS], attributes[genai.OUTPUT_TOKENS]) == (3, 9)
    assert span.context is not None
    sent = upstream.requests[-1].headers["traceparent"]
    assert sent == f"00-{TRACE}-{span.context.span_id:016x}-01"


async def test_a_call_that_is_tried_again_and_one_that_fails(upstream: ScriptedUpstream) -> None:
    upstream.on("second", Status(500), Status(500), Say("At last."))
    call = named(await Traces(upstream).run("second"), "chat second")
    assert [event.name for event in call.events] == ["attempt", "attempt", "attempt", "first_token"]
    times = [event.timestamp for event in call.events]
    assert times == sorted(times)
    upstream.on("second", Status(400, {"error": {"message": "no such thing"}}))
    spans = await Traces(upstream).run("second")
    for span in spans:
        assert span.status.status_code is StatusCode.ERROR
        assert attributes_of(span)["error.type"]


async def test_a_stage_that_is_cut_off_ends(upstream: ScriptedUpstream) -> None:
    upstream.on("second", Hang("body"))
    traces = Traces(upstream)
    chorus = Chorus(traces._config, tracing=traces._tracing)
    request = ChatRequest("second", (Message("user", "Who?"),))
    async with chorus.serving(), chorus.run((request,), request_id="r", unique="2" * 24, streaming=True):
        await upstream.wait_requests(1)
    await chorus.aclose()
    spans = traces._exporter.get_finished_spans()
    assert {span.name for span in without_queues(spans)} == {"chat second"}


@pytest.mark.parametrize("captures", [False, True])
async def test_texts_are_captured_only_where_they_are_asked_for(upstream: ScriptedUpstream, captures: bool) -> None:
    spans = await Traces(upstream, captures_content=captures).run("first")
    shown = str([dict(attributes_of(span)) for span in spans])
    assert ("The secret question?" in shown) is captures
    assert ("I am first." in shown) is captures


async def test_what_is_not_sampled_is_carried_on(upstream: ScriptedUpstream) -> None:
    assert await Traces(upstream, sampled=False).run("first") == []
    flags = int(upstream.requests[0].headers["traceparent"].rpartition("-")[2], 16)
    assert not flags & 1


async def test_without_tracing_no_header_is_sent(upstream: ScriptedUpstream) -> None:
    traces = Traces(upstream)
    traces._tracing = NO_TRACING  # type: ignore[assignment]
    await traces.run("first", trace=PARENT)
    assert "traceparent" not in upstream.requests[0].headers


@pytest.mark.parametrize(
    ("environ", "is_on"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
async def test_the_environment_says_whether_there_are_traces(environ: dict[str, str], is_on: bool) -> None:
    tracing = tracing_of(environ, "chorus")
    assert (tracing is not NO_TRACING) is is_on
    await tracing.aclose()


def test_an_exporter_that_is_not_there_is_named() -> None:
    with pytest.raises(ChorusError, match="'otlp_proto_grpc' is not installed"):
        tracing_of({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "chorus")


def test_upstreams_have_the_conventions_names() -> None:
    assert genai.endpoint_attributes("openai", "https://api.deepseek.com/v1") == {
        "gen_ai.provider.name": "deepseek",
        "server.address": "api.deepseek.com",
        "server.port": 443,
    }
    assert (
        genai.endpoint_attributes("openai", "https://x.openai.azure.com")["gen_ai.provider.name"] == "azure.ai.openai"
    )
    assert genai.endpoint_attributes("grpc", "grpc://worker:50051")["server.port"] == 50051
    assert genai.endpoint_attributes("demo", None) == {"gen_ai.provider.name": "demo"}


def without_queues(spans: Iterable[ReadableSpan]) -> list[ReadableSpan]:
    """The spans but for waits: on a busy machine a call waits for its turn, too."""
    return [span for span in spans if span.name != "queue"]
