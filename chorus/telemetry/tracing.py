"""Distributed traces: what a run tells a tracer, and the headers that carry its context on (O3).

Above: `service` begins one for each run. Below: `spans` makes spans of it, where the extra `otel`
is installed and the environment names an exporter. Without, a run has no observer and no header
more.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from chorus.auth.principal import Principal
from chorus.errors import ChorusError
from chorus.events import Path
from chorus.journal import Observer
from chorus.types import ChatRequest
from chorus.usage import Usage

Headers = Mapping[str, str]
_NONE: Final[Headers] = {}

PROPAGATED: Final = ("traceparent", "tracestate", "baggage")
"""Headers of a caller's context (W3C Trace Context, W3C Baggage)."""
_EXPORTERS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class HasAddress(Protocol):
    """What a span says of a configured model."""

    @property
    def provider(self) -> str:
        """Its name in the provider table."""

    @property
    def api_base(self) -> str | None:
        """Its address; None where it has several, or none."""


class Traced(msgspec.Struct, frozen=True):
    """What a run does for its trace: `observers` see its events; `headers` returns the context of a
    call that the stage at a path makes."""

    observers: Sequence[Observer] = ()
    headers: Callable[[Path], Headers] | None = None


class TracedCall(Protocol):
    """One call that an inference worker answers, as a span that is open."""

    @property
    def headers(self) -> Headers:
        """The context of what the worker asks for its answer."""

    def took(self, usage: Usage) -> None:
        """Note what the call has used, as far as it is known."""

    def end(self, error: ChorusError | None) -> None:
        """End the span."""


class Tracing(Protocol):
    """Makes the traces of a server."""

    def begin(
        self, caller: Principal | None, models: Mapping[str, HasAddress], requests: Sequence[ChatRequest]
    ) -> Traced:
        """Begin the trace of a run, as a part of the caller's."""

    def after(self, workflow_id: str) -> Traced:
        """Return the trace of a run that is over, for what is done behind it."""

    def call(self, parent: Headers, model: str) -> TracedCall:
        """Begin the span of a call of an inference worker."""

    async def aclose(self) -> None:
        """Export what waits; it takes some seconds at most."""


class NoCall:
    """Nothing is recorded of a call."""

    headers: Headers = _NONE

    def took(self, usage: Usage) -> None:
        """See `TracedCall.took`."""

    def end(self, error: ChorusError | None) -> None:
        """See `TracedCall.end`."""


class NoTracing:
    """Nothing is traced."""

    def begin(
        self, caller: Principal | None, models: Mapping[str, HasAddress], requests: Sequence[ChatRequest]
    ) -> Traced:
        """See `Tracing.begin`."""
        return _UNTRACED

    def after(self, workflow_id: str) -> Traced:
        """See `Tracing.after`."""
        return _UNTRACED

    def call(self, parent: Headers, model: str) -> TracedCall:
        """See `Tracing.call`."""
        return _NO_CALL

    async def aclose(self) -> None:
        """See `Tracing.aclose`."""


_UNTRACED: Final = Traced()
_NO_CALL: Final = NoCall()
NO_TRACING: Final = NoTracing()


def tracing_of(environ: Mapping[str, str], service: str) -> Tracing:
    """Return what the `OTEL_*` variables ask for: a tracer of `service` where one of them names an
    exporter, else none.

    Raises:
        ChorusError: an exporter is named, and the extra `otel`, or the exporter, is not installed.
    """
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    is_asked = exporter not in ("", "none") or (exporter == "" and any(environ.get(name) for name in _EXPORTERS))
    if not is_asked or environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return NO_TRACING
    if importlib.util.find_spec("opentelemetry") is None or importlib.util.find_spec("opentelemetry.sdk") is None:
        raise ChorusError("OTEL_* variables ask for traces, which need: pip install 'chorus-llm[otel]'")
    from chorus.telemetry.otel import traced_by_sdk  # imports the SDK: 0.15 s

    return traced_by_sdk(environ, service)
