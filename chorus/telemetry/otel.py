"""OpenTelemetry's SDK, set up by its own `OTEL_*` variables (O3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Final

import anyio
import anyio.to_thread
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from chorus import __version__
from chorus.errors import ChorusError
from chorus.telemetry.otlp_exporter import OtlpExporter
from chorus.telemetry.span_recorder import Recorder
from chorus.telemetry.spans import SpanTracing

_CLOSE_SECS: Final = 5.0
"""How long a server that stops waits for the last spans to be exported."""
_SCOPE: Final = "chorus"
_CAPTURE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_CAPTURED: Final = ("true", "span_only", "span_and_event")
_GROUP: Final = "opentelemetry_traces_exporter"
_HTTP: Final = "http/protobuf"
_PROTOCOLS: Final = {"grpc": "otlp_proto_grpc"}
"""Exporters that other packages bring."""


class SdkTracing(SpanTracing):
    """Spans that the SDK samples, batches and exports in a thread of its own."""

    def __init__(self, recorder: Recorder, *, captures_content: bool) -> None:
        super().__init__(recorder, captures_content=captures_content)
        self._processors = recorder.processors

    async def aclose(self) -> None:
        """See `Tracing.aclose`."""
        with anyio.move_on_after(_CLOSE_SECS, shield=True):
            for processor in self._processors:
                await anyio.to_thread.run_sync(processor.shutdown, abandon_on_cancel=True)


def traced_by_sdk(environ: Mapping[str, str], service: str) -> SdkTracing:
    """Return the tracing that `environ` describes. `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`,
    `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*` and `OTEL_EXPORTER_OTLP_*` are read by the SDK.

    Raises:
        ChorusError: the exporter is not installed, or cannot be made.
    """
    named = {} if environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
    exporters = [_exporter(name.strip(), environ) for name in environ.get("OTEL_TRACES_EXPORTER", "otlp").split(",")]
    captures = environ.get(_CAPTURE, "").strip().lower() in _CAPTURED
    recorder = recorder_of(Resource.create(named), [BatchSpanProcessor(exporter) for exporter in exporters])
    return SdkTracing(recorder, captures_content=captures)


def recorder_of(resource: Resource, processors: Sequence[SpanProcessor]) -> Recorder:
    """Return what records spans for `processors`, with the sampler that the environment names."""
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    scope = InstrumentationScope(_SCOPE, __version__)
    return Recorder(provider.sampler, provider.id_generator, resource, scope, processors)


def _exporter(name: str, environ: Mapping[str, str]) -> SpanExporter:
    wanted = name
    if name in ("", "otlp"):
        protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
        if (protocol or _HTTP) == _HTTP:
            return OtlpExporter(environ)
        wanted = _PROTOCOLS.get(protocol or "", protocol or "")
    found = [entry for entry in entry_points(group=_GROUP) if entry.name == wanted]
    if not found:
        raise ChorusError(f"The exporter of traces '{wanted[:60]}' is not installed; OTEL_TRACES_EXPORTER names it.")
    try:
        exporter: SpanExporter = found[0].load()()
    except Exception as error:
        raise ChorusError(f"The exporter of traces '{wanted[:60]}' cannot be made: {error}") from error
    return exporter
