"""`/metrics` (O2, K5): what happened is counted, with bounded labels and without secrets."""

from __future__ import annotations

import re

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.kit import Say, ScriptedUpstream, Status
from tests.kit.fixtures import connected
from tests.server.running import running

pytestmark = pytest.mark.requirement("O2")
CHAT = "/v1/chat/completions"
TURNS = {"messages": [{"role": "user", "content": "a secret question"}]}


async def scraped(client: httpx.AsyncClient) -> dict[tuple[str, str], float]:
    """Each sample by name and labels."""
    page = await client.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=")
    assert "secret" not in page.text
    found = {}
    for family in text_string_to_metric_families(page.text):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[sample.name, labels] = sample.value
    return found


async def counted(
    client: httpx.AsyncClient, sample: tuple[str, str], before: dict[tuple[str, str], float]
) -> dict[tuple[str, str], float]:
    """The page once `sample` has grown: a request is counted when its last byte has left, which its
    client sees first.
    """
    with anyio.fail_after(5):
        while (after := await scraped(client)).get(sample, 0) == before.get(sample, 0):
            pass
    return after


async def test_a_run_is_counted(client: httpx.AsyncClient) -> None:
    before = await scraped(client)
    assert (await client.post(CHAT, json={"model": "chorus", **TURNS})).status_code == 200
    after = await counted(client, ("http_requests_total", f"method=POST,route={CHAT},status=200"), before)

    def grown(name: str, labels: str) -> float:
        return after.get((name, labels), 0) - before.get((name, labels), 0)

    assert grown("http_requests_total", f"method=POST,route={CHAT},status=200") == 1
    assert grown("http_request_duration_seconds_count", f"route={CHAT}") == 1
    assert grown("chorus_runs_total", "status=ok,workflow=chorus") == 1
    assert grown("ttft_count", "workflow=chorus") == 1
    assert grown("llm_calls_total", "model=glm,status=ok") == 2
    assert grown("chorus_stage_duration_seconds_count", "stage=synthesizer,status=ok") == 1
    assert grown("llm_tokens_total", "kind=completion,model=kimi") > 0


NESTED = """
[[model]]
name = "glm"
api_base = "{base}/v1"
[[model]]
name = "judge"
api_base = "{base}/v1"
[workflow-integration]
json = '''{{
  "workers": ["glm", {{"workers": ["glm", {{"workers": ["glm", "glm"], "synthesizer": "glm"}}]}}],
  "selector": {{"ref": "judge", "passes": 2}},
  "synthesizer": "glm"
}}'''
"""


async def test_a_worker_is_counted_as_one_call_and_not_with_what_holds_it(scripted: ScriptedUpstream) -> None:
    """Two answers of a workflow with a nested one in a nested one. It has 4 leaves; each level has
    a selector of two passes, and a synthesizer."""
    scripted.on("glm", Say("fine")).on("judge", Say('{"choice": "A"}'))
    with running(NESTED.format(base=scripted.base)) as served:
        async with connected(served.base) as client:
            assert (await client.post(CHAT, json={"model": "chorus", "n": 2, **TURNS})).status_code == 200
            after = await scraped(client)
    stages = {labels: count for (name, labels), count in after.items() if name == "chorus_stage_duration_seconds_count"}
    assert stages == {
        "stage=worker,status=ok": 2 * 4,
        "stage=selector,status=ok": 2 * 3,
        "stage=synthesizer,status=ok": 2 * 3,
    }
    assert after["llm_calls_total", "model=glm,status=ok"] == 2 * (4 + 3)
    assert after["llm_calls_total", "model=judge,status=ok"] == 2 * 3 * 2


async def test_failures_have_their_reasons(client: httpx.AsyncClient, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Status(400))
    await client.post(CHAT, json={"model": "glm", **TURNS})
    after = await scraped(client)
    assert after["llm_errors_total", "code=upstream_refused,model=glm"] >= 1
    assert after["chorus_runs_total", "status=failed,workflow=glm"] >= 1
    instance = next(labels for name, labels in after if name == "llm_breaker_state" and "model=glm" in labels)
    assert after["llm_breaker_state", instance] == 0
    assert after["active_concurrency", instance] == 0


async def test_labels_do_not_grow_with_requests(client: httpx.AsyncClient) -> None:
    await client.get("/v1/models/glm")
    before = len(await scraped(client))
    for number in range(30):
        await client.get(f"/v1/models/none-{number}")
        await client.get(f"/nowhere/{number}")
        await client.post(CHAT, json={"model": f"none-{number}", **TURNS})
        await client.request(f"VERB{number}", "/health")
    after = await scraped(client)
    assert len(after) - before < 80
    assert not any(re.search(r"none-\d|nowhere|VERB", labels) for _, labels in after)
