"""Workflows: each one drawn with its limits, and what a request takes (O4)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Axe
from tests.kit import ServerProcess
from tests.kit.server import ROOT

pytestmark = [pytest.mark.requirement("O4")]

PRICES = """
[[model]]
name = "dear"
provider = "demo"
model = "demo-abacus"
price = { input = 10, output = 30 }

[workflows.pair]
workers = [{ ref = "dear", max_tokens = 200, temperature = 0.3 }, "dear"]
selector = { ref = "dear", passes = 2 }
"""


@pytest.fixture(scope="module")
def examples() -> Iterator[ServerProcess]:
    """A server of `examples/workflows.toml`, which has one workflow for each option."""
    config = (ROOT / "examples" / "workflows.toml").read_text(encoding="utf-8")
    with ServerProcess(config + PRICES, env={"CHORUS_LOG": "error"}) as server:
        yield server


def test_every_workflow_is_drawn(page: Page, examples: ServerProcess) -> None:
    page.goto(f"{examples.base}/ui/#/workflows")
    expect(page.locator(".workflow .title")).to_have_text("chorus")
    names = page.locator(".names a")
    count = names.count()
    assert count > 10
    for at in range(count):
        name = names.nth(at).evaluate("(link) => link.firstChild.textContent")
        names.nth(at).click()
        expect(page.locator(".workflow .title")).to_have_text(name)
        expect(page.locator(".drawing .node").first).to_be_visible()


def test_rules_stand_below_the_drawing(page: Page, examples: ServerProcess) -> None:
    rules = {
        "quorum": "Goes on when 2 have answered",
        "agreement": "Asks no judge when 2 answers agree",
        "hedge": "where a worker has written nothing",
        "difficulty": "A request that is easy goes to generalist alone",
        "decisive": "A clear winner goes out as it is",
    }
    for name, text in rules.items():
        page.goto(f"{examples.base}/ui/#/workflows/chorus%2F{name}")
        expect(page.locator(".rules")).to_contain_text(text)
    page.goto(f"{examples.base}/ui/#/workflows/chorus%2Frefine")
    expect(page.locator(".column h3")).to_have_text(["Workers, layer 1", "Workers, layer 2", "Synthesizer"])


def test_calls_time_and_cost_of_other_lengths(page: Page, examples: ServerProcess, axe: Axe) -> None:
    page.goto(f"{examples.base}/ui/#/workflows/chorus%2Fpair")
    figures = page.locator(".figures")
    expect(figures).to_contain_text("4")
    expect(figures).to_contain_text("$")
    first = page.locator(".node").first
    expect(first).to_contain_text("temperature 0.3 (workflow)")
    expect(first).to_contain_text("200 tokens at most")
    expect(page.locator(".node").last).to_contain_text("judges 2 times")
    before = figures.inner_text()
    page.get_by_label("tokens of the question").fill("50000")
    page.keyboard.press("Tab")
    expect(figures).not_to_have_text(before)
    assert axe(page) == []


def test_a_workflow_is_asked_from_here(page: Page, examples: ServerProcess) -> None:
    page.goto(f"{examples.base}/ui/#/workflows/chorus%2Fpair")
    page.get_by_role("link", name="Ask it").click()
    expect(page.get_by_role("combobox", name="Model or workflow")).to_have_value("chorus/pair")
