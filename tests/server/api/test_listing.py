"""What led to a response is listed in pages.

What is out of range is a 400 that names it (M3, A3).
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.requirement("M3")

RESPONSES = "/v1/responses"


@pytest.fixture
async def path(client: httpx.AsyncClient) -> str:
    """The items that led to a response of five."""
    items = [{"role": "user", "content": f"text {number}"} for number in range(5)]
    response = await client.post(RESPONSES, json={"model": "glm", "input": items})
    return f"{RESPONSES}/{response.json()['id']}/input_items"


async def texts(client: httpx.AsyncClient, path: str, **query: Any) -> tuple[str, list[str]]:
    """All items, read page by page, and the number of pages."""
    found: list[str] = []
    pages = 0
    after: dict[str, str] = {}
    while True:
        page = (await client.get(path, params={**query, **after})).json()
        pages += 1
        found += [item["content"][-1] if isinstance(item["content"], str) else "" for item in page["data"]]
        assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][-1]["id"])
        if not page["has_more"]:
            return "".join(found), [str(pages)]
        after = {"after": page["last_id"]}


@pytest.mark.parametrize(("order", "wanted"), [("desc", "43210"), ("asc", "01234")])
@pytest.mark.parametrize(("limit", "pages"), [(1, 5), (2, 3), (5, 1), (100, 1)])
async def test_pages_have_each_item_once(
    client: httpx.AsyncClient, path: str, order: str, wanted: str, limit: int, pages: int
) -> None:
    assert await texts(client, path, order=order, limit=limit) == (wanted, [str(pages)])


@pytest.mark.parametrize(
    ("query", "param", "status"),
    [
        ("limit=0", "limit", 400),
        ("limit=101", "limit", 400),
        ("limit=-1", "limit", 400),
        ("limit=1e1", "limit", 400),
        ("limit=", "limit", 400),
        ("order=up", "order", 400),
        ("after=in_nothing", "after", 404),
    ],
)
async def test_what_is_out_of_range_is_named(
    client: httpx.AsyncClient, path: str, query: str, param: str, status: int
) -> None:
    response = await client.get(f"{path}?{query}")
    assert (response.status_code, response.json()["error"]["param"]) == (status, param)


async def test_texts_in_place_of_items_are_listed(client: httpx.AsyncClient) -> None:
    response = await client.post(RESPONSES, json={"model": "glm", "input": ["one", "two"]})
    listed = await client.get(f"{RESPONSES}/{response.json()['id']}/input_items")
    assert (listed.status_code, len(listed.json()["data"])) == (200, 2)


@pytest.mark.parametrize(
    "metadata",
    [
        {str(number): "" for number in range(17)},
        {"k" * 65: "v"},
        {"k": "v" * 513},
        {"k": 5},
        {"k": None},
        "text",
        ["text"],
    ],
)
async def test_metadata_beyond_openais_limits_is_400(client: httpx.AsyncClient, metadata: Any) -> None:
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    wrong: list[tuple[str, dict[str, Any]]] = [(RESPONSES, {"model": "glm", "input": "One?", "metadata": metadata})]
    if metadata != {"k": None}:  # there it removes a pair
        wrong += [("/v1/conversations", {"metadata": metadata})]
        wrong += [(f"/v1/conversations/{conversation}", {"metadata": metadata})]
    for path, body in wrong:
        response = await client.post(path, json=body)
        assert (response.status_code, response.json()["error"]["param"]) == (400, "metadata"), path


async def test_metadata_at_openais_limits_are_kept(client: httpx.AsyncClient) -> None:
    metadata = {f"{number:02}" + "好" * 62: "🙂" * 512 for number in range(16)}
    response = (await client.post(RESPONSES, json={"model": "glm", "input": "One?", "metadata": metadata})).json()
    assert (await client.get(f"{RESPONSES}/{response['id']}")).json()["metadata"] == metadata
    made = (await client.post("/v1/conversations", json={"metadata": metadata})).json()
    assert made["metadata"] == metadata
    place = f"/v1/conversations/{made['id']}"
    assert (await client.post(place, json={"metadata": {"one more": "x"}})).status_code == 400
    assert (await client.get(place)).json()["metadata"] == metadata


@pytest.mark.parametrize(
    ("items", "param"),
    [
        ([{"role": "user", "content": "Hello", "id": "a"}] * 2, "items[1].id"),
        ([{"role": "user", "content": "Hello"}] * 21, "items"),
    ],
)
async def test_items_that_cannot_be_kept_apart_are_400(
    client: httpx.AsyncClient, items: list[dict[str, str]], param: str
) -> None:
    conversation = (await client.post("/v1/conversations", json={})).json()["id"]
    for path in ("/v1/conversations", f"/v1/conversations/{conversation}/items"):
        response = await client.post(path, json={"items": items})
        assert (response.status_code, response.json()["error"]["param"]) == (400, param)


async def test_a_message_without_content_is_listed_with_none(client: httpx.AsyncClient) -> None:
    made = (await client.post("/v1/conversations", json={"items": [{"role": "user"}]})).json()
    [item] = (await client.get(f"/v1/conversations/{made['id']}/items")).json()["data"]
    assert (item["content"], item["status"]) == ([], "completed")
