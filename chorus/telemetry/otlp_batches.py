"""Spans that wait for the collector, as bytes, and the thread that sends them (O3).

Above: `span_recorder` hands spans over. Below: `otlp` encodes, `otlp_exporter` sends. The SDK's
`BatchSpanProcessor` keeps 512 spans as objects, which push what requests need out of a processor's
cache; their bytes are a twentieth of it. It follows the same variables, `OTEL_BSP_*`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import structlog
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from chorus.errors import ChorusError
from chorus.tasks import surviving
from chorus.telemetry import otlp
from chorus.telemetry.span_recorder import FinishedSpan

_DELAY_MS: Final = 5000
_MAX_WAITING: Final = 2048
_TOGETHER: Final = 512
"""The specification's defaults: milliseconds between two requests, spans that wait at most, and
spans of one request."""
_MAX_BYTES: Final = 32 * 1024 * 1024
_BYTES_TOGETHER: Final = 4 * 1024 * 1024
"""Bytes of the spans that wait, and about how many one request has: captured messages may be long,
and gRPC's limit, which collectors take over, is 4 MiB."""

_log = structlog.get_logger("chorus.telemetry")


class OtlpBatches:
    """Sends spans in requests of several, from a thread of its own. It begins with the first one:
    a process that forks later has none."""

    def __init__(
        self,
        send: Callable[[bytes, int], object],
        resource: Resource,
        scope: InstrumentationScope,
        environ: Mapping[str, str],
    ) -> None:
        """`send` takes a request and the number of its spans. Raises ChorusError: a variable has a
        value that cannot be used."""
        self._send = send
        self._resource = resource
        self._scope = scope
        self._delay_secs = _positive(environ, "OTEL_BSP_SCHEDULE_DELAY", _DELAY_MS) / 1000
        self._max_waiting = _positive(environ, "OTEL_BSP_MAX_QUEUE_SIZE", _MAX_WAITING)
        together = _positive(environ, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _TOGETHER)
        self._together = min(together, self._max_waiting)
        self._waiting: deque[bytes] = deque()
        self._is_full = threading.Event()
        """As many spans wait as one request has, or nothing more comes."""
        self._is_closing = False
        self._taken_bytes = self._sent_bytes = 0
        """Each is written by one thread only."""
        self._lost = 0
        self._thread: threading.Thread | None = None

    def __call__(self, spans: Sequence[FinishedSpan]) -> None:
        """Take spans that are over. They are lost where too many wait, and after `close`."""
        left = iter(spans)
        while True:  # one round, and one more behind each span that fails
            with surviving("a span could not be encoded"):
                for span in left:
                    self._take(span)
                break
        if self._thread is None and self._waiting:
            # a daemon: a collector that hangs must not hold up the end of the process
            self._thread = threading.Thread(target=self._run, name="chorus-spans", daemon=True)
            self._thread.start()

    def _take(self, span: FinishedSpan) -> None:
        waiting = self._waiting
        is_full = len(waiting) >= self._max_waiting or self._taken_bytes - self._sent_bytes >= _MAX_BYTES
        if is_full or self._is_closing:
            self._lose()
            return
        encoded = otlp.encoded(span)
        self._taken_bytes += len(encoded)
        waiting.append(encoded)
        if len(waiting) >= self._together and not self._is_full.is_set():
            self._is_full.set()

    def close(self) -> None:
        """Return when the spans that wait are sent, or given up. Nothing is taken any more."""
        self._is_closing = True
        self._is_full.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._is_closing:
            self._is_full.wait(self._delay_secs)
            self._is_full.clear()
            self._send_batch()
            while len(self._waiting) >= self._together:
                self._send_batch()
        while self._waiting:
            self._send_batch()

    def _send_batch(self) -> None:
        batch: list[bytes] = []
        size = 0
        while self._waiting and len(batch) < self._together and size < _BYTES_TOGETHER:
            batch.append(self._waiting.popleft())
            size += len(batch[-1])
        self._sent_bytes += size
        if batch:
            with surviving("spans could not be sent"):
                self._send(otlp.request(self._resource, self._scope, batch), len(batch))

    def _lose(self) -> None:
        """Count a span that is lost. The log says so for the first, and for each thousandth."""
        if self._lost % 1000 == 0:
            _log.warning("a span is lost: too many wait for the collector", lost=self._lost + 1)
        self._lost += 1


def _positive(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise ChorusError(f"{name} must be a whole number above 0.")
    return int(text)
