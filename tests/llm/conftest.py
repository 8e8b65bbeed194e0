"""An upstream that does what a test says, and the clients that reach it."""

from collections.abc import AsyncIterator

import pytest

from chorus.llm.transport.clients import Clients
from tests.kit import ScriptedUpstream


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedUpstream]:
    async with ScriptedUpstream() as upstream:
        yield upstream


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    clients = Clients()
    yield clients
    await clients.aclose()
