"""Spans on OTLP's wire, as the SDK's own encoder writes them, and how they are sent (O3)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, TraceState

from chorus.errors import ChorusError
from chorus.telemetry import otlp, otlp_exporter
from chorus.telemetry.otlp_batches import OtlpBatches
from chorus.telemetry.otlp_exporter import OtlpExporter
from chorus.telemetry.span_recorder import FinishedSpan, SdkSpans, Shape, TraceContext
from tests.kit.otlp import OtlpReceiver

pytestmark = pytest.mark.requirement("O3")

RESOURCE = Resource({"service.name": "chorus", "n": 3})
SCOPES = [InstrumentationScope("chorus", "0.2.0"), InstrumentationScope("other")]

texts = st.text(max_size=300)
numbers = st.integers(-(2**63), 2**63 - 1)
values = st.one_of(
    st.booleans(),
    numbers,
    st.floats(allow_nan=False),
    texts,
    st.lists(texts, max_size=3).map(tuple),
    st.lists(numbers, max_size=3),
)
attributes = st.dictionaries(st.text(min_size=1, max_size=20), values, max_size=8)
times = st.integers(0, 2**64 - 1)
states = st.sampled_from([TraceState(), TraceState([("a", "1"), ("b", "2")])])
ids = st.integers(1, 2**64 - 1)
trace_ids = st.integers(1, 2**128 - 1)
flags = st.sampled_from([TraceFlags(0), TraceFlags(1)])
callers = st.builds(SpanContext, trace_ids, ids, st.booleans(), flags, states)
spans = st.builds(
    FinishedSpan,
    st.builds(TraceContext, trace_ids, flags, states, st.none() | callers, st.just({})),
    ids,
    st.none() | ids,
    st.builds(Shape, texts, st.sampled_from(SpanKind), attributes),
    times,
    times,
    attributes.map(lambda values: {f"own.{name}": value for name, value in values.items()}),
    st.lists(st.tuples(texts, times, attributes), max_size=3),
    st.none() | texts,
)


def written(batch: list[FinishedSpan], scope: InstrumentationScope = SCOPES[0]) -> tuple[Any, Any]:
    """The request as it is read, and the one that the SDK's encoder makes."""
    sdk = SdkSpans(RESOURCE, scope, [])
    expected = encode_spans([sdk.readable(each) for each in batch])
    return type(expected).FromString(otlp.request(RESOURCE, scope, map(otlp.encoded, batch))), expected


@given(st.lists(spans, min_size=1, max_size=4), st.sampled_from(SCOPES))
def test_a_request_is_what_the_encoder_of_the_sdk_writes(
    batch: list[FinishedSpan], scope: InstrumentationScope
) -> None:
    ours, expected = written(batch, scope)
    assert ours == expected


def test_values_that_are_equal_and_of_another_type_stay_apart() -> None:
    ours, expected = written([span({"a": 1}), span({"a": 1.0}), span({"a": True}), span({"a": [1]}), span({"a": 0})])
    assert ours == expected


def test_a_shape_that_comes_again_has_the_values_of_each_span() -> None:
    shape = Shape("chat 模型", SpanKind.CLIENT, {"gen_ai.request.model": "模型", "server.port": 8000, "t": 0.5})
    trace = TraceContext(2**127, 1, None, None, {})
    batch = [
        FinishedSpan(
            trace,
            n + 1,
            n or None,
            shape,
            n,
            n + 5,
            {"chorus.run_id": f"wf_{n}" + "é" * n, "gen_ai.usage.input_tokens": n * 99, "chorus.cost": n / 7},
            [("first_token", n + 2, {}), ("attempt", n, {"chorus.instance": f"m@{n}"})],
            "fehlgeschlagen ✗" if n % 3 == 0 else None,
        )
        for n in range(140)
    ]
    ours, expected = written(batch)
    assert ours == expected


def test_more_values_than_are_kept_come_out_as_they_are() -> None:
    batch = [
        span({"model": f"m{n % 1500}", "n": n % 1500}, own={"text": "é" * (n % 300), "n2": n}) for n in range(3000)
    ]
    ours, expected = written(batch)
    assert ours == expected


def test_captured_messages_of_any_length_are_whole() -> None:
    lengths = (0, 1, 100, 127, 128, 255, 256, 257, 16_383, 16_384, 70_000)
    ours, expected = written([span({}, own={"gen_ai.input.messages": "文" * length}) for length in lengths])
    assert ours == expected


def test_spans_arrive_with_the_headers_and_the_compression_that_are_set() -> None:
    with OtlpReceiver() as receiver:
        exporter = OtlpExporter(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"{receiver.endpoint}/",
                "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b,other=c",
                "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
            }
        )
        assert exporter.send(one({"a": "b"}), 1)
        exporter.close()
        [received] = receiver.wait(bool)
        assert received.attributes == {"a": "b"}
        [headers] = receiver.headers
        assert headers["x-key"] == "a b"
        assert headers["content-encoding"] == "gzip"
        assert headers["content-type"] == "application/x-protobuf"


@pytest.mark.parametrize(("statuses", "tries"), [((503, 429), 3), ((400,), 1), ((500,), 1), ((401,), 1)])
def test_a_collector_is_asked_again_where_that_makes_sense(
    statuses: tuple[int, ...], tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp_exporter, "_FIRST_WAIT_SECS", 0.01)
    with OtlpReceiver(*statuses) as receiver:
        exporter = OtlpExporter({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{receiver.endpoint}/v1/traces"})
        arrived = exporter.send(one({}), 1)
        exporter.close()
        assert len(receiver.headers) == tries
        assert arrived is (tries > len(statuses))


def test_a_collector_that_is_away_costs_no_more_than_the_timeout() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2"}
    exporter = OtlpExporter(environ)
    assert not exporter.send(one({}), 1)
    exporter.close()
    assert not exporter.send(one({}), 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zip"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(ChorusError, match=name):
        OtlpExporter({name: value})


class Collector:
    """Takes requests, once it is let."""

    def __init__(self) -> None:
        self.counts: list[int] = []
        self.is_let = threading.Event()
        self.arrived = threading.Semaphore(0)

    def send(self, body: bytes, spans: int) -> None:
        self.is_let.wait()
        self.counts.append(spans)
        self.arrived.release()


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.is_let.set()


def batches(collector: Collector, **environ: str) -> OtlpBatches:
    variables = {f"OTEL_BSP_{name}": value for name, value in environ.items()}
    return OtlpBatches(collector.send, RESOURCE, SCOPES[0], variables)


def test_a_full_request_leaves_at_once(collector: Collector) -> None:
    collector.is_let.set()
    taking = batches(collector, SCHEDULE_DELAY="600000", MAX_EXPORT_BATCH_SIZE="3")
    for _ in range(3):
        taking([span({})])
    assert collector.arrived.acquire(timeout=10)
    assert collector.counts == [3]
    taking.close()


def test_spans_that_fill_no_request_leave_after_a_while(collector: Collector) -> None:
    collector.is_let.set()
    taking = batches(collector, SCHEDULE_DELAY="1")
    taking([span({})])
    assert collector.arrived.acquire(timeout=10)
    assert collector.counts == [1]
    taking.close()


def test_what_waits_is_sent_at_the_end(collector: Collector) -> None:
    collector.is_let.set()
    taking = batches(collector, SCHEDULE_DELAY="600000", MAX_EXPORT_BATCH_SIZE="4")
    for _ in range(3):
        taking([span({})])
    taking.close()
    assert collector.counts == [3]
    taking([span({})])  # too late: it is lost, and nothing else
    assert collector.counts == [3]


def test_a_collector_that_hangs_loses_spans_and_holds_nobody(collector: Collector) -> None:
    taking = batches(collector, SCHEDULE_DELAY="600000", MAX_EXPORT_BATCH_SIZE="1", MAX_QUEUE_SIZE="2")
    for _ in range(10):
        taking([span({})])
    collector.is_let.set()
    taking.close()
    assert sum(collector.counts) in (2, 3)  # the one that was on its way, and those that waited


def test_long_spans_are_bounded_by_their_bytes(collector: Collector) -> None:
    taking = batches(collector, SCHEDULE_DELAY="600000")
    for _ in range(40):
        taking([span({"text": "x" * 2**20})])
    collector.is_let.set()
    taking.close()
    assert max(collector.counts) == 4
    assert sum(collector.counts) == 32


def test_a_span_that_cannot_be_encoded_loses_no_other(collector: Collector) -> None:
    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    collector.is_let.set()
    taking = batches(collector, SCHEDULE_DELAY="600000")
    taking([span({}), span({}, {"odd": Odd()}), span({})])
    taking.close()
    assert collector.counts == [2]


@pytest.mark.parametrize("value", ["0", "-1", "soon", "1.5", "9" * 30])
@pytest.mark.parametrize("name", ["SCHEDULE_DELAY", "MAX_QUEUE_SIZE", "MAX_EXPORT_BATCH_SIZE"])
def test_a_bound_that_cannot_be_used_is_named(name: str, value: str, collector: Collector) -> None:
    with pytest.raises(ChorusError, match=name):
        batches(collector, **{name: value})


def span(attributes: dict[str, Any], own: dict[str, Any] | None = None) -> FinishedSpan:
    """A span with these attributes, and those of its `own`."""
    trace = TraceContext(1, 1, None, None, {})
    return FinishedSpan(trace, 2, None, Shape("chat m", SpanKind.CLIENT, attributes), 1, 2, own or {})


def one(attributes: dict[str, Any]) -> bytes:
    """A request with one span."""
    return otlp.request(RESOURCE, SCOPES[0], [otlp.encoded(span(attributes))])
