"""Tuning: an outcome of `chorus tune` as a table, plots, sentences, and TOML to copy (O4)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Axe
from tests.kit import ServerProcess
from tests.kit.browser import Watched, settle

pytestmark = [pytest.mark.requirement("O4")]

ACTS = "window.harmed = true"
CONFIG = '[server]\nevaluations = {}\n[[model]]\nname = "demo-abacus"\nprovider = "demo"\n'
TOML = '# From the evaluation in july.\n[workflows.tuned]\nworkers = ["cheap", "dear"]\nselector = "dear"\n'
CHEAP = '[workflows.tuned]\nworkers = ["cheap"]\nselector = { kind = "majority" }\n'


def row(name: str, mean: float, cost: float | None, secs: float, *marks: str, toml: str = "") -> dict[str, Any]:
    quality = {"mean": mean, "low": max(mean - 0.1, 0.0), "high": min(mean + 0.1, 1.0)}
    times = {"p50": secs, "p95": 2 * secs, "calls": 3.0}
    return {"name": name, "marks": marks, "quality": quality, "cost_per_1000": cost, "toml": toml, **times}


def tuning(rows: list[dict[str, Any]], points: list[list[float | None]], **others: Any) -> dict[str, Any]:
    said = {"en": ["4,321 panels were compared.", "Recommended: this."], "zh": ["比较了 4,321 个组合。", "推荐：它。"]}
    counts = {"questions": 200, "compared": 4321, "possible": 9000}
    return {**counts, "is_priced": True, "rows": rows, "points": points, "sentences": said, **others}


JULY = tuning(
    [
        row("cheap", 0.6, 0.02, 0.1, "best_single", toml=CHEAP),
        row("cheap + dear; judge dear ×2", 0.8, 1.2, 2.0, "recommended", toml=TOML),
        row("chorus", 0.75, 4.0, 3.5, "today"),
    ],
    [[0.5 + at / 1000, 0.02 + at / 100, 0.1 + at / 200, 3.0] for at in range(300)],
)
SCRIPT = f"<script>{ACTS}</script><img src=x onerror='{ACTS}'>"
HOSTILE = tuning(
    [
        row(SCRIPT, 0.6, None, 0.1, SCRIPT, "x" * 300, toml=SCRIPT + "\n" * 200),
        row("w" * 10_000, 1e15, 1e15, 5e14, "recommended", "recommended", toml="y" * 10_000),
        row("word " * 2_000, -1e15, 0.0, -5e14, "today"),
        row("", 0.0, -5.0, 0.0),
    ],
    [[1e15, None, -1e15, 1e10], [0, 0, 0, 0]],
    is_priced=True,
    sentences={"en": [SCRIPT, "z" * 10_000, ""], "zh": []},
)
SAME = tuning([row("one", 1.0, None, 0.0, "recommended", "best_single")], [[1.0, None, 0.0, 3.0]], is_priced=False)
BARE = tuning([], [], sentences={"en": [], "zh": []})
OUTCOMES = {"july": JULY, "hostile": HOSTILE, "same": SAME, "bare": BARE}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("tunings")
    for name, outcome in {**OUTCOMES, "broken": "half", SCRIPT.replace("/", "-"): JULY}.items():
        (folder / name).mkdir()
        (folder / name / "tuning.json").write_text(json.dumps(outcome), encoding="utf-8")
    with ServerProcess(CONFIG.format(json.dumps(str(folder))), env={"CHORUS_LOG": "error"}) as server:
        yield server


def open_at(page: Page, server: ServerProcess, name: str) -> None:
    page.goto(f"{server.base}/ui/#/tuning/{name}")
    expect(page.locator(".tuning .title")).to_have_text(name)
    settle(page)


def test_the_frontier_as_a_table_and_as_plots(page: Page, server: ServerProcess, axe: Axe) -> None:
    open_at(page, server, "july")
    expect(page.locator(".caution")).to_have_text("4,321 panels were compared.")
    expect(page.locator(".said li")).to_have_text(["Recommended: this."])
    expect(page.locator(".figures")).to_contain_text("4,321 of 9,000")
    rows = page.locator(".frontier-table tbody tr")
    expect(rows.nth(1)).to_contain_text("80.0 % [70, 90]")
    for text in ("recommended", "1.20", "2.00 s", "4.00 s", "3.0"):
        expect(rows.nth(1)).to_contain_text(text)
    expect(rows.nth(0)).to_contain_text("best single model")
    expect(rows.nth(2)).to_contain_text("today's workflow")
    for title in ("Quality over the cost of 1,000 questions", "Quality over p50"):
        plot = page.get_by_role("img", name=title)
        expect(plot.locator(".dot")).to_have_count(300)
        expect(plot.locator(".mark .interval")).to_have_count(3)
        expect(plot.locator(".recommended title")).to_have_text("2. cheap + dear; judge dear ×2")
        expect(plot.locator(".today")).to_have_count(1)
    assert axe(page) == []
    page.emulate_media(color_scheme="dark")
    assert axe(page, "color-contrast") == []


def test_the_configuration_of_a_panel_is_copied(watched: Watched, server: ServerProcess) -> None:
    page = watched.page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_at(page, server, "july")
    shown = page.get_by_label("Configuration", exact=True)
    expect(shown).to_have_text(TOML)  # that of the recommended one
    page.get_by_role("button", name="TOML: cheap", exact=True).focus()
    page.keyboard.press("Enter")
    expect(shown).to_have_text(CHEAP)
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Copy")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert tomllib.loads(page.evaluate("navigator.clipboard.readText()")) == tomllib.loads(CHEAP)


def test_in_chinese(chinese: Page, server: ServerProcess, axe: Axe) -> None:
    open_at(chinese, server, "july")
    expect(chinese).to_have_title("调优 · Chorus")
    expect(chinese.locator(".caution")).to_have_text("比较了 4,321 个组合。")
    expect(chinese.locator(".frontier-table tr.chosen .chip")).to_have_text("推荐")
    assert axe(chinese) == []


def test_another_evaluation_by_the_list_and_again_by_its_address(page: Page, server: ServerProcess) -> None:
    open_at(page, server, "july")
    page.get_by_role("link", name="same").click()
    expect(page.locator(".tuning .title")).to_have_text("same")
    page.reload()
    expect(page.locator(".tuning .title")).to_have_text("same")
    # one panel, no price: a plot of one point over calls, with its interval
    expect(page.get_by_role("img", name="Quality over calls")).to_be_visible()
    page.goto(f"{server.base}/ui/#/tuning")
    expect(page.locator(".names [aria-current]")).to_have_count(1)
    open_at(page, server, "bare")
    expect(page.locator(".tuning")).to_contain_text("No row.")


@pytest.mark.parametrize("name", OUTCOMES)
def test_nothing_is_wider_than_a_phone(narrow: Page, server: ServerProcess, name: str) -> None:
    open_at(narrow, server, name)
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 360
    box = narrow.locator("#bar nav a").last.bounding_box()
    assert box is not None
    assert box["x"] + box["width"] <= 360


def test_hostile_texts_and_numbers_do_no_harm(page: Page, server: ServerProcess, axe: Axe) -> None:
    open_at(page, server, "hostile")
    expect(page.locator(".frontier-table")).to_contain_text("<script>")
    assert page.evaluate("window.harmed") is None
    assert page.evaluate("document.querySelectorAll('script, main img, iframe').length") == 1
    attributes = page.evaluate("[...document.querySelectorAll('svg *')].map((one) => one.outerHTML).join()")
    assert "NaN" not in attributes
    assert "Infinity" not in attributes
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert axe(page) == []


def test_a_name_of_a_folder_is_text(page: Page, server: ServerProcess) -> None:
    page.goto(f"{server.base}/ui/#/tuning")
    page.get_by_role("link", name="onerror").click()
    expect(page.locator(".tuning .title")).to_contain_text("<script>")
    assert page.evaluate("window.harmed") is None


@pytest.mark.parametrize(("name", "sentence"), [("broken", "no outcome of `chorus tune`"), ("none", "no such tuning")])
def test_a_file_that_is_broken_or_gone_is_said(
    page: Page, watched: Watched, server: ServerProcess, name: str, sentence: str
) -> None:
    watched.expect("404")
    open_at(page, server, name)
    expect(page.get_by_role("alert")).to_contain_text(sentence)
    expect(page.locator(".names")).to_contain_text("july")


def test_without_an_outcome_it_says_how_to_get_one(page: Page, tmp_path: Path) -> None:
    folder = str(tmp_path / "none")
    with ServerProcess(CONFIG.format(json.dumps(folder)), env={"CHORUS_LOG": "error"}) as server:
        page.goto(f"{server.base}/ui/#/tuning")
        expect(page.locator(".empty")).to_contain_text(folder)
        expect(page.locator(".empty")).to_contain_text("chorus tune")
        page.goto("about:blank")  # the server goes next
