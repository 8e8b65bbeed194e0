"""`make screenshots`: the pictures of the page in `docs/images`, in both languages, from the demo.

    python -m scripts.screenshots [MINUTES]

Kitchen is shown after MINUTES of requests (15), since its charts reach so far back.
"""

import itertools
import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
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
        run = ask(server, "chorus", "moody: slow. What is 17 * 23 + 4?")
        for code, page in pages.items():
            page.goto(f"{server.base}/ui/")
            page.locator("textarea").fill(ASKED.get(code, ASKED["en"]))
            page.keyboard.press("Enter")
            expect(page.locator(".answer")).to_be_visible()
            expect(page.locator(".card.winner")).to_be_visible()
            take(page, "ask", code)
            if code in LANGUAGES:
                for screen, address in (("traces", f"traces/{run}"), ("workflows", "workflows/chorus")):
                    page.goto(f"{server.base}/ui/#/{address}")
                    take(page, screen, code)
        keep_busy(server, minutes * 60)
        for code in LANGUAGES:
            pages[code].goto(f"{server.base}/ui/#/kitchen")
            take(pages[code], "kitchen", code)
    assert watched.problems == [], watched.problems


def take(page: Page, screen: str, code: str) -> None:
    """Write the picture of what is shown."""
    expect(page.locator("#main h1")).to_be_attached()
    settle(page)
    path = IMAGES / f"{screen}-{code}.png"
    size = len(page.screenshot(path=path))
    print(f"{path.name}: {size // 1000} kB{'' if size < LARGEST_BYTES else ', too large'}", flush=True)


def ask(server: ServerProcess, model: str, question: str) -> str:
    """Ask, and return the id of the run."""
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    answer = httpx.post(f"{server.api_base}/chat/completions", json=body, timeout=60)
    return answer.headers["x-chorus-workflow-id"]


def keep_busy(server: ServerProcess, seconds: float) -> None:
    """Send requests for `seconds`: more and fewer of them by turns, three in a second at most."""
    began = time.monotonic()
    with ThreadPoolExecutor(8) as clients:
        for model, question in itertools.cycle(REQUESTS):
            passed = time.monotonic() - began
            if passed >= seconds:
                return
            clients.submit(ask, server, model, question)
            time.sleep(1 / (1.6 + 1.4 * math.sin(passed / 40)))


if __name__ == "__main__":
    main()
