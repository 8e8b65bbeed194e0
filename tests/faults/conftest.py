"""One Chorus process and one scripted upstream for all fault tests.

Each test scripts its own models' behaviour.
"""

from __future__ import annotations

import pytest

from tests.kit import Say, ScriptedUpstream
from tests.kit.fixtures import client, serving, upstream

__all__ = ["client", "scripted", "server", "upstream"]

MODELS = ("analyzer", "w1", "w2", "w3", "w4", "selector", "synthesizer", "single")
PLANTED_KEY = "sk-planted0123456789abcdef"

ANALYSIS = '{"task_type": "general", "temperature": 0.3, "difficulty": "easy"}'
VERDICT = '{"choice": "A", "reason": "it is first", "scores": {"A": 9}}'


def config(upstream: str) -> str:
    entries = "".join(
        f'[[model]]\nname = "{name}"\napi_base = "{upstream}"\napi_key = "{PLANTED_KEY}"\n\n' for name in MODELS
    )
    workers = ", ".join(f'{{"ref": "w{i}", "auto_temperature": true}}' for i in range(1, 5))
    return f"""{entries}
[timeouts]
first_byte_timeout_secs = 1.5
idle_timeout_secs = 1.5

[workflow.timeouts]
worker_timeout_secs = 1.5
selector_timeout_secs = 1.5
analyzer_timeout_secs = 1.5
synthesizer_timeout_secs = 1.5

[workflow-integration]
json = '''{{"analyzer": "analyzer", "workers": [{workers}], "selector": "selector", "synthesizer": "synthesizer"}}'''

[workflows.pick]
json = '''{{"workers": ["w1", "w2"], "selector": "selector"}}'''
"""


server = serving(lambda upstream: config(upstream.api_base), log="debug")


@pytest.fixture
def scripted(upstream: ScriptedUpstream) -> ScriptedUpstream:
    """The upstream with every model well again."""
    upstream.forget()
    upstream.on("analyzer", Say(ANALYSIS)).on("selector", Say(VERDICT)).on("synthesizer", Say("the final answer"))
    for name in ("w1", "w2", "w3", "w4", "single"):
        upstream.on(name, Say(f"answer of {name}"))
    return upstream
