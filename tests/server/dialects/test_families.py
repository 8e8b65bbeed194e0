"""Every dialect and every stage of a workflow in front of a model that takes what gpt-5 takes, and
no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.kit import Say, ScriptedUpstream, Status
from tests.kit.record import Recorded
from tests.kit.script import Behaviour
from tests.server.running import running

REFUSED = ("max_tokens", "temperature", "top_p", "stop")
TURNS = [{"role": "user", "content": "hi"}]
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": TURNS, "max_tokens": 64, "temperature": 0.5, "stop": ["END"], "stream": True},
    "/v1/messages": {"messages": TURNS, "max_tokens": 64, "temperature": 0.5, "top_p": 0.9},
    "/v1/responses": {"input": "hi", "max_output_tokens": 64, "temperature": 0.5},
    "/api/chat": {
        "messages": TURNS,
        "options": {"num_predict": 64, "temperature": 0.5, "stop": ["END"]},
        "stream": False,
    },
    "/api/generate": {"prompt": "hi", "options": {"num_predict": 64, "temperature": 0.5}, "stream": False},
}


def strict(seen: Recorded) -> Behaviour:
    """As OpenAI's reasoning models answer.

    And as a template that takes one system message first.
    """
    for name in REFUSED:
        if name in seen.json:
            return Status(400, {"error": {"message": f"Unsupported parameter: '{name}'", "param": name}})
    text = str(seen.json["messages"])
    if "json" in text.lower() or "candidate" in text.lower():
        return Say(json.dumps({"choice": 1, "selected": 1, "best": 1}))
    return Say(f"I am {seen.model}")


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as scripted:
        yield scripted.on("openai/gpt-5-mini", strict).on("unknown", strict)


@pytest.fixture(scope="module")
def base(upstream: ScriptedUpstream) -> Iterator[str]:
    config = f"""
        [[model]]
        name = "known"
        model = "openai/gpt-5-mini"
        api_base = "{upstream.api_base}"
        retries = 0
        [[model]]
        name = "unknown"
        api_base = "{upstream.api_base}"
        retries = 0
        [workflow-integration]
        json = '''{{"workers": [{{"ref": "known", "system": "Be brief.", "max_tokens": 9}}, {{"ref": "unknown", "system": "Be brief."}}],
                   "selector": "known", "analyzer": "known"}}'''
    """
    with running(config) as server:
        yield server.base


@pytest.mark.parametrize("model", ["known", "unknown", "chorus"])
@pytest.mark.parametrize("path", ASKED)
def test_no_dialect_and_no_stage_sends_what_is_refused(
    base: str, upstream: ScriptedUpstream, path: str, model: str
) -> None:
    upstream.forget()
    context = httpx.post(base + path, json={"model": model, **ASKED[path]}, timeout=20)
    assert context.status_code == 200
    assert "upstream_refused" not in context.text
    if model == "chorus":
        assert len(upstream.calls("openai/gpt-5-mini")) >= 3  # the analyzer, a worker, the selector
    assert all(seen.json["max_completion_tokens"] for seen in upstream.calls("openai/gpt-5-mini"))
    assert not any(seen.json.keys() & set(REFUSED) for seen in upstream.calls("openai/gpt-5-mini"))
    assert len(upstream.calls("unknown")) <= 1 + len(REFUSED)


def test_a_workers_own_system_message_and_the_clients_are_one(base: str, upstream: ScriptedUpstream) -> None:
    upstream.forget()
    turns = [{"role": "system", "content": "Client's."}, *TURNS, {"role": "developer", "content": "Late."}]
    context = httpx.post(base + "/v1/chat/completions", json={"model": "chorus", "messages": turns}, timeout=20)
    assert context.status_code == 200
    messages = upstream.calls("unknown")[-1].json["messages"]
    assert messages == [{"role": "system", "content": "Be brief.\n\nClient's.\n\nLate."}, *TURNS]
