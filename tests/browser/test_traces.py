"""Traces: the list and its filter, one run with its waterfall, a run again, two beside each other
(O4).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from chorus.auth.keys import KeyFile, Role
from tests.browser.conftest import Axe
from tests.browser.runs import ask
from tests.kit import ServerProcess
from tests.kit.browser import Watched, settle

pytestmark = [pytest.mark.requirement("O4")]


@pytest.fixture(scope="module")
def degraded(demo: ServerProcess) -> str:
    """A run of `chorus` of which one worker failed."""
    return ask(demo, "chorus", "moody: fail. What is 2 + 2?")


@pytest.fixture(scope="module")
def nested(demo: ServerProcess) -> str:
    """A run of a workflow of workflows."""
    return ask(demo, "chorus/nested", "How does the selector choose?")


@pytest.fixture
def hanging(demo: ServerProcess) -> Iterator[str]:
    """A run that goes on until it is stopped."""
    body = {"model": "demo-moody", "messages": [{"role": "user", "content": "moody: hang. What is 2 + 2?"}]}
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(httpx.post, f"{demo.api_base}/chat/completions", json=body, timeout=60)
        id = None
        while id is None:
            runs = httpx.get(f"{demo.base}/api/v1/runs").json()["runs"]
            id = next((run["id"] for run in runs if run["state"] == "running"), None)
        yield id
        httpx.post(f"{demo.base}/api/v1/runs/{id}/cancel")
        asked.result()


def open_trace(page: Page, demo: ServerProcess, address: str) -> None:
    page.goto("about:blank")  # an address that differs in its hash only loads nothing
    page.goto(f"{demo.base}/ui/#/traces/{address}")


def paths(page: Page, selector: str) -> list[str]:
    """The paths of the stages that the elements of `selector` show."""
    return page.locator(selector).evaluate_all("(all) => all.map((one) => one.dataset.path)")


def ids(page: Page) -> list[str]:
    """The ids of the runs that the list shows."""
    return page.locator(".trace-table tbody tr").evaluate_all("(all) => all.map((one) => one.dataset.id)")


def test_the_waterfall_and_the_table_show_the_same_stages(page: Page, demo: ServerProcess, nested: str) -> None:
    page.goto(f"{demo.base}/ui/#/traces")
    page.locator(f"[data-id={nested}] a").click()
    expect(page.locator(".waterfall")).to_be_visible()
    shown = paths(page, ".waterfall-row")
    assert shown == paths(page, ".stage-table tbody tr")
    assert {"0", "0/0", "0/selector", "selector"} <= set(shown)
    trace = httpx.get(f"{demo.base}/api/v1/workflows/{nested}").json()
    settle(page)
    box = page.locator(".waterfall-row .track").first.bounding_box()
    assert box is not None
    for path, stage in (("0/0", trace["workers"][0]["nested"]["workers"][0]), ("selector", trace["selector"])):
        bars = page.locator(f".waterfall-row[data-path='{path}'] .part").evaluate_all(
            "(all) => all.map((one) => one.getBoundingClientRect()).map(({left, right}) => [left, right])"
        )
        scale = box["width"] / max(trace["duration_ms"], 1)
        assert bars[0][0] - box["x"] == pytest.approx(stage["started_ms"] * scale, abs=2)
        end = (stage["started_ms"] + stage["duration_ms"]) * scale
        assert bars[-1][1] - box["x"] == pytest.approx(end, abs=3)


def test_a_failed_worker_says_why_and_how_often_it_was_tried(page: Page, demo: ServerProcess, degraded: str) -> None:
    open_trace(page, demo, degraded)
    row = page.locator(".waterfall-row[data-path='4']")
    expect(row).to_contain_text("failed")
    expect(row).to_contain_text("3 attempts")
    expect(page.locator(".run-summary")).to_contain_text("degraded")
    row.click()
    expect(page.locator(".stage-detail")).to_contain_text("3 attempts: demo-moody@demo ×3")
    expect(page.locator(".stage-detail .problem")).to_contain_text("was told to fail")


def test_the_stages_are_walked_through_by_the_keyboard(page: Page, demo: ServerProcess, degraded: str) -> None:
    open_trace(page, demo, degraded)
    page.locator(".waterfall-row").first.focus()
    page.keyboard.press("Enter")
    detail = page.locator(".stage-detail")
    expect(detail.locator("h2")).to_have_text("Analyzer · demo-judge")
    expect(detail).to_contain_text("arithmetic")
    page.keyboard.press("End")
    expect(detail.locator("h2")).to_have_text("Synthesizer · demo-judge")
    page.keyboard.press("ArrowUp")
    expect(detail.locator("h2")).to_have_text("Judge · demo-judge")
    expect(detail.locator("tbody tr").first).to_contain_text("demo-abacus")
    expect(page.locator(".waterfall-row[aria-selected=true]")).to_be_focused()
    assert page.url.endswith("?stage=selector")
    page.reload()
    expect(detail.locator("h2")).to_have_text("Judge · demo-judge")
    button = page.get_by_role("region", name="Stages of the run").get_by_role("button", name="demo-abacus")
    button.focus()
    page.keyboard.press("Enter")
    expect(detail.locator("h2")).to_have_text("demo-abacus")
    expect(button).to_be_focused()


def test_the_filter_is_in_the_address(page: Page, demo: ServerProcess, degraded: str, nested: str) -> None:
    page.goto(f"{demo.base}/ui/#/traces?status=degraded")
    expect(page.locator(f"[data-id={degraded}]")).to_be_visible()
    assert nested not in ids(page)
    expect(page.get_by_label("Status")).to_have_value("degraded")
    page.get_by_label("Status").select_option("")
    page.get_by_label("Workflow or model").fill("chorus/nested")
    expect(page.locator(f"[data-id={degraded}]")).to_have_count(0)
    expect(page.locator(f"[data-id={nested}]")).to_be_visible()
    assert page.url.endswith("#/traces?workflow=chorus%2Fnested")
    page.get_by_label("At least, seconds").fill("3600")
    expect(page.locator(".empty")).to_have_text("No run matches this filter.")
    page.reload()
    expect(page.locator(".empty")).to_be_visible()
    page.get_by_label("Workflow or model").fill("")
    page.get_by_label("At least, seconds").fill("")
    page.get_by_label("Id contains").fill(degraded[5:])
    expect(page.locator(f"[data-id={degraded}]")).to_be_visible()
    assert ids(page) == [degraded]


def test_two_runs_are_ticked_and_compared(page: Page, demo: ServerProcess, degraded: str, nested: str) -> None:
    page.goto(f"{demo.base}/ui/#/traces")
    for id in (nested, degraded):
        page.locator(f"[data-id={id}] input").focus()
        page.keyboard.press("Space")
        expect(page.locator(f"[data-id={id}] input")).to_be_checked()
        expect(page.locator(f"[data-id={id}] input")).to_be_focused()
    page.get_by_role("link", name="Compare").click()
    expect(page.locator(".figures")).to_be_visible()
    older, newer = page.locator(".figures thead .id").all_text_contents()
    assert {older, newer} == {degraded, nested}
    assert f"#/traces/{older}?with={newer}" in page.url
    one, other = (httpx.get(f"{demo.base}/api/v1/workflows/{id}").json() for id in (older, newer))
    tokens = [one["usage"]["total_tokens"], other["usage"]["total_tokens"]]
    cells = page.locator(".figures tbody tr", has_text="Tokens").locator("td").all_text_contents()
    assert cells[:2] == [f"{count:,}" for count in tokens]
    assert cells[2].startswith("+" if tokens[1] > tokens[0] else "−")
    expect(page.locator(".waterfall")).to_have_count(2)
    ticks = [waterfall.locator(".tick").all_text_contents() for waterfall in page.locator(".waterfall").all()]
    assert ticks[0] == ticks[1]
    expect(page.locator(".worker-pair", has_text="demo-moody")).to_contain_text("not asked")
    page.get_by_role("button", name="Swap A and B").click()
    expect(page.locator(".figures thead .id").first).to_have_text(newer)


def test_a_run_again_is_compared_with_the_first(page: Page, demo: ServerProcess, degraded: str) -> None:
    open_trace(page, demo, degraded)
    page.get_by_label("Run again with").select_option("demo-abacus")
    page.get_by_role("button", name="Run again").click()
    expect(page.locator(".figures")).to_be_visible()
    expect(page.locator(".figures thead th").nth(0)).to_contain_text("chorus")
    expect(page.locator(".figures thead th").nth(1)).to_contain_text("demo-abacus")
    expect(page.get_by_role("region", name="Final answer B")).to_contain_text("2 + 2 = 4")


def test_a_trace_as_json(page: Page, demo: ServerProcess, degraded: str) -> None:
    open_trace(page, demo, degraded)
    page.get_by_text("Raw JSON").first.click()
    trace = httpx.get(f"{demo.base}/api/v1/workflows/{degraded}").json()
    assert json.loads(page.locator(".raw-json pre").text_content() or "") == trace
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == f"{degraded}.json"
    assert json.loads(download.value.path().read_text(encoding="utf-8")) == trace
    page.get_by_role("button", name="Copy").click()
    expect(page.locator(".raw-json [role=status]")).not_to_be_empty()


def test_a_run_that_goes_on_is_followed_and_stopped(page: Page, demo: ServerProcess, hanging: str) -> None:
    page.goto(f"{demo.base}/ui/#/traces")
    row = page.locator(f"[data-id={hanging}]")
    expect(row).to_contain_text("running")
    assert ids(page)[0] == hanging
    row.locator("a").click()
    expect(page.locator(".waterfall-row")).to_contain_text("running")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".run-summary")).to_contain_text("cancelled")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    page.go_back()
    expect(page.locator(f"[data-id={hanging}]")).to_contain_text("cancelled")


def test_an_unknown_run_says_so(page: Page, watched: Watched, demo: ServerProcess) -> None:
    watched.expect("404")
    page.goto(f"{demo.base}/ui/#/traces/wf_never")
    expect(page.get_by_role("alert")).to_contain_text("No workflow of this id is kept")


HOSTILE = (
    '<script>globalThis.harmed = 1</script><img src=x onerror="globalThis.harmed = 1">'
    "[here](javascript:globalThis.harmed=1) ![](https://elsewhere.test/x.png) <a href='javascript:1'>a</a> **bold**"
)


def hostile_trace(trace: dict[str, Any], long: str) -> dict[str, Any]:
    """`trace` with a hostile text in place of every name and text."""
    kept = ("workflow_id", "request_id", "started_at", "status", "temperature_source")

    def changed(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: changed(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [changed(item, name) for item in value]
        if isinstance(value, str) and name not in kept:
            return long if name in ("response", "text") else HOSTILE
        return value

    result = changed(trace)
    result["selector"] |= {"scores": {HOSTILE: 1}, "ranking": [HOSTILE]}
    result["notes"] = [HOSTILE]
    return dict(result)


def test_hostile_texts_do_no_harm(page: Page, demo: ServerProcess, degraded: str) -> None:
    trace = httpx.get(f"{demo.base}/api/v1/workflows/{degraded}").json()
    hostile = hostile_trace(trace, f"{HOSTILE}\n\n```js\n{'x' * 1_000_000}\n")
    page.route(re.compile(f"/api/v1/workflows/{degraded}$"), lambda route: route.fulfill(json=hostile))
    page.route(re.compile(r"/api/v1/workflows\?"), lambda route: route.fulfill(json={"workflows": [hostile]}))
    page.goto(f"{demo.base}/ui/#/traces")
    expect(page.locator(".trace-table")).to_contain_text("<script>")
    open_trace(page, demo, degraded)
    for row in page.locator(".waterfall-row").all():
        row.click()
        expect(page.locator(".stage-detail h2")).to_contain_text("<script>")
    rendered = page.locator(".at-answer")
    expect(rendered.locator(".text")).to_contain_text("<script>")
    rendered.get_by_role("button", name="Show all").click()
    rendered.get_by_role("button", name="Render Markdown").click()
    expect(rendered.get_by_role("button", name="Render Markdown")).to_have_attribute("aria-pressed", "true")
    page.get_by_text("Raw JSON").first.click()
    expect(page.locator(".raw-json pre")).to_contain_text("<script>")
    open_trace(page, demo, f"{degraded}?with={degraded}")
    expect(page.locator(".worker-pair").first).to_contain_text("<script>")
    assert page.evaluate("globalThis.harmed") is None
    assert page.locator("#main script, #main img, #main a[href^=javascript]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_markdown_is_rendered_on_demand(page: Page, demo: ServerProcess, degraded: str) -> None:
    trace = httpx.get(f"{demo.base}/api/v1/workflows/{degraded}").json()
    trace["answers"][0]["text"] = HOSTILE
    page.route(re.compile(f"/api/v1/workflows/{degraded}$"), lambda route: route.fulfill(json=trace))
    open_trace(page, demo, degraded)
    text = page.locator(".at-answer .text")
    expect(text).to_have_text(HOSTILE)
    button = page.locator(".at-answer").get_by_role("button", name="Render Markdown")
    button.click()
    expect(text.locator("strong")).to_have_text("bold")
    assert text.locator("script, img, a[href^=javascript]").count() == 0
    button.click()
    expect(text).to_have_text(HOSTILE)


KEYS = """
[server]
require_auth = true
keys_file = "{keys}"
[[model]]
name = "demo-abacus"
provider = "demo"
"""


def test_a_clients_key_shows_its_own_runs(page: Page, watched: Watched, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    roles: dict[str, Role] = {"ann": "client", "ben": "client", "root": "admin"}
    keys = {name: file.create(name, role=role, models=(), expires=None)[0] for name, role in roles.items()}
    body = {"model": "demo-abacus", "messages": [{"role": "user", "content": "What is 6 * 7?"}]}
    watched.expect("401")  # the page learns by it that the server has keys
    with ServerProcess(KEYS.format(keys=tmp_path / "keys.json"), env={"CHORUS_LOG": "error"}) as server:
        runs = {}
        for name in ("ann", "ben"):
            headers = {"authorization": f"Bearer {keys[name]}"}
            answer = httpx.post(f"{server.api_base}/chat/completions", json=body, headers=headers)
            runs[name] = answer.headers["x-chorus-workflow-id"]
        page.goto(f"{server.base}/ui/#/traces")
        page.get_by_label("Key", exact=True).fill(keys["ann"])
        page.keyboard.press("Enter")
        expect(page.locator(f"[data-id={runs['ann']}]")).to_be_visible()
        assert ids(page) == [runs["ann"]]
        page.locator(f"[data-id={runs['ann']}] a").click()
        expect(page.locator(".at-answer")).to_contain_text("6 × 7 = 42")
        expect(page.get_by_role("button", name="Run again")).to_have_count(0)
        page.get_by_text("Raw JSON").first.click()
        expect(page.locator(".raw-json pre")).to_contain_text("run.finished")
        root = watched.page()
        root.goto(f"{server.base}/ui/#/traces")
        root.get_by_label("Key", exact=True).fill(keys["root"])
        root.keyboard.press("Enter")
        expect(root.locator(f"[data-id={runs['ben']}]")).to_be_visible()
        assert set(ids(root)) == set(runs.values())


def test_a_list_of_a_thousand_is_bounded(page: Page, demo: ServerProcess, degraded: str) -> None:
    trace = httpx.get(f"{demo.base}/api/v1/workflows/{degraded}").json()
    asked: list[int] = []

    def fulfill(route: Any) -> None:
        limit = int(re.findall(r"limit=(\d+)", route.request.url)[0])
        asked.append(limit)
        route.fulfill(json={"workflows": [{**trace, "workflow_id": f"wf_{number}"} for number in range(limit)]})

    page.route(re.compile(r"/api/v1/workflows\?"), fulfill)
    page.goto(f"{demo.base}/ui/#/traces")
    rows = page.locator(".trace-table tbody tr")
    for count in (100, 200, 400, 800, 1000):
        expect(rows).to_have_count(count)
        if count < 1000:
            page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)
    assert asked == [100, 200, 400, 800, 1000]


@pytest.mark.parametrize("what", ["list", "one", "two"])
def test_axe_finds_nothing(page: Page, demo: ServerProcess, axe: Axe, degraded: str, nested: str, what: str) -> None:
    address = {"list": "", "one": f"/{degraded}?stage=selector", "two": f"/{degraded}?with={nested}"}[what]
    page.goto(f"{demo.base}/ui/#/traces{address}")
    expect(page.locator("#main table").first).to_be_visible()
    settle(page)
    assert axe(page) == []
    page.emulate_media(color_scheme="dark")
    assert axe(page, "color-contrast") == []


@pytest.mark.parametrize("what", ["list", "one", "two"])
def test_nothing_is_wider_than_a_phone(
    narrow: Page, demo: ServerProcess, degraded: str, nested: str, what: str
) -> None:
    address = {"list": "", "one": f"/{nested}?stage=selector", "two": f"/{degraded}?with={nested}"}[what]
    narrow.goto(f"{demo.base}/ui/#/traces{address}")
    expect(narrow.locator("#main table").first).to_be_visible()
    settle(narrow)
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 360


def test_in_chinese(chinese: Page, demo: ServerProcess, degraded: str) -> None:
    chinese.goto(f"{demo.base}/ui/#/traces/{degraded}?stage=4")
    expect(chinese.locator(".waterfall-row[data-path='4']")).to_contain_text("尝试 3 次")
    expect(chinese.locator(".run-summary")).to_contain_text("部分失败")
