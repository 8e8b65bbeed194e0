"""Runs of the demo that the tests of the page look at."""

from __future__ import annotations

import httpx

from tests.kit import ServerProcess


def ask(demo: ServerProcess, model: str, question: str) -> str:
    """Ask, and return the id of the run."""
    body = {"model": model, "messages": [{"role": "user", "content": question}]}
    response = httpx.post(f"{demo.api_base}/chat/completions", json=body, timeout=60)
    return response.headers["x-chorus-workflow-id"]
