"""What the prompt cache saves where one conversation goes to several stages: seen in the trace's
usage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.kit import Recorded
from tests.kit.providers import ModelAnswer
from tests.kit.providers.anthropic import AnthropicProvider
from tests.server.running import running

SYSTEM, QUESTION = "Rules of the house. " * 200, "A long question. " * 200
MARK = re.compile(r'"mark": "(\w+)"')
REPLIES = {
    "[Chorus analyzer]": '{{"mark": "{mark}", "task_type": "facts", "temperature": 0.2, "difficulty": "easy"}}',
    "[Chorus selector]": '{{"mark": "{mark}", "choice": "A", "ranking": ["A", "B"], "reason": "right", '
    '"scores": {{"A": 9, "B": 3}}, "decisive": false}}',
}
WORKFLOW = """
[workflow-integration]
analyzer = "claude"
workers = ["claude", "other"]
selector = "claude"
synthesizer = "claude"
"""


@pytest.fixture(scope="module")
def provider() -> Iterator[AnthropicProvider]:
    with AnthropicProvider.serving() as serving:

        def answered(recorded: Recorded) -> Any:
            text = recorded.json["messages"][-1]["content"][-1]["text"]
            found = MARK.search(text)
            reply = next((reply for head, reply in REPLIES.items() if text.startswith(head)), "It rains.")
            said = reply.format(mark=found[1]) if found else f"It rains, says {recorded.json['model']}."
            serving.script(ModelAnswer(said))
            return serving._answered(recorded)

        serving.upstream.on("/v1/messages", answered)
        yield serving


def stages_of(provider: AnthropicProvider, more: str, **body: Any) -> dict[str, dict[str, int]]:
    """The usage of each stage of one request, by the names of its kind and its model."""
    models = "".join(
        f'[[model]]\nname = "{name}"\n{more}\n{provider.settings()}'.replace(provider.model, model)
        for name, model in (("claude", provider.model), ("other", "claude-opus-4-5"))
    )
    provider.cached.clear()
    with running(models + WORKFLOW) as server:
        asked = {"model": "chorus", "include_workflow": True, **body}
        asked["messages"] = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
        answer = httpx.post(f"{server.api_base}/chat/completions", json=asked, timeout=30, trust_env=False)
        assert answer.status_code == 200, answer.text
        trace = httpx.get(
            f"{server.base}/api/v1/workflows/{answer.headers['x-chorus-workflow-id']}", trust_env=False
        ).json()
    workers = {f"worker {stage['model']}": stage["usage"] for stage in trace["workers"]}
    stages = {f"{kind} claude": trace[kind]["usage"] for kind in ("analyzer", "selector", "synthesizer")}
    return {"answer": answer.json()["usage"], "all": trace["usage"], **workers, **stages}


@pytest.mark.requirement("W1")
def test_later_stages_read_the_conversation_from_the_cache(provider: AnthropicProvider) -> None:
    usages = stages_of(provider, "")
    # these two begin at once: whichever comes first writes it
    first, second = usages["analyzer claude"], usages["worker claude"]
    if "cache_write_tokens" not in first:
        first, second = second, first
    written = first["cache_write_tokens"]
    assert written > 1000
    assert "cached_tokens" not in first
    selector, synthesizer = usages["selector claude"], usages["synthesizer claude"]
    assert [stage["cached_tokens"] for stage in (second, selector, synthesizer)] == [written] * 3
    assert "cached_tokens" not in usages["worker other"]
    assert usages["all"]["cached_tokens"] == 3 * written
    assert selector["prompt_tokens"] == written + 11


@pytest.mark.requirement("W1")
def test_without_marks_nothing_is_saved(provider: AnthropicProvider) -> None:
    usages = stages_of(provider, 'prompt_cache = "never"')
    assert not any("cached_tokens" in usage or "cache_write_tokens" in usage for usage in usages.values())
