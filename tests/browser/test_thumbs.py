"""Thumbs: what somebody thinks of an answer goes to the server, from Ask and from a trace (O4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Axe
from tests.browser.runs import ask
from tests.kit import ServerProcess
from tests.kit.browser import Watched

pytestmark = [pytest.mark.requirement("O4")]

CONFIG = """
[storage]
url = "memory:"
[[model]]
name = "demo-abacus"
provider = "demo"
[[model]]
name = "demo-scribe"
provider = "demo"
[[model]]
name = "demo-judge"
provider = "demo"
[workflows.learn]
route = "learned"
workers = ["demo-abacus", "demo-scribe"]
selector = "demo-judge"
"""


@pytest.fixture(scope="module")
def learning() -> Iterator[ServerProcess]:
    with ServerProcess(CONFIG, env={"CHORUS_LOG": "error"}) as server:
        yield server


def feedback(server: ServerProcess, id: str) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = httpx.get(f"{server.base}/api/v1/workflows/{id}").json().get("feedback", [])
    return said


def test_a_thumb_under_an_answer_moves_the_posterior(page: Page, learning: ServerProcess) -> None:
    page.goto(f"{learning.base}/ui/#/ask?model=chorus/learn")
    page.get_by_role("textbox", name="Question").fill("What is 2 + 2?")
    page.keyboard.press("Enter")
    up, down = (page.get_by_role("button", name=name) for name in ("Good answer", "Bad answer"))
    expect(up).to_have_attribute("aria-pressed", "false")
    up.click()
    expect(up).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_text("Noted, thank you")).to_be_visible()
    link = page.get_by_role("link", name="Open the trace").get_attribute("href")
    assert link is not None
    id = link.rpartition("/")[2]
    assert [(one["score"], one["comment"]) for one in feedback(learning, id)] == [(1.0, "")]
    rows = httpx.get(f"{learning.base}/api/v1/learning").json()["data"]
    assert {row["worker"]: row["liked"] for row in rows} == {"demo-abacus": 1.0, "demo-scribe": 0.0}
    down.click()
    expect(down).to_have_attribute("aria-pressed", "true")
    expect(up).to_have_attribute("aria-pressed", "false")
    page.get_by_role("textbox", name="Comment").fill("<b>not</b> so good")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("textbox", name="Comment")).to_be_hidden()
    assert [(one["score"], one["comment"]) for one in feedback(learning, id)] == [(0.0, "<b>not</b> so good")]


def test_a_trace_shows_the_thumb_that_was_given_and_why_workers_were_picked(
    page: Page, learning: ServerProcess, axe: Axe
) -> None:
    id = ask(learning, "chorus/learn", "What is 2 + 2?")
    httpx.post(f"{learning.base}/api/v1/feedback", json={"workflow_id": id, "score": 0, "comment": "no"})
    page.goto(f"{learning.base}/ui/#/traces/{id}")
    down = page.get_by_role("button", name="Bad answer")
    expect(down).to_have_attribute("aria-pressed", "true")
    picks = page.get_by_role("list", name="Learned route").get_by_role("listitem")
    expect(picks).to_have_count(2)
    expect(picks.first).to_contain_text("demo-abacus picked for any: ")
    page.get_by_role("button", name="Good answer").click()
    expect(down).to_have_attribute("aria-pressed", "false")
    assert feedback(learning, id)[0]["score"] == 1.0
    assert axe(page) == []


def test_a_refusal_is_shown(watched: Watched, learning: ServerProcess) -> None:
    page = watched.page()
    id = ask(learning, "chorus/learn", "What is 2 + 2?")
    page.goto(f"{learning.base}/ui/#/traces/{id}")
    refusal = {"error": {"message": "No workflow of this id is kept.", "code": "not_found"}}
    page.route("**/api/v1/feedback", lambda route: route.fulfill(status=404, json=refusal))
    watched.expect("404")
    page.get_by_role("button", name="Good answer").click()
    expect(page.get_by_text("No workflow of this id is kept.")).to_be_visible()
    expect(page.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "false")


def test_thumbs_speak_chinese(chinese: Page, learning: ServerProcess) -> None:
    id = ask(learning, "chorus/learn", "What is 2 + 2?")
    chinese.goto(f"{learning.base}/ui/#/traces/{id}")
    chinese.get_by_role("button", name="回答得好").click()
    expect(chinese.get_by_text("已记录，谢谢")).to_be_visible()
