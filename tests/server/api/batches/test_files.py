"""The files of batches over HTTP (M7)."""

from __future__ import annotations

from typing import Any

import pytest

from chorus.server.api import files
from tests.server.api.batches.client import Client, jsonl, line

pytestmark = pytest.mark.requirement("M7")


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
        (b'--b\r\nContent-Disposition: form-data; name="' + b"x" * 9000, "multipart/form-data; boundary=b"),
        (
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 40 + b"--b--\r\n",
            "multipart/form-data; boundary=b",
        ),
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
