"""One server in front of one scripted upstream, with small limits so that they can be reached."""

from __future__ import annotations

import pytest

from tests.kit import Say, ScriptedUpstream
from tests.kit.fixtures import client, serving, upstream

__all__ = ["client", "scripted", "server", "upstream"]

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


server = serving(lambda upstream: CONFIG.format(base=upstream.base, max_body=MAX_BODY))


@pytest.fixture
def scripted(upstream: ScriptedUpstream) -> ScriptedUpstream:
    """The upstream with every model well again."""
    upstream.forget()
    return upstream.on("glm", Say("one two three")).on("kimi", Say("one two four"))
