"""One server in front of one scripted upstream, with small limits so that they can be reached."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.kit import Say, ScriptedUpstream, ServerProcess

MAX_BODY = 200_000

CONFIG = """
[server]
max_body_bytes = {max_body}
heartbeat_secs = 0.05
allowed_hosts = ["chorus.lan"]
cors_origins = ["https://app.example.com"]

[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0

[[model]]
name = "kimi"
api_base = "{base}/v1"
retries = 0

[workflow-integration]
json = '''{{"workers": ["glm", "kimi"], "synthesizer": "glm"}}'''

[workflows.team]
json = '''{{"workers": ["glm", "kimi"], "synthesizer": "kimi"}}'''
"""


@pytest.fixture(scope="package")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as scripted:
        yield scripted


@pytest.fixture(scope="package")
def server(upstream: ScriptedUpstream) -> Iterator[ServerProcess]:
    text = CONFIG.format(base=upstream.base, max_body=MAX_BODY)
    with ServerProcess(text, env={"CHORUS_LOG": "error"}) as process:
        yield process


@pytest.fixture
def scripted(upstream: ScriptedUpstream) -> ScriptedUpstream:
    """The upstream with every model well again."""
    upstream.forget()
    return upstream.on("glm", Say("one two three")).on("kimi", Say("one two four"))


def connected(base: str) -> httpx.AsyncClient:
    """A client of `base`. Nothing here speaks TLS, and reading all certificates takes longer than most tests."""
    return httpx.AsyncClient(base_url=base, timeout=10, verify=False)


@pytest.fixture
async def client(server: ServerProcess, scripted: ScriptedUpstream) -> AsyncIterator[httpx.AsyncClient]:
    async with connected(server.base) as client:
        yield client
