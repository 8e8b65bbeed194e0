"""A scripted Responses API, and Chorus in front of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.kit.providers.http import KEY
from tests.kit.providers.responses import ResponsesProvider
from tests.server.running import Running, running


@pytest.fixture(scope="package")
def serving() -> Iterator[ResponsesProvider]:
    with ResponsesProvider.serving() as serving:
        yield serving


@pytest.fixture
def provider(serving: ResponsesProvider) -> ResponsesProvider:
    """The provider without a script."""
    serving.forget()
    return serving


@pytest.fixture(scope="package")
def server(serving: ResponsesProvider) -> Iterator[Running]:
    """Chorus with the model `m` at the provider, `slow` in the background, and a workflow of
    `m`.
    """
    config = f"""
    [[model]]
    name = "m"
    retries = 0
    {serving.settings()}
    [[model]]
    name = "slow"
    retries = 0
    extra_body = {{background = true, reasoning = {{effort = "high"}}}}
    {serving.settings()}
    [workflows.flow]
    workers = ["m", "m"]
    selector = "m"
    """
    with running(config) as server:
        yield server


@pytest.fixture
def client(server: Running) -> Iterator[OpenAI]:
    """OpenAI's client of Chorus."""
    with OpenAI(base_url=server.api_base, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def direct(serving: ResponsesProvider) -> Iterator[OpenAI]:
    """OpenAI's client of the scripted upstream itself."""
    with OpenAI(base_url=f"{serving.base}/v1", api_key=KEY, max_retries=0) as client:
        yield client
