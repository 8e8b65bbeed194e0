"""Foreign texts in the page do nothing: they are shown (O4)."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.panels import WORKERS, served
from tests.kit import Say, ScriptedUpstream, ServerProcess
from tests.kit.browser import settle

pytestmark = [pytest.mark.requirement("O4")]

ACTS = "window.harmed = true"
HOSTILE = {
    "a script": f"<script>{ACTS}</script>",
    "a listener": f'<img src=x onerror="{ACTS}"><svg onload="{ACTS}"></svg><details open ontoggle="{ACTS}">',
    "a link": f"[click](javascript:{ACTS}) <a href='javascript:{ACTS}'>click</a> [data](data:text/html,<script>{ACTS}</script>)",
    "an image elsewhere": "![x](https://elsewhere.example/spy.png) <img src='https://elsewhere.example/spy.png'>",
    "a frame": "<iframe src='https://elsewhere.example'></iframe><base href='https://elsewhere.example/'><meta http-equiv=refresh content=0>",
    "a style": "<style>*{display:none}</style><div style='position:fixed;inset:0'>over</div><link rel=stylesheet href=//elsewhere.example>",
    "broken Markdown": "```\n[a](b\n| x |\n|--\n**_`" + "[" * 500 + "\n" + ">" * 500 + "\n" + "*" * 999,
    "directions": "\u202egnorw\u202c \u0000 \ufffd \ud83d\ude00 &lt;b&gt; &#x3c;script&#x3e;",
}
LONG = "word " * 200_000
"""A megabyte."""


@pytest.fixture(scope="module")
def panel() -> Iterator[tuple[ServerProcess, ScriptedUpstream]]:
    with served() as both:
        yield both


def ask(page: Page, question: str) -> None:
    page.get_by_role("textbox", name="Question").fill(question)
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Open the trace")).to_be_visible()


@pytest.mark.parametrize("name", HOSTILE)
def test_a_text_does_no_harm(page: Page, panel: tuple[ServerProcess, ScriptedUpstream], name: str) -> None:
    server, upstream = panel
    text = HOSTILE[name]
    for worker in WORKERS:
        upstream.on(worker, Say(text, reasoning=text, burst=True))
    page.goto(f"{server.base}/ui/")
    ask(page, text)
    settle(page)
    for link in page.locator(".run .text a").all():
        assert (link.get_attribute("href") or "").startswith(("https://", "http://", "mailto:"))
    page.get_by_role("link", name="Open the trace").click()
    expect(page.locator("#main h1")).to_be_visible()
    settle(page)
    assert page.evaluate("window.harmed") is None
    inside = page.evaluate(
        "document.querySelectorAll('script, iframe, style, base, meta[http-equiv], main img').length"
    )
    assert inside == 1  # the page's own script
    assert page.title() == "Traces · Chorus"


def test_a_name_does_no_harm_either(page: Page) -> None:
    """What the configuration and the address say is text, too."""
    text = f"<img src=x onerror='{ACTS}'>"
    config = f"""
[[model]]
name = {json.dumps(text)}
provider = "demo"
model = "demo-abacus"

[workflows.pair]
description = {json.dumps(text)}
workers = [{json.dumps(text)}, {json.dumps(text)}]
selector = {json.dumps(text)}
"""
    with ServerProcess(config, env={"CHORUS_LOG": "error"}) as server:
        page.goto(f"{server.base}/ui/#/workflows/chorus%2Fpair")
        expect(page.locator(".drawing")).to_contain_text("<img src=x")
        page.goto(f"{server.base}/ui/#/ask?model=<script>{ACTS}</script>&q=<script>{ACTS}</script>")
        page.get_by_role("button", name="Ask", exact=True).click()
        expect(page.get_by_role("link", name="Open the trace")).to_be_visible()
        page.goto(f"{server.base}/ui/#/kitchen")
        expect(page.locator(".tables")).to_contain_text("<img src=x")
        assert page.evaluate("window.harmed") is None


def test_a_megabyte_is_shown_and_the_page_answers(page: Page, panel: tuple[ServerProcess, ScriptedUpstream]) -> None:
    server, upstream = panel
    for worker in WORKERS:
        upstream.on(worker, Say(LONG, pieces=[LONG[at : at + 5000] for at in range(0, len(LONG), 5000)]))
    page.goto(f"{server.base}/ui/")
    ask(page, "word " * 20_000)
    expect(page.locator(".answer .text")).to_contain_text("word word")
    shown = page.locator(".answer .text").evaluate("(element) => element.textContent.trim().length")
    assert shown == len(LONG.strip())
    frames = page.evaluate(
        """() => new Promise((resolve) => {
          let frames = 0;
          const end = performance.now() + 1000;
          const count = () => { frames += 1; performance.now() < end ? requestAnimationFrame(count) : resolve(frames); };
          requestAnimationFrame(count);
        })"""
    )
    assert frames > 5
