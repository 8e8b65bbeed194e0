"""Batches and their files over HTTP (M7)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import httpx
import msgspec
import pytest

from chorus.auth.budget import KeyBudget
from chorus.auth.keys import KeyFile
from chorus.errors import StorageUnavailable
from chorus.server.api import batch_job, batches, files
from chorus.storage.records import LineResult
from tests.kit import Gate, Recorded, Say, ScriptedUpstream, ServerProcess, Status
from tests.kit.fixtures import connected
from tests.server.running import Running, running

pytestmark = pytest.mark.requirement("M7")

CHAT: Final = "/v1/chat/completions"
CONFIG: Final = """
[[model]]
name = "glm"
api_base = "{base}/v1"
retries = 0
{model}
[[model]]
name = "kimi"
api_base = "{base}/v1"
retries = 0
[workflow-integration]
workers = ["glm", "kimi"]
synthesizer = "glm"
"""
OVER: Final = ("completed", "failed", "expired", "cancelled")
Object = dict[str, Any]


def line(number: int, *, text: str = "How?", url: str = CHAT, **fields: Any) -> Object:
    body = {"model": "glm", "messages": [{"role": "user", "content": text}]}
    return {"custom_id": f"id-{number}", "method": "POST", "url": url, "body": body, **fields}


def jsonl(lines: Sequence[Object | str]) -> bytes:
    return "".join((text if isinstance(text, str) else json.dumps(text)) + "\n" for text in lines).encode()


class Client:
    """A client of one server, with OpenAI's paths."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def upload(self, content: bytes) -> Object:
        form = {"file": ("in.jsonl", content)}
        response = await self.http.post("/v1/files", data={"purpose": "batch"}, files=form)
        assert response.status_code == 200, response.text
        made: Object = response.json()
        return made

    async def begin(self, lines: Sequence[Object | str], endpoint: str = CHAT, **fields: Any) -> Object:
        file = await self.upload(jsonl(lines))
        body = {"input_file_id": file["id"], "endpoint": endpoint, "completion_window": "24h", **fields}
        response = await self.http.post("/v1/batches", json=body)
        assert response.status_code == 200, response.text
        made: Object = response.json()
        assert (made["status"], made["object"]) == ("validating", "batch")
        return made

    async def read(self, batch: Object) -> Object:
        found: Object = (await self.http.get(f"/v1/batches/{batch['id']}")).json()
        return found

    async def until(self, batch: Object, holds: Callable[[Object], bool]) -> Object:
        with anyio.fail_after(15):
            while not holds(batch := await self.read(batch)):  # noqa: ASYNC110
                await anyio.sleep(0.01)
        return batch

    async def ended(self, batch: Object) -> Object:
        return await self.until(batch, lambda batch: batch["status"] in OVER)

    async def results(self, batch: Object, kind: str = "output") -> dict[str, Object]:
        """The lines of a file of the batch, by their custom ids."""
        if batch[f"{kind}_file_id"] is None:
            return {}
        content = await self.http.get(f"/v1/files/{batch[f'{kind}_file_id']}/content")
        assert content.status_code == 200
        lines = [json.loads(text) for text in content.text.splitlines()]
        by_id = {line["custom_id"]: line for line in lines}
        assert len(by_id) == len(lines) == batch["request_counts"]["completed" if kind == "output" else "failed"]
        return by_id


@pytest.fixture
async def served(scripted: ScriptedUpstream) -> AsyncIterator[Running]:
    with running(CONFIG.format(base=scripted.base, model="")) as started:
        yield started


@pytest.fixture
async def api(served: Running) -> AsyncIterator[Client]:
    async with connected(served.base) as http:
        yield Client(http)


@pytest.fixture
async def narrow(scripted: ScriptedUpstream) -> AsyncIterator[Client]:
    """A client of a server whose model answers one call at a time."""
    with running(CONFIG.format(base=scripted.base, model="max_concurrency = 1")) as started:
        async with connected(started.base) as http:
            yield Client(http)


# --- files


async def test_a_file_is_uploaded_listed_read_and_deleted(api: Client) -> None:
    content = jsonl([line(1)]) * 9000  # several pieces
    made = await api.upload(content)
    assert made == {
        "id": made["id"],
        "object": "file",
        "bytes": len(content),
        "created_at": made["created_at"],
        "expires_at": made["created_at"] + 30 * 86_400,
        "filename": "in.jsonl",
        "purpose": "batch",
        "status": "processed",
        "status_details": None,
    }
    other = await api.upload(b"")
    assert (await api.http.get(f"/v1/files/{made['id']}")).json() == made
    read = await api.http.get(f"/v1/files/{made['id']}/content")
    assert (read.content, read.headers["content-type"]) == (content, "application/octet-stream")
    page = (await api.http.get("/v1/files", params={"limit": 1})).json()
    assert page == {
        "object": "list",
        "data": [other],
        "first_id": other["id"],
        "last_id": other["id"],
        "has_more": True,
    }
    page = (await api.http.get("/v1/files", params={"after": other["id"], "purpose": "batch"})).json()
    assert (page["data"], page["has_more"]) == ([made], False)
    page = (await api.http.get("/v1/files", params={"order": "asc"})).json()
    assert page["data"] == [made, other]
    deleted = await api.http.delete(f"/v1/files/{made['id']}")
    assert deleted.json() == {"id": made["id"], "object": "file", "deleted": True}
    for path in (made["id"], f"{made['id']}/content"):
        assert (await api.http.get(f"/v1/files/{path}")).status_code == 404
    assert (await api.http.delete(f"/v1/files/{made['id']}")).status_code == 404


async def test_the_fields_of_a_form_come_in_any_order(api: Client) -> None:
    form = [
        ("file", ("名前.jsonl", b"{}\r\n--boundary", "application/jsonl")),
        ("expires_after[anchor]", (None, "created_at")),
        ("expires_after[seconds]", (None, "3600")),
        ("purpose", (None, "batch")),
    ]
    made = (await api.http.post("/v1/files", files=form)).json()
    assert (made["filename"], made["bytes"]) == ("名前.jsonl", 14)
    assert made["expires_at"] - made["created_at"] == 3600


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ([("purpose", (None, "batch"))], "file"),
        ([("purpose", (None, "batch")), ("file", (None, b""))] * 2, "file"),
        ([("file", ("a", b"1"))], "purpose"),
        ([("file", ("a", b"1")), ("purpose", (None, "assistants"))], "purpose"),
        ([("file", ("a", b"1")), ("purpose", (None, "x" * 2000))], "purpose"),
        (
            [("file", ("a", b"1")), ("purpose", (None, "batch")), ("expires_after[seconds]", (None, "9"))],
            "expires_after.seconds",
        ),
    ],
)
async def test_a_form_that_is_not_right_leaves_no_file(api: Client, form: list[Any], param: str) -> None:
    refused = await api.http.post("/v1/files", files=form)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, param)
    assert (await api.http.get("/v1/files")).json()["data"] == []


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{}", "application/json"),
        (b"{}", "multipart/form-data"),
        (b"{}", "multipart/form-data; boundary=b"),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\n1', "multipart/form-data; boundary=b"),
        (b"--b\r\n" + b"x" * 9000, "multipart/form-data; boundary=b"),
        (b"", "multipart/form-data; boundary=" + "b" * 300),
    ],
)
async def test_what_is_no_form_is_a_400(api: Client, content: bytes, kind: str) -> None:
    refused = await api.http.post("/v1/files", content=content, headers={"content-type": kind})
    assert refused.status_code == 400, refused.text
    assert (await api.http.get("/v1/files")).json()["data"] == []


async def test_a_file_that_is_too_large_is_a_413(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 100_000)
    await api.upload(b"x" * 100_000)
    for size in (100_001, 1_000_000):
        refused = await api.http.post("/v1/files", data={"purpose": "batch"}, files={"file": ("a", b"x" * size)})
        assert (refused.status_code, refused.json()["error"]["code"]) == (413, "body_too_large")
    assert len((await api.http.get("/v1/files")).json()["data"]) == 1


@pytest.mark.parametrize("query", ["limit=0", "limit=10001", "limit=x", "order=up"])
async def test_a_list_of_files_has_bounds(api: Client, query: str) -> None:
    refused = await api.http.get(f"/v1/files?{query}")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, query.partition("=")[0])


# --- batches


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


# --- keys


KEYED: Final = """
[server]
require_auth = true
keys_file = "{keys}"
[[model]]
name = "glm"
api_base = "{base}/v1"
price = {{ input = 1000000, output = 1000000 }}
[[model]]
name = "kimi"
api_base = "{base}/v1"
"""


@pytest.fixture
async def keyed(scripted: ScriptedUpstream, tmp_path: Path) -> AsyncIterator[dict[str, Client]]:
    """A client for each key, of a server where each token of glm costs 1."""
    scripted.on("glm", Say("good", usage=(6, 4)))
    file = KeyFile(tmp_path / "keys.json")
    budget = KeyBudget(amount=15.0, per="month")
    options: dict[str, Object] = {"ann": {}, "ben": {}, "slow": {"requests": ("6/second",)}, "poor": {"budget": budget}}
    texts = {
        name: file.create(name, role="client", models=("glm",), expires=None, **more)[0]
        for name, more in options.items()
    }
    with ServerProcess(KEYED.format(keys=tmp_path / "keys.json", base=scripted.base)) as server:
        clients: dict[str, Client] = {}
        async with connected(server.base) as http:
            for name, text in texts.items():
                clients[name] = Client(connected(server.base))
                clients[name].http.headers["authorization"] = f"Bearer {text}"
            yield clients
            for client in clients.values():
                await client.http.aclose()
            del http


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
