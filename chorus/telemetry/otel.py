"""OpenTelemetry's SDK, set up by its own `OTEL_*` variables (O3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import entry_points
from random import getrandbits
from typing import Final

import anyio
import anyio.to_thread
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from chorus import __version__
from chorus.errors import ChorusError
from chorus.telemetry.otlp_batches import OtlpBatches
from chorus.telemetry.otlp_exporter import OtlpExporter
from chorus.telemetry.span_recorder import FinishedSpan, Recorder, SdkSpans
from chorus.telemetry.spans import SpanTracing

_CLOSE_SECS: Final = 5.0
"""How long a server that stops waits for the last spans to be exported."""
SCOPE: Final = InstrumentationScope("chorus", __version__)
_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURED: Final = ("true", "span_only", "span_and_event")
_GROUP: Final = "opentelemetry_traces_exporter"
_HTTP: Final = "http/protobuf"
_PROTOCOLS: Final = {"grpc": "otlp_proto_grpc"}
"""Exporters that other packages bring."""


class SdkTracing(SpanTracing):
    """Spans that the SDK samples, and that are sent in threads of their own."""

    def __init__(self, recorder: Recorder, closers: Sequence[Callable[[], object]], *, captures_content: bool) -> None:
        """`closers` are called one after the other, in threads, when the server stops."""
        super().__init__(recorder, captures_content=captures_content)
        self._closers = closers

    async def aclose(self) -> None:
        """See `Tracing.aclose`."""
        await super().aclose()
        with anyio.move_on_after(_CLOSE_SECS, shield=True):
            for close in self._closers:
                await anyio.to_thread.run_sync(close, abandon_on_cancel=True)


def traced_by_sdk(environ: Mapping[str, str], service: str) -> SdkTracing:
    """Return the tracing that `environ` describes. `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`
    and `OTEL_TRACES_SAMPLER` are read by the SDK.

    Raises:
        ChorusError: the exporter is not installed, or cannot be made.
    """
    resource = Resource.create({} if environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service})
    captures = environ.get(_CAPTURE, "").strip().lower() in _CAPTURED
    takers: list[Callable[[Sequence[FinishedSpan]], object]] = []
    closers: list[Callable[[], object]] = []
    for name in environ.get("OTEL_TRACES_EXPORTER", "otlp").split(","):
        exporter = _exporter(name.strip(), environ)
        if isinstance(exporter, OtlpExporter):
            batches = OtlpBatches(exporter.send, resource, SCOPE, environ)
            takers.append(batches)
            closers += (batches.close, exporter.close)
        else:
            processor = BatchSpanProcessor(exporter)
            takers.append(SdkSpans(resource, SCOPE, [processor]))
            closers.append(processor.shutdown)
    return SdkTracing(recorder_of(takers), closers, captures_content=captures)


def recorder_of(takers: Sequence[Callable[[Sequence[FinishedSpan]], object]]) -> Recorder:
    """Return what records spans for `takers`, with the sampler that the environment names."""
    provider = TracerProvider(resource=Resource({}), shutdown_on_exit=False)
    ids = provider.id_generator
    if type(ids) is RandomIdGenerator:
        # as the SDK makes them, without 40 bytecodes; an id of 0 is as likely as the same id twice
        return Recorder(provider.sampler, partial(getrandbits, 128), partial(getrandbits, 64), takers)
    return Recorder(provider.sampler, ids.generate_trace_id, ids.generate_span_id, takers)


def _exporter(name: str, environ: Mapping[str, str]) -> OtlpExporter | SpanExporter:
    wanted = name
    if name in ("", "otlp"):
        protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        if (protocol or _HTTP) == _HTTP:
            return OtlpExporter(environ)
        wanted = _PROTOCOLS.get(protocol or "", protocol or "")
    entries = [entry for entry in entry_points(group=_GROUP) if entry.name == wanted]
    if not entries:
        raise ChorusError(f"The exporter of traces '{wanted[:60]}' is not installed; OTEL_TRACES_EXPORTER names it.")
    try:
        exporter: SpanExporter = entries[0].load()()
    except Exception as error:
        raise ChorusError(f"The exporter of traces '{wanted[:60]}' cannot be made: {error}") from error
    return exporter
