"""The frame of the page: it loads, each screen can be reached and read by everybody (O4)."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Axe
from tests.kit import ServerProcess
from tests.kit.browser import settle

pytestmark = [pytest.mark.requirement("O4")]

SCREENS = {"ask": "Ask", "traces": "Traces", "kitchen": "Kitchen", "workflows": "Workflows", "tuning": "Tuning"}


@pytest.mark.parametrize("screen", SCREENS)
def test_a_screen_by_its_address_and_again(page: Page, demo: ServerProcess, screen: str) -> None:
    page.goto(f"{demo.base}/ui/#/{screen}")
    for _ in range(2):
        expect(page).to_have_title(f"{SCREENS[screen]} · Chorus")
        expect(page.locator("#bar [aria-current=page]")).to_have_text(SCREENS[screen])
        expect(page.locator("#main h1")).to_be_attached()
        assert page.locator("html").get_attribute("lang") == "en"
        page.reload()


def test_every_screen_is_reached_by_the_keyboard(page: Page, demo: ServerProcess) -> None:
    page.goto(f"{demo.base}/ui/#/traces")
    expect(page.locator("#main h1")).to_be_attached()
    for name in SCREENS.values():
        for _ in range(20):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.closest('#bar') && document.activeElement.textContent") == name:
                break
        page.keyboard.press("Enter")
        expect(page).to_have_title(f"{name} · Chorus")
        expect(page.locator("#main h1")).to_be_attached()
        page.evaluate("document.activeElement.blur(), getSelection().setPosition(document.body, 0)")


def test_the_bar_can_be_skipped(page: Page, demo: ServerProcess) -> None:
    page.goto(f"{demo.base}/ui/#/traces")
    expect(page.locator("#main h1")).to_be_attached()
    page.keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    expect(page).to_have_url(f"{demo.base}/ui/#/traces")


def test_without_the_slash_the_screen_stays(page: Page, demo: ServerProcess) -> None:
    page.goto(f"{demo.base}/ui#/kitchen")
    expect(page).to_have_url(f"{demo.base}/ui/#/kitchen")
    expect(page).to_have_title("Kitchen · Chorus")


def test_chinese_by_the_browser_or_by_choice(chinese: Page, demo: ServerProcess) -> None:
    chinese.goto(f"{demo.base}/ui/")
    expect(chinese).to_have_title("提问 · Chorus")
    assert chinese.locator("html").get_attribute("lang") == "zh"
    chinese.locator("#bar select").select_option("en")
    expect(chinese).to_have_title("Ask · Chorus")
    chinese.reload()
    expect(chinese).to_have_title("Ask · Chorus")


@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_is_wider_than_a_phone(narrow: Page, demo: ServerProcess, screen: str) -> None:
    narrow.goto(f"{demo.base}/ui/#/{screen}")
    expect(narrow.locator("#main h1")).to_be_attached()
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("screen", SCREENS)
def test_axe_finds_nothing(page: Page, demo: ServerProcess, axe: Axe, screen: str) -> None:
    page.goto(f"{demo.base}/ui/#/{screen}")
    expect(page.locator("#main h1")).to_be_attached()
    settle(page)
    assert axe(page) == []
    page.emulate_media(color_scheme="dark")
    assert axe(page, "color-contrast") == []
