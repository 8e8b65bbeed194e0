"""One provider of the matrix, and Chorus in front of it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.kit.providers import ScriptedProvider
from tests.llm.providers.matrix.rows import PROVIDERS
from tests.server.running import running


@pytest.fixture(scope="package", params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> Iterator[ScriptedProvider]:
    """The scripted provider of a row."""
    with PROVIDERS[request.param].serving() as serving:
        yield serving


@pytest.fixture(scope="package")
def http(provider: ScriptedProvider) -> Iterator[httpx.Client]:
    """A client of a server with the provider's model: "once" is tried once, "again" up to three times."""
    config = (
        f'[[model]]\nname = "once"\nretries = 0\n{provider.settings()}\n'
        f'[[model]]\nname = "again"\nretries = 2\n{provider.settings()}\n'
    )
    with running(config) as server, httpx.Client(base_url=server.base, timeout=20, trust_env=False) as client:
        yield client
