"""One server in front of one upstream whose endpoints are as strict as the real ones."""

from __future__ import annotations

import pytest

from tests.kit import ScriptedUpstream
from tests.kit.fixtures import client, serving, upstream
from tests.kit.providers.relayed import MODEL, Received, relayed

__all__ = ["client", "scripted", "server", "taken", "upstream"]

CONFIG = """
[server]
max_body_bytes = 3_000_000

[[model]]
name = "m"
model = "{model}"
api_base = "{base}/v1"
api_key = "sk-relay-secret"
retries = 0
price = {{ input = 1.0, output = 2.0 }}

[[model]]
name = "demo"
provider = "demo"
model = "demo-abacus"

[workflow-integration]
json = '''{{"workers": ["m", "m"], "synthesizer": "m"}}'''
"""

server = serving(lambda upstream: CONFIG.format(base=upstream.base, model=MODEL))


@pytest.fixture
def taken(upstream: ScriptedUpstream) -> list[Received]:
    """What the upstream has taken, well again."""
    upstream.forget()
    return relayed(upstream, key="sk-relay-secret")


@pytest.fixture
def scripted(upstream: ScriptedUpstream, taken: list[Received]) -> ScriptedUpstream:
    return upstream
