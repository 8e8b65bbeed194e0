"""A request that is over is freed at once (S3): nothing of it waits for the garbage collector,
which may come minutes later. A request with an image is 11 MB.
"""

from __future__ import annotations

import contextlib
import gc
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.kit import ScriptedUpstream
from tests.kit.conventions import by_name
from tests.server.running import Running, running

CONFIG = """
[trace]
keep = 0
[limits]
requests = "1000000/second"
[[model]]
name = "m-0-0-4"
replicas = ["{up}"]
[[model]]
name = "m-0-50-100"
replicas = ["{up}"]
[[model]]
name = "hang-headers"
replicas = ["{up}"]
[[model]]
name = "status-500"
replicas = ["{up}"]
retries = 0
[[model]]
name = "cut-2"
replicas = ["{up}"]
retries = 0
[[model]]
name = "selector-0"
replicas = ["{up}"]
[[model]]
name = "m-100-0-4"
replicas = ["{up}"]
[workflow-integration]
json = '''{{"workers": ["m-100-0-4", "m-0-0-4"], "selector": "selector-0", "synthesizer": "m-0-0-4"}}'''
"""
MESSAGES = [{"role": "user", "content": "What is it?"}]
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/responses": {"input": "What is it?"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 100},
    "/v1/completions": {"prompt": "What is it?"},
    "/api/chat": {"messages": MESSAGES},
    "/api/generate": {"prompt": "What is it?"},
}
MODELS = ("m-0-0-4", "chorus", "status-500", "cut-2", "unknown")


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with (
        ScriptedUpstream.in_thread(default=by_name) as upstream,
        running(CONFIG.format(up=upstream.api_base)) as server,
    ):
        yield server


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("route", ROUTES)
async def test_a_request_leaves_nothing_to_the_garbage_collector(
    server: Running, route: str, model: str, stream: bool
) -> None:
    body = {**ROUTES[route], "model": model, "stream": stream}
    for number in range(2):
        async with httpx.AsyncClient(base_url=server.base) as client:
            await client.post(route, json=body)
        await server.until(lambda: not server.connections)
        if number == 0:  # the first one imports and caches
            keep()
    assert garbage() == Counter()


@pytest.mark.parametrize("model", ["m-0-50-100", "chorus", "hang-headers"])
async def test_a_client_that_disconnects_leaves_nothing_either(server: Running, model: str) -> None:
    body = {"model": model, "stream": True, "messages": MESSAGES}
    for number in range(2):
        async with httpx.AsyncClient(base_url=server.base) as client:
            with contextlib.suppress(httpx.ReadTimeout):
                async with client.stream("POST", "/v1/chat/completions", json=body, timeout=0.05) as reply:
                    await anext(reply.aiter_lines())
        await server.until(lambda: not server.connections)
        if number == 0:  # the first one imports and caches
            keep()
    assert garbage() == Counter()


def keep() -> None:
    """Keep the collector from what is there: to look through a million objects of the tests'
    process takes 0.1 s of CPU, three times for each of the tests.
    """
    gc.collect()
    gc.freeze()


def garbage() -> Counter[str]:
    """Collect what only reference cycles keep; return the types of ours among it."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        names = Counter(f"{type(value).__module__}.{type(value).__qualname__}" for value in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.collect()  # what was found is still there
    return Counter({name: count for name, count in names.items() if name.startswith(("chorus.", "uvicorn."))})
