"""Batches belong to the key that made them, which pays for their lines (M7)."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from chorus.auth.keys import KeyFile
from tests.kit import Gate, Say, ScriptedUpstream
from tests.server.api.batches.client import CHAT, Client, line

pytestmark = pytest.mark.requirement("M7")


async def test_another_keys_batches_and_files_do_not_exist(keyed: dict[str, Client]) -> None:
    ann, ben = keyed["ann"], keyed["ben"]
    batch = await ann.ended(await ann.begin([line(0), "{"]))
    ids = [batch["input_file_id"], batch["output_file_id"], batch["error_file_id"]]
    for id in ids:
        for path in (id, f"{id}/content"):
            assert (await ben.http.get(f"/v1/files/{path}")).status_code == 404
        assert (await ben.http.delete(f"/v1/files/{id}")).status_code == 404
    assert (await ben.http.get(f"/v1/batches/{batch['id']}")).status_code == 404
    assert (await ben.http.post(f"/v1/batches/{batch['id']}/cancel")).status_code == 404
    for path in ("/v1/files", "/v1/batches"):
        assert (await ben.http.get(path)).json()["data"] == []
    body = {"input_file_id": batch["input_file_id"], "endpoint": CHAT, "completion_window": "24h"}
    assert (await ben.http.post("/v1/batches", json=body)).status_code == 404
    assert (await ann.read(batch)) == batch
    assert (await ann.results(batch)).keys() == {"id-0"}


async def test_lines_are_requests_of_the_key_that_made_the_batch(keyed: dict[str, Client]) -> None:
    ann = keyed["ann"]
    ann.http.headers["x-user-id"] = "eva"
    forbidden = line(2, body={"model": "kimi", "messages": [{"role": "user", "content": "x"}]})
    batch = await ann.ended(await ann.begin([line(0), line(1), forbidden]))
    errors = await ann.results(batch, "error")
    assert errors["id-2"]["response"]["status_code"] == 403
    with anyio.fail_after(10):
        while True:
            [usage] = (await ann.http.get("/api/v1/usage")).json()["data"]
            if usage["calls"] == 2:
                break
            await anyio.sleep(0.05)
    assert usage["user"] == "eva"
    assert (usage["requests"], usage["prompt_tokens"], usage["completion_tokens"]) == (2, 12, 8)


async def test_the_lines_of_a_key_that_is_revoked_fail(
    keyed: dict[str, Client], scripted: ScriptedUpstream, tmp_path: Path
) -> None:
    ann, gate = keyed["ann"], Gate()
    scripted.on("glm", Say("good", gate=gate))
    batch = await ann.begin([line(number) for number in range(20)])
    await scripted.wait_requests(8)
    file = KeyFile(tmp_path / "keys.json")
    [id] = [key.id for key in file.read() if key.name == "ann"]
    file.revoke(id)
    with anyio.fail_after(10):
        while (await ann.http.get("/v1/batches")).status_code != 401:  # noqa: ASYNC110
            await anyio.sleep(0.05)
    gate.open()
    await scripted.wait_idle()
    assert len(scripted.calls("glm")) == 8
    assert batch["status"] == "validating"


@pytest.mark.slow
async def test_a_rate_limit_delays_lines_and_fails_none(keyed: dict[str, Client]) -> None:
    slow = keyed["slow"]
    batch = await slow.ended(await slow.begin([line(number) for number in range(9)]))
    assert batch["request_counts"] == {"total": 9, "completed": 9, "failed": 0}


async def test_a_spent_budget_fails_the_lines(keyed: dict[str, Client]) -> None:
    poor = keyed["poor"]
    lines = [line(number) for number in range(40)]
    batch = await poor.ended(await poor.begin(lines))
    errors = await poor.results(batch, "error")
    assert batch["request_counts"]["completed"] >= 2
    assert {error["response"]["body"]["error"]["code"] for error in errors.values()} == {"budget_exhausted"}
    assert len(errors) == 40 - batch["request_counts"]["completed"]
