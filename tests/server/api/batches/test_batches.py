"""Batches over HTTP, from their files to their results (M7)."""

from __future__ import annotations

from typing import Final

import pytest

from chorus.server.api import batch_job
from tests.kit import Say, ScriptedUpstream, Status
from tests.server.api.batches.client import CHAT, Client, Object, jsonl, line

pytestmark = pytest.mark.requirement("M7")


async def test_a_batch_ends_in_an_output_file_and_an_error_file(api: Client, scripted: ScriptedUpstream) -> None:
    scripted.on("glm", Say("good", usage=(6, 4))).on("kimi", Status(400))
    lines: list[Object | str] = [line(number) for number in range(40)]
    lines[3] = '{"custom_id": "id-3", nonsense'
    lines[7] = line(7, body={"model": "unknown", "messages": [{"role": "user", "content": "x"}]})
    lines[9] = line(9, body={"model": "kimi", "messages": [{"role": "user", "content": "x"}]})
    lines[12] = ""  # an empty line is none
    batch = await api.ended(await api.begin(lines, metadata={"job": "nightly"}))
    assert (batch["status"], batch["metadata"], batch["model"]) == ("completed", {"job": "nightly"}, "glm")
    assert batch["request_counts"] == {"total": 39, "completed": 36, "failed": 3}
    assert batch["expires_at"] - batch["created_at"] == 86_400
    assert batch["created_at"] <= batch["in_progress_at"] <= batch["finalizing_at"] <= batch["completed_at"]
    assert [batch[f"{moment}_at"] for moment in ("cancelling", "cancelled", "expired", "failed")] == [None] * 4
    output, errors = await api.results(batch), await api.results(batch, "error")
    assert set(output) == {f"id-{number}" for number in range(40)} - {"id-3", "id-7", "id-9", "id-12"}
    answer = output["id-0"]
    assert answer["error"] is None
    assert answer["response"]["status_code"] == 200
    assert answer["response"]["body"]["choices"][0]["message"]["content"] == "good"
    assert len({line["id"] for line in [*output.values(), *errors.values()]}) == 39
    assert errors[None]["response"] is None  # type: ignore[index]
    assert (errors[None]["error"]["code"], errors[None]["error"]["line"]) == ("invalid_json_line", 4)  # type: ignore[index]
    assert errors["id-7"]["response"]["status_code"] == 404
    assert errors["id-7"]["response"]["body"]["error"]["code"] == "model_not_found"
    assert errors["id-9"]["response"]["status_code"] == 400
    assert batch["usage"] == {
        "input_tokens": 216,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 144,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 360,
    }
    request_id = answer["response"]["request_id"]
    traces = (await api.http.get("/api/v1/workflows")).json()["workflows"]
    assert request_id in {trace["request_id"] for trace in traces}
    file = (await api.http.get(f"/v1/files/{batch['output_file_id']}")).json()
    assert file["purpose"] == "batch_output"
    assert len((await api.http.get("/v1/files?purpose=batch_output")).json()["data"]) == 2


@pytest.mark.parametrize(
    ("endpoint", "model", "fields", "kind"),
    [
        (CHAT, "chorus", {"messages": [{"role": "user", "content": "How?"}]}, "chat.completion"),
        ("/v1/completions", "glm", {"prompt": "How?"}, "text_completion"),
        ("/v1/responses", "chorus", {"input": "How?"}, "response"),
        ("/v1/embeddings", "glm", {"input": "How?"}, "list"),
    ],
)
async def test_every_endpoint_for_models_and_workflows(
    api: Client, endpoint: str, model: str, fields: Object, kind: str
) -> None:
    lines = [line(number, url=endpoint, body={"model": model, **fields}) for number in range(3)]
    batch = await api.ended(await api.begin(lines, endpoint))
    output = await api.results(batch)
    assert [output[f"id-{number}"]["response"]["body"]["object"] for number in range(3)] == [kind] * 3
    used = [line["response"]["body"]["usage"] for line in output.values()]
    read = sum(usage.get("prompt_tokens") or usage["input_tokens"] for usage in used)
    assert batch["usage"]["input_tokens"] == read > 0


BAD: Final[list[tuple[str | Object, str]]] = [
    ("[1]", "invalid_request"),
    ("{", "invalid_json_line"),
    ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "invalid_json_line"),
    ("[" * 20_000, "invalid_request"),
    ('{"custom_id": "id-1", "body": ' + "[" * 20_000, "invalid_json_line"),
    ({"method": "POST", "url": CHAT, "body": {}}, "invalid_custom_id"),
    (line(1, custom_id=7), "invalid_custom_id"),
    (line(1, custom_id="x" * 600), "invalid_custom_id"),
    (line(1, method="GET"), "invalid_method"),
    (line(1, url="/v1/responses"), "url_mismatch"),
    (line(1, url="/v1/models"), "url_mismatch"),
    (line(1, body=[]), "invalid_body"),
    ({"custom_id": "id-1", "method": "POST", "url": CHAT}, "invalid_body"),
    (line(1, body={"model": "glm", "stream": True}), "unsupported_parameter"),
    (line(0), "duplicate_custom_id"),
]


@pytest.mark.parametrize(("bad", "code"), BAD, ids=[f"{number}-{code}" for number, (_, code) in enumerate(BAD)])
async def test_a_line_that_is_no_request_is_in_the_error_file(api: Client, bad: str | Object, code: str) -> None:
    batch = await api.ended(await api.begin([line(0), bad]))
    assert batch["status"] == "completed"
    assert set(await api.results(batch)) == {"id-0"}
    [(_, error)] = (await api.results(batch, "error")).items()
    assert (error["error"]["code"], error["error"]["line"], error["response"]) == (code, 2, None)


async def test_a_file_without_one_request_fails(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = await api.ended(await api.begin([]))
    assert (batch["status"], batch["errors"]["data"][0]["code"]) == ("failed", "empty_file")
    assert batch["failed_at"] is not None
    batch = await api.ended(await api.begin(["{", line(1, method="GET")]))
    assert batch["status"] == "failed"
    assert [(error["code"], error["line"]) for error in batch["errors"]["data"]] == [
        ("invalid_json_line", 1),
        ("invalid_method", 2),
    ]
    assert (batch["output_file_id"], batch["error_file_id"]) == (None, None)
    monkeypatch.setattr(batch_job, "MAX_LINES", 2)
    batch = await api.ended(await api.begin([line(number) for number in range(3)]))
    assert (batch["status"], batch["errors"]["data"][0]["code"]) == ("failed", "too_many_tasks")


async def test_a_batch_that_cannot_be_is_refused(api: Client) -> None:
    file = await api.upload(jsonl([line(0)]))
    good = {"input_file_id": file["id"], "endpoint": CHAT, "completion_window": "24h"}
    wrong: list[tuple[Object, int, str]] = [
        ({"endpoint": "/v1/images/generations"}, 400, "endpoint"),
        ({"completion_window": "1h"}, 400, "completion_window"),
        ({"input_file_id": "file-unknown"}, 404, "input_file_id"),
        ({"input_file_id": 7}, 400, "input_file_id"),
        ({"metadata": {"key": "x" * 513}}, 400, "metadata"),
        ({"metadata": {str(number): "x" for number in range(17)}}, 400, "metadata"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, 400, "output_expires_after.seconds"),
    ]
    for fields, status, param in wrong:
        refused = await api.http.post("/v1/batches", json={**good, **fields})
        assert (refused.status_code, refused.json()["error"]["param"]) == (status, param), fields
    assert (await api.http.get("/v1/batches")).json()["data"] == []
    batch = await api.ended(await api.begin([line(0)]))
    refused = await api.http.post("/v1/batches", json={**good, "input_file_id": batch["output_file_id"]})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input_file_id")


async def test_batches_are_listed_newest_first(api: Client) -> None:
    made = [(await api.ended(await api.begin([line(0)]))) for _ in range(3)]
    page = (await api.http.get("/v1/batches?limit=2")).json()
    assert (page["data"], page["has_more"], page["last_id"]) == ([made[2], made[1]], True, made[1]["id"])
    page = (await api.http.get(f"/v1/batches?limit=1&after={made[1]['id']}")).json()
    assert (page["data"], page["has_more"]) == ([made[0]], False)
    for query, param in (("limit=101", "limit"), ("after=batch_x", "after")):
        refused = await api.http.get(f"/v1/batches?{query}")
        assert refused.json()["error"]["param"] == param


async def test_the_files_of_a_batch_have_their_own_age(api: Client) -> None:
    expiry = {"anchor": "created_at", "seconds": 7200}
    batch = await api.ended(await api.begin([line(0), "{"], output_expires_after=expiry))
    for kind in ("output", "error"):
        file = (await api.http.get(f"/v1/files/{batch[f'{kind}_file_id']}")).json()
        assert file["expires_at"] - file["created_at"] == 7200
