"""The page in a browser: one Chromium and one demo for the folder, new contexts for each test.

A test fails, too, where its pages write an error to the console, violate their policy, or ask
another origin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.clients import environments
from tests.kit import ServerProcess
from tests.kit.browser import Watched, chromium, violations

Axe = Callable[..., list[str]]


@pytest.fixture(scope="package")
def demo() -> Iterator[ServerProcess]:
    """`chorus demo` as a process."""
    with ServerProcess(args=["demo"], env={"CHORUS_LOG": "error"}) as server:
        yield server


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def watched(browser: Browser) -> Iterator[Watched]:
    """What makes pages: `watched.page(color_scheme="dark", width=360)`.

    `watched.expect(...)` allows what a test brings about itself.
    """
    with Watched(browser) as watched:
        yield watched
    assert watched.problems == []


@pytest.fixture(scope="session")
def axe() -> Axe:
    """What axe-core has against a page, by some of its rules or by all:
    `assert axe(page) == []`.
    """
    source = environments.axe()
    if source is None:
        pytest.skip("Node is not on this machine: axe-core was not tried")
    return lambda page, *rules: violations(page, source, *rules)


@pytest.fixture
def page(watched: Watched) -> Page:
    """A page of 1280 × 800 in English, light."""
    return watched.page()


@pytest.fixture
def chinese(watched: Watched) -> Page:
    """A page of a browser that prefers Chinese."""
    return watched.page(locale="zh-CN")


@pytest.fixture
def dark(watched: Watched) -> Page:
    """A page of a browser that prefers dark colors."""
    return watched.page(color_scheme="dark")


@pytest.fixture
def narrow(watched: Watched) -> Page:
    """A page 360 pixels wide, which can be touched."""
    return watched.page(width=360, height=740, has_touch=True, is_mobile=True)
