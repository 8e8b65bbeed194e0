"""A reverse proxy in front of Chorus that remembers what a client sent and which warnings came
back.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

CHUNK = 65536
SECONDS = 60


@dataclass(frozen=True)
class Sent:
    """One request with a JSON body, and the head of its answer."""

    path: str
    json: dict[str, Any]
    status: int
    warning: str
    """The answer's `X-Chorus-Warning`, or ""."""
    workflow_id: str = ""
    """The id of the run's trace, or ""."""


class RecordingProxy:
    """Passes every request on to a target and records those that have a JSON object as their
    body.
    """

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self._target = ""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                proxy.forward(self)

            do_GET = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @classmethod
    @contextlib.contextmanager
    def in_thread(cls) -> Iterator[Self]:
        """Serve from a thread of its own."""
        proxy = cls()
        thread = threading.Thread(target=proxy._server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy._server.shutdown()
            thread.join(5)
            proxy._server.server_close()

    def turn_to(self, target: str) -> None:
        """Pass requests on to this address from now on."""
        self._target = urlsplit(target).netloc

    def forward(self, handler: BaseHTTPRequestHandler) -> None:
        """Answer one request with what the target answers, piece by piece."""
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        connection = http.client.HTTPConnection(self._target, timeout=SECONDS)
        try:
            connection.request(handler.command, handler.path, body or None, _kept(handler.headers.items()))
            answer = connection.getresponse()
            self._record(handler.path, body, answer)
            handler.send_response(answer.status)
            for name, value in _kept(answer.getheaders()).items():
                handler.send_header(name, value)
            handler.send_header("connection", "close")  # the answer ends with the connection
            handler.end_headers()
            while piece := answer.read1(CHUNK):
                handler.wfile.write(piece)
        except OSError:
            pass  # the client or the target has left
        finally:
            handler.close_connection = True
            connection.close()

    def _record(self, path: str, body: bytes, answer: http.client.HTTPResponse) -> None:
        try:
            value = json.loads(body)
        except ValueError:
            return
        if isinstance(value, dict):
            header = answer.getheader
            warning, workflow_id = header("x-chorus-warning") or "", header("x-chorus-workflow-id") or ""
            self.sent.append(Sent(path, value, answer.status, warning, workflow_id))

    def warnings(self, sent: Sent) -> str:
        """Return what Chorus says of a request to a single model, in its answer and in its
        trace.
        """
        trace = httpx.get(f"http://{self._target}/api/v1/workflows/{sent.workflow_id}").raise_for_status().json()
        return "\n".join([sent.warning, *(each for worker in trace["workers"] for each in worker.get("warnings", ()))])


def _kept(headers: Any) -> dict[str, str]:
    """Return the headers without those that belong to one connection."""
    of_connection = ("connection", "keep-alive", "transfer-encoding", "content-length", "host")
    return {name: value for name, value in headers if name.lower() not in of_connection}
