"""A batch that is cancelled, expires, waits, or is taken away while it runs (M7)."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest

from chorus.errors import StorageUnavailable
from chorus.server.api import batch_job, batches
from chorus.storage.records import LineResult
from tests.kit import Gate, Recorded, Say, ScriptedUpstream, Status
from tests.kit.fixtures import connected
from tests.server.api.batches.client import CHAT, CONFIG, Client, line
from tests.server.running import Running, running

pytestmark = pytest.mark.requirement("M7")


async def test_a_batch_is_cancelled(narrow: Client, scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("glm", Say("first"), Say("second", gate=gate))
    batch = await narrow.begin([*(line(number) for number in range(6)), "{"])
    batch = await narrow.until(batch, lambda batch: batch["request_counts"]["completed"] == 1)
    await scripted.wait_requests(2)
    cancelled = (await narrow.http.post(f"/v1/batches/{batch['id']}/cancel")).json()
    assert (cancelled["status"], cancelled["completed_at"]) == ("cancelling", None)
    assert cancelled["cancelling_at"] is not None
    batch = await narrow.ended(batch)
    assert (batch["status"], batch["request_counts"]) == ("cancelled", {"total": 7, "completed": 1, "failed": 6})
    assert len(await narrow.results(batch)) == 1
    codes = Counter(error["error"]["code"] for error in (await narrow.results(batch, "error")).values())
    assert codes == {"batch_cancelled": 5, "invalid_json_line": 1}
    await scripted.wait_idle()
    again = await narrow.http.post(f"/v1/batches/{batch['id']}/cancel")
    assert (again.status_code, again.json()) == (200, batch)
    scripted.on("glm", Say("good"))
    over = await narrow.ended(await narrow.begin([line(0)]))
    refused = await narrow.http.post(f"/v1/batches/{over['id']}/cancel")
    assert (refused.status_code, "completed" in refused.json()["error"]["message"]) == (400, True)
    assert (await narrow.http.post("/v1/batches/batch_unknown/cancel")).status_code == 404


async def test_a_batch_expires(narrow: Client, scripted: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_WINDOW_SECS", 0.5)
    scripted.on("glm", Say("first"), Say("second", gate=Gate()))
    batch = await narrow.ended(await narrow.begin([line(number) for number in range(4)]))
    assert (batch["status"], batch["request_counts"]) == ("expired", {"total": 4, "completed": 1, "failed": 3})
    assert batch["expired_at"] is not None
    for error in (await narrow.results(batch, "error")).values():
        assert (error["response"], error["error"]["code"]) == (None, "batch_expired")
    await scripted.wait_idle()


async def test_a_batch_without_its_input_file_fails_and_keeps_what_there_is(
    narrow: Client, scripted: ScriptedUpstream
) -> None:
    gate = Gate()
    scripted.on("glm", Say("first", gate=gate))
    lines = [line(number, text="x" * 300_000) for number in range(30)]  # read part by part
    batch = await narrow.begin(lines)
    await scripted.wait_requests(1)
    assert (await narrow.http.delete(f"/v1/files/{batch['input_file_id']}")).status_code == 200
    gate.open()
    batch = await narrow.ended(batch)
    assert (batch["status"], batch["errors"]["data"][0]["code"]) == ("failed", "input_file_gone")
    assert len(await narrow.results(batch)) == batch["request_counts"]["completed"]


async def test_an_interactive_request_goes_before_the_lines_of_a_batch(
    narrow: Client, scripted: ScriptedUpstream
) -> None:
    gate = Gate()
    scripted.on("glm", Say("good", gate=gate))
    batch = await narrow.begin([line(number, text="line") for number in range(200)])
    await scripted.wait_requests(1)
    async with anyio.create_task_group() as group:
        group.start_soon(partial(narrow.http.post, CHAT, json=line(0, text="now")["body"]))
        with anyio.fail_after(10):
            while 'queue_length{model="glm"} 8.0' not in (await narrow.http.get("/metrics")).text:
                await anyio.lowlevel.checkpoint()
        gate.open()
    order = [call.messages[-1]["content"] for call in scripted.calls("glm")]
    assert order[1] == "now"
    assert (await narrow.ended(batch))["request_counts"]["completed"] == 200


async def test_lines_leave_room_in_a_short_queue(scripted: ScriptedUpstream) -> None:
    gate = Gate()
    scripted.on("glm", Say("good", gate=gate))
    with running(CONFIG.format(base=scripted.base, model="max_concurrency = 1\nmax_waiting = 2")) as served:
        async with connected(served.base) as http:
            client = Client(http)
            batch = await client.begin([line(number, text="line") for number in range(20)])
            with anyio.fail_after(10):
                while 'queue_length{model="glm"} 1.0' not in (await http.get("/metrics")).text:
                    await anyio.lowlevel.checkpoint()
            async with anyio.create_task_group() as group:

                async def ask() -> None:
                    assert (await http.post(CHAT, json=line(0, text="now")["body"])).status_code == 200

                group.start_soon(ask)
                with anyio.fail_after(10):
                    while 'queue_length{model="glm"} 2.0' not in (await http.get("/metrics")).text:
                        await anyio.lowlevel.checkpoint()
                gate.open()
            assert scripted.calls("glm")[1].messages[-1]["content"] == "now"
            assert (await client.ended(batch))["request_counts"]["completed"] == 20


async def test_nothing_is_lost_while_the_store_is_away(
    served: Running, api: Client, scripted: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = [True] * 12
    store = served.chorus.storage
    monkeypatch.setattr(batch_job, "_AWAY_SECS", 0.01)
    for name in ("record", "update", "done", "finish", "renew"):
        work = getattr(store.batches, name)

        def unreliable(*args: Any, work: Any = work) -> Any:
            if away:
                away.pop()
                raise StorageUnavailable("The disk of the database is full.")
            return work(*args)

        monkeypatch.setattr(store.batches, name, unreliable)
    batch = await api.ended(await api.begin([line(number) for number in range(20)]))
    assert batch["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
    assert len(await api.results(batch)) == 20
    assert len(scripted.calls("glm")) == 20
    assert away == []


async def test_an_upstream_that_fails_for_a_while_fails_no_line(
    api: Client, scripted: ScriptedUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_job, "_FIRST_WAIT_SECS", 0.01)
    seen: Counter[str] = Counter()

    def flaky(request: Recorded) -> Say | Status:
        text = request.last_user_text
        seen[text] += 1
        return Status(503) if text == "never" or seen[text] < 3 else Say("good")

    scripted.on("glm", flaky)
    lines = [line(0, text="a"), line(1, text="b"), line(2, text="never")]
    batch = await api.ended(await api.begin(lines))
    assert set(await api.results(batch)) == {"id-0", "id-1"}
    assert set(await api.results(batch, "error")) == {"id-2"}
    assert seen["never"] == batch_job._TRIES


async def test_a_process_that_has_lost_its_lease_changes_nothing(
    served: Running, api: Client, scripted: ScriptedUpstream
) -> None:
    gate = Gate()
    scripted.on("glm", Say("too late", gate=gate))
    batch = await api.begin([line(number) for number in range(20)])
    await scripted.wait_requests(8)
    store = served.chorus.storage.batches

    async def take() -> None:
        """Another process takes the batch, and brings it to its end."""
        [mine] = (await store.page("local")).batches
        await store.release(mine.process)
        other = await store.claim("other")
        assert other is not None
        lines = [LineResult(number, False, b'{"custom_id": "id-%d"}\n' % number) for number in range(20)]
        assert await store.record(other, lines)
        assert await store.finish(msgspec.structs.replace(other, status="completed"), 3600)

    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(take(), served.loop))
    gate.open()
    scripted.on("glm", Say("good"))
    next_one = await api.ended(await api.begin([line(number) for number in range(20)]))
    assert len(await api.results(next_one)) == 20
    batch = await api.ended(batch)
    assert batch["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
    assert [*(await api.results(batch)).values()] == [{"custom_id": f"id-{number}"} for number in range(20)]
