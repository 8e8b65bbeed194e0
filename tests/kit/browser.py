"""Debian's Chromium, driven by playwright: pages that note whatever a user would call broken.

    with chromium() as browser, Watched(browser) as watched:
        page = watched.page(locale="zh-CN")
        page.goto(f"{server.base}/ui/")
    assert watched.problems == []

Playwright's synchronous interface keeps an event loop of its own running in the thread that opened
it. No asynchronous test can run there meanwhile, so the browser is closed at the end of a package.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect, sync_playwright

from .programs import program

PATIENCE_MS = 20_000
"""How long an action waits.

A page answers in a fraction of a second; other tests load the machine.
"""

_NOTES_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  noteViolation(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""

_SETTLED = """
async ([quiet, patience]) => {
  await document.fonts.ready;
  await new Promise((resolve, reject) => {
    let timer = setTimeout(done, quiet);
    const late = setTimeout(() => reject(new Error(`the page still changes after ${patience} ms`)), patience);
    const changes = new MutationObserver(() => {
      clearTimeout(timer);
      timer = setTimeout(done, quiet);
    });
    function done() {
      changes.disconnect();
      clearTimeout(late);
      resolve();
    }
    changes.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
  });
}
"""


@contextmanager
def chromium(*arguments: str) -> Iterator[Browser]:
    """A Chromium without a window.

    Its sandbox cannot be set up by root, who runs tests in containers.
    """
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program("chromium"), chromium_sandbox=False, args=["--disable-dev-shm-usage", *arguments]
        )
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """The pages of one test. `problems` holds what has gone wrong in them: errors in the console,
    exceptions, violations of the content security policy, requests to another origin."""

    def __init__(self, browser: Browser) -> None:
        self.problems: list[str] = []
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._expected: list[re.Pattern[str]] = []

    def page(self, *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        """A new page, as in a browser that was never here; `options` are those of a context."""
        options = {"locale": "en-US", "viewport": {"width": width, "height": height}} | options
        context = self._browser.new_context(**options)
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        context.expose_binding("noteViolation", lambda source, text: self._note(f"policy: {text}"))
        context.add_init_script(_NOTES_VIOLATIONS)
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self._note(f"exception: {error}"))
        page.on("request", lambda request: self._check(page, request.url))
        return page

    def expect(self, pattern: str) -> None:
        """Allow problems with this pattern in them: what the test brings about itself."""
        self._expected.append(re.compile(pattern))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._note(f"console: {message.text} ({message.location.get('url')})")

    def _check(self, page: Page, url: str) -> None:
        """Note a request to an origin that is not the page's own."""
        if page.url.startswith("http") and urlsplit(url).scheme not in ("data", "blob"):
            own, other = urlsplit(page.url), urlsplit(url)
            if (own.scheme, own.netloc) != (other.scheme, other.netloc):
                self._note(f"request elsewhere: {url}")

    def _note(self, problem: str) -> None:
        if not any(pattern.search(problem) for pattern in self._expected):
            self.problems.append(problem)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for context in self._contexts:
            for page in context.pages:
                with suppress(Error):  # the page is gone
                    # what the page has reported until now comes before the answer
                    page.evaluate("0")
            context.close()


def violations(page: Page, source: Path, *rules: str) -> list[str]:
    """What axe-core, whose `source` is given, has against the page as it is shown: rules, with the
    elements concerned. `rules` are those to try, all when none is given. The source is evaluated,
    since the page's policy lets no script of ours in."""
    if not page.evaluate("'axe' in globalThis"):
        page.evaluate(source.read_text(encoding="utf-8"))
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    results = page.evaluate("(options) => axe.run(document, options)", options)
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: {node['target']} {node['failureSummary']}"
        for rule in results["violations"]
        for node in rule["nodes"]
    ]


def settle(page: Page, quiet_ms: int = 400) -> None:
    """Wait until nothing has changed in the page for `quiet_ms`, and its fonts are there.

    A screen that changes each second settles between two changes.
    """
    page.evaluate(_SETTLED, [quiet_ms, PATIENCE_MS])
