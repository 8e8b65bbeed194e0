"""Kitchen: what the server does now, live (O4)."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Axe
from tests.browser.panels import served
from tests.kit import Gate, Say, ScriptedUpstream, ServerProcess, Status
from tests.kit.browser import Watched

pytestmark = [pytest.mark.requirement("O4")]


@pytest.fixture(scope="module")
def panel() -> Iterator[tuple[ServerProcess, ScriptedUpstream]]:
    with served() as both:
        yield both


def ask(server: ServerProcess, model: str) -> int:
    body = {"model": model, "messages": [{"role": "user", "content": "Who is there?"}]}
    return httpx.post(f"{server.base}/v1/chat/completions", json=body, timeout=20).status_code


def test_calls_errors_and_replicas_as_they_happen(
    page: Page, panel: tuple[ServerProcess, ScriptedUpstream], axe: Axe
) -> None:
    server, upstream = panel
    upstream.on("first", Say("Here."))
    upstream.on("second", Status(500))
    page.goto(f"{server.base}/ui/#/kitchen")
    expect(page.locator("h1 + .chip")).to_have_text("live")
    expect(page.locator(".tables")).to_contain_text("Nothing has been asked")
    assert ask(server, "first") == 200
    assert ask(server, "second") == 502
    row = page.get_by_role("row", name="first 1 0")
    expect(row).to_be_visible()
    expect(page.get_by_role("row", name="upstream_status 1")).to_be_visible()
    replicas = page.locator(".panel", has=page.get_by_role("heading", name="Replicas"))
    expect(replicas.get_by_role("row", name="first")).to_contain_text("closed")
    bars = page.locator(".tile", has_text="Requests per second").locator("path.bar").first
    assert bars.get_attribute("d")
    assert axe(page) == []


def test_what_goes_on_is_counted(page: Page, panel: tuple[ServerProcess, ScriptedUpstream]) -> None:
    server, upstream = panel
    gate = Gate()
    upstream.on("third", Say("Here.", gate=gate))
    page.goto(f"{server.base}/ui/#/ask?model=third&q=Who")
    page.get_by_role("button", name="Ask", exact=True).click()
    other = page.context.new_page()
    other.goto(f"{server.base}/ui/#/kitchen")
    tile = other.locator(".tile", has_text="In progress")
    expect(tile.locator("dd")).to_have_text(["1", "1"])
    gate.open()
    expect(tile.locator("dd")).to_have_text(["0", "0"])


def test_a_network_that_comes_back_is_used_again(page: Page, watched: Watched, demo: ServerProcess) -> None:
    watched.expect("ERR_|Failed to load resource")
    page.route("**/stats/stream", lambda route: route.abort())
    page.goto(f"{demo.base}/ui/#/kitchen")
    state = page.locator("h1 + .chip")
    expect(state).to_have_text("not reachable, trying again")
    page.unroute("**/stats/stream")
    expect(state).to_have_text("live")


def test_a_server_that_ends_says_so(page: Page, watched: Watched) -> None:
    watched.expect("ERR_|Failed to load resource")
    with served() as (server, _):
        page.goto(f"{server.base}/ui/#/kitchen")
        expect(page.locator("h1 + .chip")).to_have_text("live")
        server.stop()
        expect(page.locator("h1 + .chip")).to_have_text("not reachable, trying again")


def test_a_point_of_a_chart_is_read(page: Page, demo: ServerProcess) -> None:
    page.goto(f"{demo.base}/ui/#/kitchen")
    expect(page.locator("h1 + .chip")).to_have_text("live")
    tile = page.locator(".tile").first
    expect(tile.locator("dd").first).not_to_have_text("")
    tile.locator(".plot").hover(position={"x": 20, "y": 20})
    expect(tile.locator("h2")).to_contain_text("ago")
    page.locator("h1").hover()
    expect(tile.locator("h2")).not_to_contain_text("ago")
