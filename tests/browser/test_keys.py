"""With keys on, the page asks for one, keeps it for the tab, and shows what that key may see (O4,
M3).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Axe
from tests.browser.panels import served
from tests.kit import Say, ScriptedUpstream, ServerProcess
from tests.kit.browser import Watched

pytestmark = [pytest.mark.requirement("O4")]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.toml"


@pytest.fixture(scope="module")
def panel(keys: Path) -> Iterator[tuple[ServerProcess, ScriptedUpstream]]:
    create(keys, "other")  # a server without keys asks for none
    with served(f'[server]\nrequire_auth = true\nkeys_file = "{keys}"\n') as (server, upstream):
        upstream.on("first", Say("Here."))
        yield server, upstream


def create(keys: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "chorus", "keys", "create", *arguments, "--file", str(keys)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()[-1]


def enter(page: Page, key: str) -> None:
    page.get_by_label("Key", exact=True).fill(key)
    page.keyboard.press("Enter")


def test_a_wrong_key_then_a_right_one(
    page: Page, watched: Watched, keys: Path, panel: tuple[ServerProcess, ScriptedUpstream], axe: Axe
) -> None:
    watched.expect("401")
    server, _ = panel
    key = create(keys, "mine", "--models", "first,chorus")
    page.goto(f"{server.base}/ui/")
    expect(page.get_by_role("dialog")).to_contain_text("wants a key")
    assert axe(page) == []
    enter(page, "sk-wrong")
    expect(page.get_by_role("dialog")).to_contain_text("does not accept this key")
    enter(page, key)
    models = page.get_by_role("combobox", name="Model or workflow")
    expect(models.locator("option")).to_have_text(["chorus", "first"])
    models.select_option("first")
    page.get_by_role("textbox", name="Question").fill("Who?")
    page.keyboard.press("Enter")
    expect(page.locator(".answer .text")).to_have_text("Here.")
    assert key not in page.url
    assert page.evaluate("JSON.stringify({...localStorage})").find(key) == -1
    page.reload()
    expect(page.locator(".answer .text")).to_have_text("Here.")
    other = page.context.new_page()
    other.goto(f"{server.base}/ui/")
    expect(other.get_by_role("dialog")).to_be_visible()


def test_another_keys_run_is_not_shown(
    watched: Watched, keys: Path, panel: tuple[ServerProcess, ScriptedUpstream]
) -> None:
    watched.expect("401|403|404")
    server, _ = panel
    mine, yours = watched.page(), watched.page()
    one, two = create(keys, "one"), create(keys, "two")
    mine.goto(f"{server.base}/ui/#/ask?model=first&q=Who%3F")
    enter(mine, one)
    mine.get_by_role("button", name="Ask", exact=True).click()
    expect(mine.locator(".answer .text")).to_have_text("Here.")
    yours.goto(mine.url)
    enter(yours, two)
    expect(yours.locator(".problem")).to_be_visible()
    expect(yours.locator(".answer .text")).to_be_hidden()
    mine.get_by_role("button", name="Forget key").click()
    expect(mine.get_by_role("dialog")).to_be_visible()
    assert mine.evaluate("sessionStorage.length") == 0
