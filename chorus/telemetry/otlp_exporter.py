"""Requests of OTLP/HTTP to a collector, with another try where that makes sense.

Above: `otel` makes one, `otlp_batches` calls it in a thread of its own.
Source: the specification of the OTLP exporter, and of OTLP/HTTP.
"""

from __future__ import annotations

import gzip
import math
import ssl
import threading
import time
from collections.abc import Mapping
from typing import Final

import httpx
import structlog
from opentelemetry.util.re import parse_env_headers

from chorus.certificates import trusted, trusted_by
from chorus.errors import ChorusError

_DEFAULT: Final = "http://localhost:4318"
_TIMEOUT_SECS: Final = 10.0
_FIRST_WAIT_SECS: Final = 1.0
"""Until the second try; each further wait is twice as long."""
_AGAIN: Final = frozenset({429, 502, 503, 504})
"""Statuses after which the specification lets an exporter try again."""

_log = structlog.get_logger("chorus.telemetry")


class OtlpExporter:
    """Sends requests with spans to the collector that `OTEL_EXPORTER_OTLP_*` names.

    What it does not take within the timeout is lost; the log says so, once until it takes some
    again.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Raises ChorusError: a variable has a value that cannot be used."""
        self._url = _endpoint(environ)
        self._timeout_secs = _timeout(environ)
        self._compresses = _compresses(environ)
        headers = {"content-type": "application/x-protobuf", **parse_env_headers(_named(environ, "HEADERS") or "")}
        if self._compresses:
            headers["content-encoding"] = "gzip"
        self._client = httpx.Client(headers=headers, verify=_trust(environ, self._url), timeout=self._timeout_secs)
        self._is_over = threading.Event()
        self._is_away = False

    def send(self, body: bytes, spans: int) -> bool:
        """Send a request with so many spans, and again while the collector is away, within the
        timeout. False where it did not arrive."""
        problem = self._deliver(gzip.compress(body) if self._compresses else body)
        if problem is not None and not self._is_away:
            _log.warning("spans are not exported", problem=problem, spans=spans)
        elif problem is None and self._is_away:
            _log.info("spans are exported again")
        self._is_away = problem is not None
        return problem is None

    def close(self) -> None:
        """Send nothing any more, and do not wait for another try."""
        self._is_over.set()
        self._client.close()

    def _deliver(self, body: bytes) -> str | None:
        """Return why `body` did not arrive; None where it did."""
        give_up_at = time.monotonic() + self._timeout_secs
        wait_secs = _FIRST_WAIT_SECS
        while True:
            if self._is_over.is_set():
                return "the exporter is closed"
            problem, asked_secs = self._try(body, give_up_at - time.monotonic())
            if problem is None or asked_secs is None:
                return problem
            pause_secs = max(wait_secs, asked_secs)
            if time.monotonic() + pause_secs >= give_up_at or self._is_over.wait(pause_secs):
                return problem
            wait_secs *= 2

    def _try(self, body: bytes, secs: float) -> tuple[str | None, float | None]:
        """Return why one try failed, and after how many seconds at least another one makes sense.

        None where none does.
        """
        try:
            reply = self._client.post(self._url, content=body, timeout=max(secs, 0.01))
        except httpx.HTTPError as error:
            return f"the collector cannot be reached ({type(error).__name__})", 0.0
        if reply.is_success:
            return None, None
        problem = f"the collector answered with status {reply.status_code}"
        return problem, _retry_after(reply) if reply.status_code in _AGAIN else None


def _named(environ: Mapping[str, str], what: str) -> str | None:
    """Return the variable for traces, else the one for everything."""
    for name in (f"OTEL_EXPORTER_OTLP_TRACES_{what}", f"OTEL_EXPORTER_OTLP_{what}"):
        if value := environ.get(name, "").strip():
            return value
    return None


def _endpoint(environ: Mapping[str, str]) -> str:
    url = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    if not url:
        base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or _DEFAULT
        url = f"{base.rstrip('/')}/v1/traces"
    if not url.startswith(("http://", "https://")):
        raise ChorusError("OTEL_EXPORTER_OTLP_ENDPOINT must begin with http:// or https://.")
    return url


def _timeout(environ: Mapping[str, str]) -> float:
    """The specification has milliseconds.

    Python's SDK reads seconds, and so does everybody who sets it.
    """
    given = _named(environ, "TIMEOUT")
    try:
        secs = float(given) if given is not None else _TIMEOUT_SECS
    except ValueError:
        secs = math.nan
    if not 0 < secs < math.inf:
        raise ChorusError("OTEL_EXPORTER_OTLP_TIMEOUT must be a number of seconds above 0.")
    return secs


def _compresses(environ: Mapping[str, str]) -> bool:
    compression = _named(environ, "COMPRESSION") or "none"
    if compression not in ("none", "gzip"):
        raise ChorusError("OTEL_EXPORTER_OTLP_COMPRESSION must be gzip or none.")
    return compression == "gzip"


def _trust(environ: Mapping[str, str], url: str) -> ssl.SSLContext | bool:
    """Return which certificates the client trusts, and its own, as httpx takes them."""
    authority, own = _named(environ, "CERTIFICATE"), _named(environ, "CLIENT_CERTIFICATE")
    if not url.startswith("https") or (authority is None and own is None):
        return trusted_by(url)
    if own is None:
        return trusted(authority)
    context = ssl.create_default_context(cafile=authority)
    try:
        context.load_cert_chain(own, _named(environ, "CLIENT_KEY"))
    except OSError as problem:
        raise ChorusError(f"The client certificate for traces cannot be read: {problem.strerror}") from None
    return context


def _retry_after(reply: httpx.Response) -> float:
    """Return the seconds that a collector asks for; 0 where it names none."""
    text = reply.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0.0
