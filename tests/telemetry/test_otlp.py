"""Spans on OTLP's wire, as the SDK's own encoder writes them, and how they are sent (O3)."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from chorus.errors import ChorusError
from chorus.telemetry import otlp, otlp_exporter
from chorus.telemetry.otlp_exporter import OtlpExporter
from tests.kit.otlp import OtlpReceiver

pytestmark = pytest.mark.requirement("O3")

RESOURCES = [Resource({"service.name": "chorus", "n": 3}), Resource({})]
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
contexts = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    states,
)
spans = st.builds(
    ReadableSpan,
    texts,
    contexts,
    parent=st.none() | contexts,
    resource=st.sampled_from(RESOURCES),
    attributes=attributes,
    events=st.lists(st.builds(Event, texts, attributes, times), max_size=3),
    kind=st.sampled_from(SpanKind),
    status=st.sampled_from([Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "no")]),
    start_time=times,
    end_time=times,
    instrumentation_scope=st.sampled_from(SCOPES),
)


@given(st.lists(spans, max_size=4))
def test_a_request_is_what_the_encoder_of_the_sdk_writes(batch: list[ReadableSpan]) -> None:
    expected = encode_spans(batch)
    assert type(expected).FromString(otlp.encoded(batch)) == expected


def test_values_that_are_equal_and_of_another_type_stay_apart() -> None:
    batch = [span({"a": 1, "b": 1.0, "c": True, "d": 0, "e": False})]
    assert type(encode_spans(batch)).FromString(otlp.encoded(batch)) == encode_spans(batch)


def test_spans_arrive_with_the_headers_and_the_compression_that_are_set() -> None:
    with OtlpReceiver() as receiver:
        exporter = OtlpExporter(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"{receiver.endpoint}/",
                "OTEL_EXPORTER_OTLP_HEADERS": "x-key=a%20b,other=c",
                "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
            }
        )
        assert exporter.export([span({"a": "b"})]) is SpanExportResult.SUCCESS
        exporter.shutdown()
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
        result = exporter.export([span({})])
        exporter.shutdown()
        assert len(receiver.headers) == tries
        assert result is (SpanExportResult.SUCCESS if tries > len(statuses) else SpanExportResult.FAILURE)


def test_a_collector_that_is_away_costs_no_more_than_the_timeout() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TIMEOUT": "0.2"}
    exporter = OtlpExporter(environ)
    assert exporter.export([span({})]) is SpanExportResult.FAILURE
    exporter.shutdown()
    assert exporter.export([span({})]) is SpanExportResult.FAILURE


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


def span(attributes: dict[str, Any]) -> ReadableSpan:
    """A span with these attributes."""
    context = SpanContext(1, 2, is_remote=False)
    return ReadableSpan("chat m", context, resource=RESOURCES[0], attributes=attributes, start_time=1, end_time=2)
