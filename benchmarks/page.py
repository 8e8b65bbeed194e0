"""The page while sixteen workers write a hundred tokens a second each: how many frames a second are
drawn.

    python -m benchmarks.page --min-frames 30

A workflow of scripted models streams for six seconds to the screen Ask in Chromium, and the page
counts its own animation frames in the middle four. Exit code 1 when the bar is missed. Nothing is
drawn by a graphics card, so a machine with one does better.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from playwright.sync_api import Page, expect

from tests.kit.browser import Watched, chromium

from .processes import Cost, chorus, scripted_upstream

WORKERS, TOKENS_PER_SEC, SECS, COUNTED_SECS = 16, 100, 6.0, 4.0

_COUNT = """
async (secs) => {
  const frame = () => new Promise(requestAnimationFrame);
  const characters = () => {
    const texts = [...document.querySelectorAll(".card .text")];
    return texts.reduce((sum, text) => sum + text.textContent.length, 0);
  };
  while (characters() === 0) await frame();
  for (const begins = performance.now() + 1000; performance.now() < begins; ) await frame();
  const before = characters();
  const began = await frame();
  let frames = 0, longest = 0, last = began;
  while (last - began < secs * 1000) {
    const now = await frame();
    longest = Math.max(longest, now - last);
    last = now;
    frames += 1;
  }
  const passed = (last - began) / 1000;
  return { frames: frames / passed, longest, characters: (characters() - before) / passed };
}
"""


@dataclass(frozen=True)
class Drawn:
    """What a page drew in a second while text came; the longest time between two frames."""

    frames: float
    longest_ms: float
    characters: float


def configuration(upstream: str, secs: float = SECS) -> str:
    """Return the configuration of a workflow whose workers write for `secs`."""
    gap_ms = 1000 // TOKENS_PER_SEC
    upstream_model = f"m-50-{gap_ms}-{round(secs * TOKENS_PER_SEC)}"
    names = {f"worker-{number}": upstream_model for number in range(1, WORKERS + 1)} | {"judge": "selector-50"}
    models = [
        f'[[model]]\nname = "{name}"\nmodel = "{model}"\napi_base = "{upstream}"\napi_key = "bench"\n'
        for name, model in names.items()
    ]
    workflow = {"workers": [name for name in names if name != "judge"], "selector": {"ref": "judge"}}
    return "\n".join([*models, f'[workflow-integration]\njson = """{json.dumps(workflow)}"""\n'])


def draw(page: Page, base: str, counted_secs: float = COUNTED_SECS) -> Drawn:
    """Ask at the server `base`, and count for `counted_secs`, one second after the first words."""
    page.goto(f"{base}/ui/#/ask?model=chorus")
    page.locator("textarea").fill("Write.")
    page.keyboard.press("Enter")
    counted = page.evaluate(_COUNT, counted_secs)
    expect(page.locator(".card")).to_have_count(WORKERS)
    return Drawn(counted["frames"], counted["longest"], counted["characters"])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--min-frames", type=float, default=30.0, help="a second")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    worst = float("inf")
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(chorus(configuration(stack.enter_context(scripted_upstream()))))
        browser = stack.enter_context(chromium())
        for _ in range(options.rounds):
            cost = Cost(server.pid)
            with Watched(browser) as watched:
                before = cost.cpu_ms()
                drawn = draw(watched.page(width=1440, height=900), server.base)
                spent = cost.cpu_ms() - before
            print(
                f"{drawn.frames:5.1f} frames a second, the longest gap {drawn.longest_ms:4.0f} ms, "
                f"{drawn.characters:6.0f} characters a second; the server used {spent:4.0f} ms of CPU"
            )
            worst = min(worst, drawn.frames)
    print(f"{'ok' if worst >= options.min_frames else 'BELOW THE BAR'}: >= {options.min_frames:.0f} frames a second")
    return 0 if worst >= options.min_frames else 1


if __name__ == "__main__":
    sys.exit(main())
