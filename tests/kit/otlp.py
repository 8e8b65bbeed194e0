"""A receiver of traces over OTLP/HTTP, in a thread.

with OtlpReceiver() as receiver:
    ... OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint ...
    spans = receiver.wait(lambda spans: len(spans) >= 3)
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

SECONDS = 20.0


@dataclass(frozen=True)
class ReceivedSpan:
    """One span as it arrived; ids in hexadecimal digits, "" for none."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    events: tuple[str, ...]


class OtlpReceiver:
    """Takes what exporters send, and keeps it.

    `statuses` are those of its first answers; a request that gets another one than 200 is not kept.
    """

    def __init__(self, *statuses: int) -> None:
        self._statuses = list(statuses)
        self.headers: list[dict[str, str]] = []
        """Those of each request, by names in lower case."""
        self._spans: list[ReceivedSpan] = []
        self._news = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="otlp-receiver", daemon=True)

    @property
    def endpoint(self) -> str:
        """What `OTEL_EXPORTER_OTLP_ENDPOINT` is to be."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def wait(self, enough: Callable[[Sequence[ReceivedSpan]], bool]) -> list[ReceivedSpan]:
        """Return the spans once there are `enough`.

        AssertionError with those that came where not.
        """
        with self._news:
            came = self._news.wait_for(lambda: enough(self._spans), SECONDS)
            assert came, f"only these came: {[(span.service, span.name) for span in self._spans]}"
            return list(self._spans)

    def _take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        with self._news:
            for resource in request.resource_spans:
                service = _values(resource.resource.attributes).get("service.name", "")
                for scope in resource.scope_spans:
                    self._spans += [_read(service, span) for span in scope.spans]
            self._news.notify_all()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                status = receiver._statuses.pop(0) if receiver._statuses else 200
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                if status == 200:
                    receiver._take(body)
                self.send_response(status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing of each request."""

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _read(service: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        service,
        span.name,
        span.kind,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        _values(span.attributes),
        tuple(event.name for event in span.events),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {entry.key: getattr(entry.value, entry.value.WhichOneof("value")) for entry in attributes}
