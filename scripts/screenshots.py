"""`make screenshots`: the pictures of the page in `docs/images`, in both languages, from the demo.

    python -m scripts.screenshots [MINUTES]

Kitchen is shown after MINUTES of requests (15), since its charts reach so far back.
"""

import itertools
import math
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Page, expect

from tests.kit import ServerProcess
from tests.kit.browser import Watched, chromium, settle

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "images"
LANGUAGES = {"en": "en-US", "zh": "zh-CN"}
SIZE = {"width": 1440, "height": 900}
LARGEST_BYTES = 300_000
ASKED = {"en": "moody: fail. What is 17 * 23 + 4?", "zh": "moody: fail. 17 * 23 + 4 等于多少？"}
REQUESTS = [
    ("chorus", "What is 17 * 23 + 4?"),
    ("chorus/nested", "How does the selector choose?"),
    ("demo-abacus", "What is 12 * 12?"),
    ("chorus", "moody: fail. What is 2 + 2?"),
    ("demo-librarian", "What is a quorum?"),
    ("chorus", "moody: slow. What is 9 * 9?"),
    ("demo-scribe", "Reverse: stressed desserts"),
]
"""Models and questions of the requests that Kitchen shows, again and again in this order."""


def main() -> None:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 15.0
    IMAGES.mkdir(parents=True, exist_ok=True)
    with (
        ServerProcess(args=["demo"], env={"CHORUS_LOG": "error"}) as server,
        chromium() as browser,
        Watched(browser) as watched,
    ):
        pages = {code: watched.page(**SIZE, locale=locale) for code, locale in LANGUAGES.items()}
        pages["dark"] = watched.page(**SIZE, color_scheme="dark")
        for code, page in pages.items():
            page.goto(f"{server.base}/ui/")
            page.locator("textarea").fill(ASKED.get(code, ASKED["en"]))
            page.keyboard.press("Enter")
            expect(page.locator(".answer")).to_be_visible()
            expect(page.locator(".card.winner")).to_be_visible()
            take(page, "ask", code)
            if code in LANGUAGES:
                page.locator("a[href^='#/traces/']").click()
                page.locator("table button", has_text="demo-abacus").click()
                page.evaluate("scrollTo(0, 0)")
                take(page, "traces", code)
                page.goto(f"{server.base}/ui/#/workflows/chorus")
                take(page, "workflows", code)
        with busy(server):
            time.sleep(minutes * 60)
            for code in LANGUAGES:
                pages[code].goto(f"{server.base}/ui/#/kitchen")
                # the model and its replica
                expect(pages[code].get_by_text("demo-judge")).to_have_count(2)
                take(pages[code], "kitchen", code)
    assert watched.problems == [], watched.problems


def take(page: Page, screen: str, code: str) -> None:
    """Write the picture of what is shown."""
    expect(page.locator("#main h1")).to_be_attached()
    settle(page)
    path = IMAGES / f"{screen}-{code}.png"
    size = len(page.screenshot(path=path))
    print(f"{path.name}: {size // 1000} kB{'' if size < LARGEST_BYTES else ', too large'}", flush=True)


def ask(server: ServerProcess, model: str, question: str) -> None:
    """Ask, whatever comes of it."""
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    httpx.post(f"{server.api_base}/chat/completions", json=body, timeout=60)


@contextmanager
def busy(server: ServerProcess) -> Iterator[None]:
    """Send requests while the block lasts: more and fewer of them by turns, three in a second at
    most.
    """
    is_over = threading.Event()

    def send() -> None:
        began = time.monotonic()
        for model, question in itertools.cycle(REQUESTS):
            clients.submit(ask, server, model, question)
            if is_over.wait(1 / (1.6 + 1.4 * math.sin((time.monotonic() - began) / 40))):
                return

    with ThreadPoolExecutor(9) as clients:
        clients.submit(send)
        try:
            yield
        finally:
            is_over.set()


if __name__ == "__main__":
    main()
