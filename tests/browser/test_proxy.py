"""The page behind a proxy that puts a prefix before it: all of its addresses are relative (O4)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.kit import ServerProcess

pytestmark = [pytest.mark.requirement("O4")]

PREFIX = "/team/llm"


@contextmanager
def proxied(target: str) -> Iterator[str]:
    """The address of a proxy that knows `target` below a prefix and nothing else."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._pass(b"")

        def do_POST(self) -> None:
            self._pass(self.rfile.read(int(self.headers["content-length"])))

        def _pass(self, body: bytes) -> None:
            if not self.path.startswith(f"{PREFIX}/"):
                self.send_error(404)
                return
            names = ("accept", "accept-encoding", "content-type", "if-none-match")
            headers = {name: self.headers[name] for name in names if name in self.headers}
            path = self.path.removeprefix(PREFIX)
            with client.stream(self.command, path, content=body, headers=headers) as answer:
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name not in ("transfer-encoding", "connection", "date"):
                        self.send_header(name, value)
                self.send_header("connection", "close")
                self.end_headers()
                for piece in answer.iter_raw():
                    self.wfile.write(piece)

        def log_message(self, format: str, *args: object) -> None:
            pass

    client = httpx.Client(base_url=target, timeout=30, verify=False, trust_env=False)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with client:
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


def test_a_prefix_before_the_page(page: Page, demo: ServerProcess) -> None:
    with proxied(demo.base) as proxy:
        page.goto(f"{proxy}{PREFIX}/ui")
        expect(page).to_have_url(f"{proxy}{PREFIX}/ui/")
        page.locator("textarea").fill("What is 6 * 7?")
        page.keyboard.press("Enter")
        expect(page.locator(".answer")).to_contain_text("42")
        page.get_by_role("link", name="Open the trace").click()
        expect(page.locator("#main h1")).to_contain_text("Trace")
        expect(page.locator("#main")).to_contain_text("demo-abacus")
        page.reload()
        expect(page.locator("#main")).to_contain_text("demo-abacus")
        page.close()
