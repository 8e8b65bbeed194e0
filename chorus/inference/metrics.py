"""The metrics of a worker, and the HTTP server that shows them (I3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from chorus.llm.base import Chunk

_DURATIONS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_FIRST_TOKENS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_RATES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 5000)


class Metrics:
    """The metrics of one worker, whose model is the label `model` of all."""

    def __init__(self, model: str, queue_length: Callable[[], int]) -> None:
        """`queue_length` is asked at each scrape."""
        self._model = model
        self.registry = CollectorRegistry()
        self.active = self._made(Gauge, "llm_active_requests", "Requests whose answer is generated.")
        self.tokens = self._made(Counter, "llm_generated_tokens_total", "Tokens that were generated.")
        self.duration = self._made(
            Histogram,
            "llm_inference_duration_seconds",
            "Time of an answer, from its slot to its end.",
            buckets=_DURATIONS,
        )
        self.first_token = self._made(
            Histogram,
            "llm_time_to_first_token_seconds",
            "Time to the first token, from the arrival of the request.",
            buckets=_FIRST_TOKENS,
        )
        self.rate = self._made(
            Histogram,
            "llm_tokens_per_second",
            "Tokens per second of an answer, from its first token to its end.",
            buckets=_RATES,
        )
        queue = self._made(Gauge, "llm_queue_length", "Requests that wait for the engine.")
        queue.set_function(queue_length)
        self._requests = Counter(
            "llm_requests_total",
            "Requests that have ended, by the name of their gRPC status.",
            ["model", "code"],
            registry=self.registry,
        )

    def _made(self, kind: Any, name: str, text: str, **options: Any) -> Any:
        return kind(name, text, ["model"], registry=self.registry, **options).labels(self._model)

    def ended(self, code: str) -> None:
        """Count a request that has ended with the status `code`."""
        self._requests.labels(self._model, code).inc()

    @contextmanager
    def shown(self, host: str, port: int) -> Iterator[int]:
        """Serve the metrics at `/metrics` while the block lasts, which gets the port.

        The HTTP server has a port and a thread of its own: gRPC owns the main port, which speaks
        HTTP/2 only, and a scrape is answered while the event loop is busy.

        Raises:
            OSError: the port is taken.
        """
        server, _ = start_http_server(port, host, self.registry)
        try:
            yield int(server.server_port)
        finally:
            server.shutdown()  # takes at most the half second between two looks of the thread
            server.server_close()


class Generation:
    """The metrics of one answer while it is generated."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._arrived_at = perf_counter()
        self._began_at = self._first_at = self._arrived_at
        self._counted = 0

    def begin(self) -> None:
        """Note that the answer has a slot and generation begins."""
        self._metrics.active.inc()
        self._began_at = perf_counter()

    def take(self, chunk: Chunk) -> None:
        """Count what a chunk adds: a token, or as many as the engine says at the end."""
        is_token = bool(chunk.text or chunk.reasoning or chunk.tool_calls)
        if is_token and self._counted == 0:
            self._first_at = perf_counter()
            self._metrics.first_token.observe(self._first_at - self._arrived_at)
        missing = chunk.usage.completion_tokens - self._counted if chunk.usage is not None else int(is_token)
        if missing > 0:
            self._metrics.tokens.inc(missing)
            self._counted += missing

    def end(self) -> None:
        """Note that the answer is over, whole or not."""
        now = perf_counter()
        self._metrics.active.dec()
        self._metrics.duration.observe(now - self._began_at)
        if self._counted > 1 and now > self._first_at:
            self._metrics.rate.observe((self._counted - 1) / (now - self._first_at))
