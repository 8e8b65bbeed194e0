"""Rate limits as clients meet them (K1): headers, refusals, and an ensemble charged for all of its
calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import openai
import pytest

from chorus.auth.keys import KeyFile
from chorus.watch import queue_lengths
from tests.kit import Gate, Say, ScriptedUpstream, ServerProcess, Status
from tests.kit.fixtures import connected
from tests.kit.programs import RedisServer
from tests.server.running import running

pytestmark = pytest.mark.requirement("K1")
TURNS: list[Any] = [{"role": "user", "content": "How?"}]
MODELS = """
[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
{glm}
[[model]]
name = "kimi"
api_base = "{base}/v1"
[workflow-integration]
workers = ["glm", "kimi", "kimi"]
selector = "glm"
synthesizer = "kimi"
"""


@pytest.fixture
def upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream.in_thread() as started:
        for name in ("glm", "kimi"):
            started.on(name, Say("A fine answer."))
        yield started


def config(upstream: ScriptedUpstream, more: str, glm: str = "") -> str:
    return MODELS.format(base=upstream.base, glm=glm) + more


def ask(client: httpx.Client, model: str = "kimi", path: str = "/v1/chat/completions", **more: Any) -> httpx.Response:
    return client.post(path, json={"model": model, "messages": TURNS, **more})


def remaining(response: httpx.Response, kind: str = "requests") -> int:
    return int(response.headers[f"x-ratelimit-remaining-{kind}"])


def test_what_openais_client_sees(upstream: ScriptedUpstream) -> None:
    with running(config(upstream, '[limits]\nrequests = ["2/hour", "900/day"]\n')) as server:
        client = openai.OpenAI(base_url=server.api_base, api_key="x", max_retries=0)
        first = client.chat.completions.with_raw_response.create(model="kimi", messages=TURNS)
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        assert first.headers["x-ratelimit-reset-requests"] == "30m0s"
        assert "x-ratelimit-limit-tokens" not in first.headers
        with client.chat.completions.with_streaming_response.create(
            model="kimi", messages=TURNS, stream=True
        ) as second:
            assert second.headers["x-ratelimit-remaining-requests"] == "0"
            second.read()
        with pytest.raises(openai.RateLimitError) as refused:
            client.chat.completions.create(model="kimi", messages=TURNS)
        assert refused.value.code == "rate_limit_exceeded"
        assert 1795 < int(refused.value.response.headers["retry-after"]) <= 1800
        assert refused.value.response.headers["x-ratelimit-remaining-requests"] == "0"
        assert "2 model calls per hour" in refused.value.message
        client.close()
        with httpx.Client(base_url=server.base) as plain:
            assert isinstance(ask(plain, path="/api/chat").json()["error"], str)
            assert plain.get("/v1/models").status_code == 200, "looking is free"
            assert 'rate_limited_total{kind="requests",scope="server"} 2.0' in plain.get("/metrics").text
    assert len(upstream.calls("kimi")) == 2


def test_an_ensemble_is_charged_for_the_calls_that_it_makes_and_gets_the_others_back(
    upstream: ScriptedUpstream,
) -> None:
    upstream.on("glm", Say('{"choice": "A", "reason": "fine"}'))
    with (
        running(config(upstream, '[limits]\nrequests = "100/day"\n')) as server,
        httpx.Client(base_url=server.base) as client,
    ):
        response = ask(client, "chorus")
        assert response.status_code == 200
        assert remaining(response) == 95, "three workers, a selector, a synthesizer"
        assert remaining(ask(client)) == 94
        upstream.on("kimi", Status(500))
        before = len(upstream.requests)
        assert ask(client, "chorus").status_code == 200, "one worker is left"
        assert len(upstream.requests) - before < 12
        failed = remaining(ask(client, "glm"))
        assert 94 - 5 - 1 <= failed <= 94 - 3 - 1


def test_n_answers_are_n_times_the_calls(upstream: ScriptedUpstream) -> None:
    with (
        running(config(upstream, '[limits]\nrequests = "100/day"\n')) as server,
        httpx.Client(base_url=server.base) as client,
    ):
        assert remaining(ask(client, n=3)) == 97


def test_tokens_are_reserved_by_what_may_be_used_and_settled_by_what_was(upstream: ScriptedUpstream) -> None:
    with (
        running(config(upstream, '[limits.models.kimi]\ntokens = "1000/day"\n')) as server,
        httpx.Client(base_url=server.base) as client,
    ):
        first = ask(client, max_tokens=900)
        assert remaining(first, "tokens") < 100
        used = first.json()["usage"]["total_tokens"]
        assert ask(client, max_tokens=900).status_code == 200, "what was not used came back"
        third = ask(client)
        assert remaining(third, "tokens") in range(1000 - 2 * used - 20, 1000 - 2 * used)
        assert "x-ratelimit-limit-tokens" not in ask(client, "glm").headers


def test_routes_and_models_have_limits_of_their_own(upstream: ScriptedUpstream) -> None:
    limits = '[limits.routes."/v1/completions"]\nrequests = "1/day"\n[limits.models.glm]\nrequests = "3/day"\n'
    with running(config(upstream, limits)) as server, httpx.Client(base_url=server.base) as client:
        said = {"model": "kimi", "prompt": "How?"}
        assert client.post("/v1/completions", json=said).status_code == 200
        assert client.post("/v1/completions", json=said).status_code == 429
        assert ask(client).status_code == 200
        assert remaining(ask(client, "glm")) == 2
        assert remaining(ask(client, "chorus")) == 0, "glm works and judges in it"
        refused = ask(client, "chorus")
        assert refused.status_code == 429
        assert "'glm'" in refused.json()["error"]["message"]
        assert ask(client).status_code == 200


def test_embeddings_and_responses_in_the_background_are_charged(upstream: ScriptedUpstream) -> None:
    with (
        running(config(upstream, '[limits]\nrequests = "4/day"\n')) as server,
        httpx.Client(base_url=server.base) as client,
    ):
        response = client.post("/v1/embeddings", json={"model": "kimi", "input": ["a", "b"]})
        assert (response.status_code, remaining(response)) == (200, 3)
        behind = client.post("/v1/responses", json={"model": "kimi", "input": "How?", "background": True})
        assert (behind.status_code, remaining(behind)) == (200, 2)
        workflow = behind.headers["x-chorus-workflow-id"]
        assert remaining(client.post("/api/embed", json={"model": "kimi", "input": "a"})) == 1
        with client.stream("GET", f"/v1/responses/{behind.json()['id']}?stream=true") as following:
            following.read()
        assert remaining(client.post(f"/api/v1/workflows/{workflow}/replay", json={"model": "glm"})) == 0
        over = client.post("/v1/responses", json={"model": "kimi", "input": "How?", "background": True})
        assert over.status_code == 429


async def test_who_is_turned_away_by_the_queue_or_leaves_it_pays_nothing(upstream: ScriptedUpstream) -> None:
    gate = Gate()
    upstream.on("glm", Say("slowly", gate=gate))
    limits = '[limits]\nrequests = "9/day"\n[server]\nmax_concurrency = 1\nmax_waiting = 1\n'
    with running(config(upstream, limits)) as server:
        async with connected(server.base) as client, anyio.create_task_group() as group:
            body = {"model": "glm", "messages": TURNS}

            async def first() -> None:
                await client.post("/v1/chat/completions", json=body)

            group.start_soon(first)
            await upstream.wait_requests(1)
            leaving = anyio.CancelScope()

            async def second() -> None:
                with leaving:
                    await client.post("/v1/chat/completions", json=body)

            group.start_soon(second)
            with anyio.fail_after(5):
                while not any(waiting for _, waiting in queue_lengths(server.chorus.snapshot, server.chorus.admission)):
                    await anyio.lowlevel.checkpoint()
            third = await client.post("/v1/chat/completions", json=body)
            assert third.json()["error"]["code"] == "queue_full"
            leaving.cancel()
            with anyio.fail_after(5):
                while any(waiting for _, waiting in queue_lengths(server.chorus.snapshot, server.chorus.admission)):
                    await anyio.lowlevel.checkpoint()
            gate.open()
        async with connected(server.base) as client:
            last = await client.post("/v1/chat/completions", json={"model": "kimi", "messages": TURNS})
            assert remaining(last) == 7, "the first and this one"


def test_keys_have_limits_each_for_itself(upstream: ScriptedUpstream, tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    made = {"role": "client", "models": (), "expires": None}
    ordinary = [keys.create(name, **made)[0] for name in ("one", "two")]
    special, _ = keys.create("ci", **made, requests=("3/day",))
    limits = f'[server]\nrequire_auth = true\nkeys_file = "{tmp_path}/keys.json"\n[limits.keys]\nrequests = "1/day"\n'
    with ServerProcess(config(upstream, limits)) as server, httpx.Client(base_url=server.base) as client:

        def statuses(key: str, times: int) -> list[int]:
            client.headers["authorization"] = f"Bearer {key}"
            return [ask(client).status_code for _ in range(times)]

        assert statuses(ordinary[0], 2) == [200, 429]
        assert statuses(ordinary[1], 2) == [200, 429]
        assert statuses(special, 4) == [200, 200, 200, 429]
        assert (
            ask(client)
            .json()["error"]["message"]
            .startswith("The limit of this key is reached: 3 model calls per day.")
        )


def test_two_servers_share_their_limits_in_redis(upstream: ScriptedUpstream) -> None:
    with RedisServer() as redis:
        limits = f'[limits]\nrequests = "5/day"\n[storage]\nurl = "{redis.url}"\n'
        with (
            ServerProcess(config(upstream, limits)) as one,
            ServerProcess(config(upstream, limits)) as two,
            httpx.Client(base_url=one.base) as at_one,
            httpx.Client(base_url=two.base) as at_two,
        ):
            responses = [ask(client) for _ in range(3) for client in (at_one, at_two)]
            assert [each.status_code for each in responses] == [200] * 5 + [429]
            assert [remaining(each) for each in responses] == [4, 3, 2, 1, 0, 0]
            redis.stop()
            assert ask(at_one).status_code == 200, "without Redis each limits for itself"
        assert (one.exit_code, two.exit_code) == (0, 0)
        assert "redis is away" in one.log  # which is whole, now that it has ended
        assert redis.url not in one.log


def test_a_reload_changes_the_limits_and_forgets_no_account(upstream: ScriptedUpstream) -> None:
    from chorus import config as configuration

    with (
        running(config(upstream, '[limits]\nrequests = "2/day"\n')) as server,
        httpx.Client(base_url=server.base) as client,
    ):
        ask(client)
        text = config(upstream, '[limits]\nrequests = "2/day"\n[limits.models.glm]\nrequests = "1/day"\n')
        server.chorus.reload(configuration.loads(text, environ={}))
        assert remaining(ask(client, "glm")) == 0
        assert ask(client).status_code == 429
