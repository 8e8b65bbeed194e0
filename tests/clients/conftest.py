"""One server in front of one scripted upstream.

Every test runs for a single model and for the workflow `chorus`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from openai import OpenAI

from tests.kit import Recorded, Say, ScriptedUpstream, ServerProcess
from tests.kit.fixtures import serving, upstream

__all__ = ["model", "scripted", "server", "upstream"]

MODELS = ("glm", "kimi", "judge")
ANSWER = "The answer is 好🙂, with a line\u2028separator."
VERDICT = '{"choice": "A", "reason": "it is good", "scores": {"A": 9}}'


def config(base: str) -> str:
    entries = "".join(
        f'[[model]]\nname = "{name}"\napi_base = "{base}/v1"\nretries = 0\ncapabilities = ["tools"]\n\n'
        for name in MODELS
    )
    return f"""{entries}
[[model]]
name = "local"
provider = "ollama"
api_base = "{base}"
context_window = 8192

[workflow-integration]
json = '''{{"analyzer": "judge", "workers": ["glm", "kimi"], "selector": "judge", "synthesizer": "glm"}}'''

[workflows.pick]
description = "the better of two"
json = '''{{"workers": ["glm", "kimi"], "selector": "judge"}}'''
"""


def judge(request: Recorded) -> Say:
    text = request.last_user_text
    return Say('{"task_type": "general", "temperature": 0.5, "difficulty": "easy"}' if "analyzer]" in text else VERDICT)


server = serving(lambda upstream: config(upstream.base))


@pytest.fixture
def scripted(upstream: ScriptedUpstream) -> ScriptedUpstream:
    """The upstream with every model well again."""
    upstream.forget()
    for name in ("glm", "kimi", "local"):
        upstream.on(name, Say(ANSWER, usage=(11, 7)))
    upstream.on("judge", judge)
    return upstream


@pytest.fixture
def client(server: ServerProcess, scripted: ScriptedUpstream) -> Iterator[OpenAI]:
    """OpenAI's library at the server."""
    with OpenAI(base_url=server.api_base, api_key="whatever", max_retries=0) as client:
        yield client


def received(scripted: ScriptedUpstream) -> list[tuple[str, str]]:
    """What the upstream was asked last."""
    return [(message["role"], message["content"]) for message in scripted.calls("glm")[-1].messages]


@pytest.fixture(params=["glm", "chorus", "local"])
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)
