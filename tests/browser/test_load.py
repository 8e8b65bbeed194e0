"""Sixteen workers that write a hundred tokens a second each: the page goes on drawing (O4).

The bar of 30 frames a second is that of `benchmarks.page`, on a machine that does nothing else.
"""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from benchmarks.page import WORKERS, configuration, draw
from tests.kit import ScriptedUpstream, ServerProcess, conventions

pytestmark = [pytest.mark.requirement("O4")]

SECS = 3.0
MIN_FRAMES = 4.0
"""A second. A page that lays all text out again for each token draws less than one."""


def test_the_page_draws_while_sixteen_workers_write(page: Page) -> None:
    with ScriptedUpstream.in_thread(default=conventions.by_name) as upstream:
        config = configuration(upstream.api_base, SECS)
        with ServerProcess(config, env={"CHORUS_LOG": "error"}) as server:
            drawn = draw(page, server.base, counted_secs=1.0)
            assert drawn.frames >= MIN_FRAMES
            assert drawn.characters > 0
            expect(page.locator(".card.over")).to_have_count(WORKERS)
            expect(page.locator(".card.winner")).to_have_count(1)
            expect(page.locator(".answer")).to_contain_text("tok299")
            page.close()
