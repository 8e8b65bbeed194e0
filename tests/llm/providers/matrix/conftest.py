"""One provider of the matrix, and Chorus in front of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import certifi
import httpx
import pytest

from tests.clients import environments
from tests.kit import ServerProcess
from tests.kit.command import ROOT
from tests.kit.providers.http import HttpProvider
from tests.llm.providers.matrix.clients import CLIENTS
from tests.llm.providers.matrix.rows import PROVIDERS
from tests.server.running import running

ROWS = [
    pytest.param(kind, id=name, marks=pytest.mark.very_slow if kind.environment else ())
    for name, kind in PROVIDERS.items()
]


@pytest.hookimpl(tryfirst=True)  # before the tests of a run are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave half the cells of a question to `make test-slow`, unless it is marked `every_cell`.

    The other half has each pair of dialect, provider and way (whole or streamed): what a provider
    says reaches a dialect as typed pieces, so that a fault shows in a pair.
    """
    cells = [item for item in items if item.path.parent == Path(__file__).parent and isinstance(item, pytest.Function)]
    questions = list(dict.fromkeys(cell.originalname for cell in cells))
    providers, dialects = list(PROVIDERS.values()), list(CLIENTS.values())
    for cell in cells:
        of = cell.callspec.params
        place = providers.index(of["provider"]) + dialects.index(of["client"]) + questions.index(cell.originalname)
        if place % 2 != of["stream"] and cell.get_closest_marker("every_cell") is None:
            cell.add_marker(pytest.mark.very_slow)


@pytest.fixture(scope="package", params=ROWS)
def provider(request: pytest.FixtureRequest) -> Iterator[HttpProvider]:
    """The scripted provider of a row."""
    kind: type[HttpProvider] = request.param
    with kind.serving() as serving:
        yield serving


@pytest.fixture(scope="package")
def http(provider: HttpProvider) -> Iterator[httpx.Client]:
    """A client of a server with the provider's model: "once" is tried once, "again" up to three
    times.
    """
    config = (
        f'[[model]]\nname = "once"\nretries = 0\n{provider.settings()}\n'
        f'[[model]]\nname = "again"\nretries = 2\n{provider.settings()}\n'
    )
    with (
        served(config, provider.environment) as base,
        httpx.Client(base_url=base, timeout=60, trust_env=False) as client,
    ):
        yield client


@contextlib.contextmanager
def served(config: str, environment: str | None) -> Iterator[str]:
    """The address of a server: in a thread, or a process with the packages of `environment`."""
    if environment is None:
        with running(config) as server:
            yield server.base
        return
    path = f"{ROOT}:{environments.site(environment)}"
    env = {"PYTHONPATH": path, "CHORUS_LOG": "error", "SSL_CERT_FILE": certifi.where()}
    with ServerProcess(config, env=env) as process:
        yield process.base
