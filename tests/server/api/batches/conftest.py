"""Servers for tests of batches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from chorus.auth.budget import KeyBudget
from chorus.auth.keys import KeyFile
from tests.kit import Say, ScriptedUpstream, ServerProcess
from tests.kit.fixtures import connected
from tests.server.api.batches.client import CONFIG, Client, Object
from tests.server.running import Running, running


@pytest.fixture
async def served(scripted: ScriptedUpstream) -> AsyncIterator[Running]:
    with running(CONFIG.format(base=scripted.base, model="")) as started:
        yield started


@pytest.fixture
async def api(served: Running) -> AsyncIterator[Client]:
    async with connected(served.base) as http:
        yield Client(http)


@pytest.fixture
async def narrow(scripted: ScriptedUpstream) -> AsyncIterator[Client]:
    """A client of a server whose model answers one call at a time."""
    with running(CONFIG.format(base=scripted.base, model="max_concurrency = 1")) as started:
        async with connected(started.base) as http:
            yield Client(http)


KEYED: Final = """
[server]
require_auth = true
keys_file = "{keys}"
[[model]]
name = "glm"
api_base = "{base}/v1"
price = {{ input = 1000000, output = 1000000 }}
[[model]]
name = "kimi"
api_base = "{base}/v1"
"""


@pytest.fixture
async def keyed(scripted: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[dict[str, Client]]:
    """A client for each key, of a server where each token of glm costs 1."""
    scripted.on("glm", Say("good", usage=(6, 4)))
    file = KeyFile(tmp_path / "keys.json")
    budget = KeyBudget(amount=15.0, per="month")
    options: dict[str, Object] = {"ann": {}, "ben": {}, "slow": {"requests": ("6/second",)}, "poor": {"budget": budget}}
    texts = {
        name: file.create(name, role="client", models=("glm",), expires=None, **more)[0]
        for name, more in options.items()
    }
    with ServerProcess(KEYED.format(keys=tmp_path / "keys.json", base=scripted.base)) as server:
        async with AsyncExitStack() as stack:
            clients = {name: Client(await stack.enter_async_context(connected(server.base))) for name in texts}
            for name, text in texts.items():
                clients[name].http.headers["authorization"] = f"Bearer {text}"
            yield clients
