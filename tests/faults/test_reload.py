"""SIGHUP swaps models and workflows (C12): requests in flight finish on the old ones, none is
dropped, a bad file is refused.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import partial

import anyio
import anyio.to_thread
import httpx
import pytest

from chorus.errors import ChorusError
from chorus.serving import watching
from tests.kit import Gate, Say, ScriptedUpstream, ServerProcess

pytestmark = pytest.mark.requirement("C12")
CHAT = "/v1/chat/completions"


def config(scripted: ScriptedUpstream, *names: str) -> str:
    entries = (f'[[model]]\nname = "{name}"\napi_base = "{scripted.api_base}"\n' for name in names)
    flow = ", ".join(f'"{name}"' for name in names)
    return "\n".join(entries) + f'\n[workflow-integration]\nworkers = [{flow}]\nselector = "{names[0]}"\n'


@pytest.fixture
def server(scripted: ScriptedUpstream) -> Iterator[ServerProcess]:
    for name in ("old", "new"):
        scripted.on(name, Say(f"answer of {name}"))
    with ServerProcess(config(scripted, "old"), env={"CHORUS_LOG": "info"}) as process:
        yield process


async def ask(client: httpx.AsyncClient, model: str) -> httpx.Response:
    return await client.post(CHAT, json={"model": model, "messages": [{"role": "user", "content": "How?"}]})


async def models(client: httpx.AsyncClient) -> set[str]:
    return {each["id"] for each in (await client.get("/v1/models")).json()["data"]}


async def until(client: httpx.AsyncClient, wanted: set[str]) -> None:
    with anyio.fail_after(5):
        while await models(client) != wanted:
            pass


async def test_in_flight_on_the_old_and_next_on_the_new(
    server: ServerProcess, client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    gate, answers = Gate(), []
    scripted.on("old", Say("answer of old", gate=gate))

    async def begin() -> None:
        answers.append(await ask(client, "old"))

    async with anyio.create_task_group() as group:
        group.start_soon(begin)
        await scripted.wait_requests(1, model="old")
        server.reload(config(scripted, "new"))
        await until(client, {"chorus", "new"})
        assert (await ask(client, "old")).status_code == 404
        assert (await ask(client, "chorus")).json()["choices"][0]["message"]["content"] == "answer of new"
        gate.open()
    assert answers[0].json()["choices"][0]["message"]["content"] == "answer of old"


async def test_models_that_have_not_changed_keep_what_is_known_of_them(
    server: ServerProcess, client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    async def known() -> dict[str, int]:
        upstreams = (await client.get("/api/v1/upstreams")).json()["upstreams"]
        return {upstream["model"]: upstream["replicas"][0]["calls"] for upstream in upstreams}

    server.reload(config(scripted, "old", "new"))
    await until(client, {"chorus", "old", "new"})
    await ask(client, "old")
    await ask(client, "new")
    before = await known()
    assert before["old"] > 0
    server.reload(config(scripted, "old", "new", "third").replace('name = "new"', 'name = "new"\nretries = 1'))
    await until(client, {"chorus", "old", "new", "third"})
    assert await known() == {"old": before["old"], "new": 0, "third": 0}


async def test_a_model_whose_list_of_replicas_changes_keeps_what_is_known_of_those_that_stay(
    server: ServerProcess, client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    def replicated(*paths: str, retries: int = 2) -> str:
        bases = ", ".join(f'"{scripted.api_base}{path}"' for path in paths)
        return f'[[model]]\nname = "many"\nreplicas = [{bases}]\nretries = {retries}\n{config(scripted, "old")}'

    async def known() -> list[int]:
        upstreams = (await client.get("/api/v1/upstreams")).json()["upstreams"]
        return [
            replica["calls"]
            for upstream in upstreams
            if upstream["model"] == "many"
            for replica in upstream["replicas"]
        ]

    async def reload_to(expected: list[int], text: str) -> None:
        server.reload(text)
        with anyio.fail_after(5):
            while await known() != expected:
                pass

    scripted.on("many", Say("one of many"))
    await reload_to([0], replicated(""))
    for _ in range(3):
        assert (await ask(client, "many")).status_code == 200
    await reload_to([0, 3], replicated("/unused", ""))
    await reload_to([3], replicated(""))
    await reload_to([0], replicated("", retries=1))


async def test_a_bad_file_is_refused_and_the_old_one_stays(
    server: ServerProcess, client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    server.reload(config(scripted, "new").replace('selector = "new"', 'selector = "nobody"'))
    with anyio.fail_after(5):
        while "the configuration was not reloaded" not in server.log:
            await client.get("/health")
    assert "references undefined model(s): nobody" in server.log
    assert await models(client) == {"chorus", "old"}
    assert (await ask(client, "chorus")).status_code == 200
    server.reload(config(scripted, "old", "new") + "[workflow.timeouts]\nworker_timeout_secs = 60000\n")
    await until(client, {"chorus", "old", "new"})
    with anyio.fail_after(5):
        while "worker_timeout_secs = 60000 is" not in server.log:
            await client.get("/health")
    [warning] = [json.loads(line) for line in server.log.splitlines() if "worker_timeout_secs = 60000 is" in line]
    assert warning["level"] == "warning"


async def test_a_watched_file_is_read_again_when_it_changes(scripted: ScriptedUpstream) -> None:
    watching = "[server]\nwatch = true\n"
    with ServerProcess(watching + config(scripted, "old")) as server:
        async with httpx.AsyncClient(base_url=server.base, timeout=10) as client:

            def replace(text: str) -> None:
                """As editors do it: another file in its place."""
                beside = server.config_path.with_name("config.toml.new")
                beside.write_text(text)
                beside.replace(server.config_path)

            await until(client, {"chorus", "old"})
            replace(watching + config(scripted, "old", "new"))
            await until(client, {"chorus", "old", "new"})
            replace("[server]\nwatch = 7\n")
            with anyio.fail_after(5):
                while "the configuration was not reloaded" not in server.log:
                    await client.get("/health")
            server.config_path.write_text(watching + config(scripted, "new"))
            await until(client, {"chorus", "new"})
        # the watching holds nobody up
        assert await anyio.to_thread.run_sync(partial(server.stop, timeout=3)) == 0


def test_watching_without_its_extra_is_one_clear_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(ChorusError, match=r"pip install 'chorus-llm\[watch\]'"):
        watching.check()


async def test_under_load_none_is_dropped(
    server: ServerProcess, client: httpx.AsyncClient, scripted: ScriptedUpstream
) -> None:
    statuses: list[int] = []
    is_over = anyio.Event()

    async def load() -> None:
        while not is_over.is_set():
            statuses.append((await ask(client, "chorus")).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(load)
        for names in (("new",), ("old", "new"), ("old",)):
            server.reload(config(scripted, *names))
            await until(client, {"chorus", *names})
        is_over.set()
    assert set(statuses) == {200}
    assert len(statuses) > 8
