"""Ask: the workers side by side, the verdict, the answer; stopped, continued, opened again (O4)."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Axe
from tests.browser.panels import WORKERS, served
from tests.kit import Gate, Say, ScriptedUpstream, ServerProcess, Status
from tests.kit.browser import Watched, settle

pytestmark = [pytest.mark.requirement("O4")]

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYPgPAAEDAQAIicLsAAAAAElFTkSuQmCC")


@pytest.fixture(scope="module")
def panel() -> Iterator[tuple[ServerProcess, ScriptedUpstream]]:
    with served() as both:
        yield both


@pytest.fixture
def server(panel: tuple[ServerProcess, ScriptedUpstream]) -> ServerProcess:
    return panel[0]


@pytest.fixture
def upstream(panel: tuple[ServerProcess, ScriptedUpstream]) -> ScriptedUpstream:
    """The workers, each of which answers by its name."""
    for name in WORKERS:
        panel[1].on(name, Say(f"I am {name}."))
    panel[1].forget()
    return panel[1]


def ask(page: Page, question: str) -> None:
    page.get_by_role("textbox", name="Question").fill(question)
    page.keyboard.press("Enter")


def done(page: Page) -> None:
    """Wait for the end of the last run."""
    expect(page.locator(".turn").last.get_by_role("link", name="Open the trace")).to_be_visible()


def test_five_workers_one_of_which_fails_a_verdict_and_an_answer(page: Page, demo: ServerProcess) -> None:
    page.goto(f"{demo.base}/ui/")
    page.get_by_role("button", name="moody: fail. What is 2 + 2?").click()
    done(page)
    cards = page.locator(".card")
    expect(cards).to_have_count(5)
    failed = cards.filter(has_text="demo-moody")
    expect(failed).to_contain_text("failed")
    expect(failed).to_contain_text("told to fail")
    expect(failed).to_contain_text("3 attempts")
    expect(page.locator(".card.winner")).to_contain_text("demo-abacus")
    verdict = page.locator(".verdict")
    expect(verdict).to_contain_text("demo-abacus was chosen")
    expect(verdict).to_contain_text("when I redo the calculation")
    assert verdict.locator("tbody tr").count() == 4
    expect(page.locator(".answer .text")).to_contain_text("2 + 2 = 4")
    expect(page.get_by_role("status").first).to_have_text("The answer is complete")


def test_workers_are_neutral_until_the_verdict(page: Page, server: ServerProcess, upstream: ScriptedUpstream) -> None:
    gate = Gate()
    upstream.on("third", Say("I am late.", gate=gate, gate_at=1))
    page.goto(f"{server.base}/ui/")
    ask(page, "Who is there?")
    heads = page.locator(".card h3")
    expect(heads).to_have_text(["Answer A", "Answer B", "Answer C"])
    expect(page.locator(".card").nth(0)).to_contain_text("done")
    expect(page.locator(".card").nth(2)).to_contain_text("writing")
    expect(page.locator(".card").nth(2)).to_contain_text("I")
    page.get_by_role("button", name="Show names").click()
    expect(heads).to_have_text(list(WORKERS))
    page.get_by_role("button", name="Hide names").click()
    expect(heads).to_have_text(["Answer A", "Answer B", "Answer C"])
    gate.open()
    done(page)
    expect(heads).to_have_text(list(WORKERS))


def test_stop_closes_the_calls(page: Page, server: ServerProcess, upstream: ScriptedUpstream) -> None:
    gate = Gate()
    upstream.on("second", Say("It never ends.", gate=gate, gate_at=2))
    page.goto(f"{server.base}/ui/")
    ask(page, "Who is there?")
    expect(page.locator(".card").nth(1)).to_contain_text("It never")
    page.get_by_role("button", name="Stop").click()
    done(page)
    upstream.wait_idle_blocking()
    assert upstream.calls("second")[0].was_cancelled
    expect(page.locator(".run-head")).to_contain_text("cancelled")
    expect(page.locator(".problem")).to_have_count(0)
    expect(page.get_by_role("button", name="Ask", exact=True)).to_be_enabled()


def test_the_address_shows_the_same_run_to_somebody_else(
    watched: Watched, page: Page, server: ServerProcess, upstream: ScriptedUpstream
) -> None:
    page.goto(f"{server.base}/ui/")
    ask(page, "Who is there?")
    done(page)
    answer = page.locator(".answer .text").inner_text()
    calls = len(upstream.requests)
    other = watched.page()
    other.goto(page.url)
    done(other)
    expect(other.locator(".question h2")).to_have_text("Who is there?")
    expect(other.locator(".card h3")).to_have_text(list(WORKERS))
    expect(other.locator(".answer .text")).to_have_text(answer)
    assert len(upstream.requests) == calls


def test_an_address_with_a_question_waits_until_it_is_asked(
    page: Page, server: ServerProcess, upstream: ScriptedUpstream
) -> None:
    page.goto(f"{server.base}/ui/#/ask?model=second&q=Who%20is%20there%3F")
    expect(page.get_by_role("textbox", name="Question")).to_have_value("Who is there?")
    expect(page.get_by_role("combobox", name="Model or workflow")).to_have_value("second")
    assert upstream.requests == []


def test_a_run_that_is_kept_no_more_says_so(page: Page, watched: Watched, server: ServerProcess) -> None:
    watched.expect("404")
    page.goto(f"{server.base}/ui/#/ask?run=wf_000000000000000000000000&q=Who")
    expect(page.locator(".problem")).to_be_visible()
    expect(page.get_by_role("button", name="Ask again")).to_be_visible()


def test_a_conversation_goes_on_and_can_be_asked_again(
    page: Page, server: ServerProcess, upstream: ScriptedUpstream
) -> None:
    page.goto(f"{server.base}/ui/")
    page.get_by_role("combobox", name="Model or workflow").select_option("first")
    ask(page, "Who is there?")
    done(page)
    ask(page, "And who else?")
    expect(page.locator(".turn")).to_have_count(2)
    done(page)
    texts = [message["content"] for message in upstream.calls("first")[-1].messages]
    assert texts == ["Who is there?", "I am first.", "And who else?"]
    page.locator(".turn").last.get_by_role("button", name="Ask again").click()
    expect(page.locator(".turn")).to_have_count(2)
    upstream.wait_requests_blocking(3, model="first")
    done(page)
    texts = [message["content"] for message in upstream.calls("first")[-1].messages]
    assert texts == ["Who is there?", "I am first.", "And who else?"]


def test_an_image_goes_with_the_question(page: Page, server: ServerProcess, upstream: ScriptedUpstream) -> None:
    page.goto(f"{server.base}/ui/")
    page.get_by_role("combobox", name="Model or workflow").select_option("first")
    page.locator("input[type=file]").set_input_files({"name": "dot.png", "mimeType": "image/png", "buffer": PIXEL})
    expect(page.get_by_role("img", name="dot.png")).to_be_visible()
    ask(page, "What is this?")
    done(page)
    content = upstream.calls("first")[0].messages[0]["content"]
    url = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
    assert content == [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]


def test_a_file_that_is_no_image_is_refused(page: Page, server: ServerProcess) -> None:
    page.goto(f"{server.base}/ui/")
    page.locator("input[type=file]").set_input_files({"name": "a.txt", "mimeType": "text/plain", "buffer": b"text"})
    expect(page.get_by_text("no image that can be read")).to_be_visible()


def test_a_run_that_fails_says_why(page: Page, server: ServerProcess, upstream: ScriptedUpstream) -> None:
    for name in WORKERS:
        upstream.on(name, Status(400, {"error": {"message": "no such thing here"}}))
    page.goto(f"{server.base}/ui/")
    ask(page, "Who is there?")
    done(page)
    expect(page.locator(".problem")).to_contain_text("Request req_")
    expect(page.locator(".card").first).to_contain_text("no such thing here")


def test_one_card_alone_by_the_keyboard(page: Page, server: ServerProcess, upstream: ScriptedUpstream) -> None:
    page.goto(f"{server.base}/ui/")
    expect(page.get_by_role("textbox", name="Question")).to_be_focused()
    page.keyboard.type("Who is there?")
    page.keyboard.press("Enter")
    done(page)
    button = page.get_by_role("button", name="Show second alone")
    for _ in range(40):
        page.keyboard.press("Shift+Tab")
        if button.evaluate("(element) => element === document.activeElement"):
            break
    page.keyboard.press("Enter")
    expect(page.locator(".card.focused h3")).to_have_text("second")
    page.keyboard.press("Escape")
    expect(page.locator(".card.focused")).to_have_count(0)


def test_a_word_that_is_composed_sends_nothing(page: Page, server: ServerProcess, upstream: ScriptedUpstream) -> None:
    page.goto(f"{server.base}/ui/")
    box = page.get_by_role("textbox", name="Question")
    box.fill("你好")
    box.evaluate("(box) => box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true}))")
    expect(box).to_have_value("你好")
    assert upstream.requests == []


def test_everybody_can_read_it(watched: Watched, page: Page, demo: ServerProcess, narrow: Page, axe: Axe) -> None:
    page.goto(f"{demo.base}/ui/")
    ask(page, "What is 6 * 7?")
    done(page)
    settle(page)
    assert axe(page) == []
    page.emulate_media(color_scheme="dark")
    assert axe(page, "color-contrast") == []
    narrow.goto(page.url)
    done(narrow)
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 360
    chinese = watched.page(locale="zh-CN")
    chinese.goto(page.url)
    expect(chinese.locator(".verdict")).to_contain_text("为何选择此答案")
    expect(chinese.locator(".answer h2")).to_have_text("最终答案")


def test_nested_workflows_stand_within_each_other(page: Page, demo: ServerProcess, axe: Axe) -> None:
    page.goto(f"{demo.base}/ui/#/ask?model=chorus/nested")
    ask(page, "What is 6 * 7?")
    done(page)
    expect(page.locator(".group > .card-head h3")).to_have_text(["readers", "reckoners"])
    expect(page.locator(".group").nth(1).locator(".card h3")).to_have_text(["demo-abacus", "demo-scribe"])
    expect(page.locator(".outcome .verdict")).to_contain_text("reckoners was chosen")
    settle(page)
    assert axe(page) == []
