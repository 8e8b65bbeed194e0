"""Responses that are kept: `store`, `previous_response_id`, item references, and reading them back (A3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from chorus.errors import InvalidRequest, NotFound
from chorus.events import Event, RunFinished
from chorus.journal import Observer
from chorus.memory.base import Store
from chorus.server.dialects.base import Reply
from chorus.server.dialects.responses_items import output_items, response_body, response_of_item
from chorus.server.wire import send_json
from chorus.wirejson import JSON

_MAX_ITEMS = 10_000
"""Items of one conversation: each turn repeats those before it."""


class StoredResponses:
    """Keeps each response with the items that led to it, and completes requests that refer to them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def completed(self, body: JSON) -> JSON:
        """`body` with the items of `previous_response_id` before its own, and every `item_reference` replaced by the item.

        Raises:
            NotFound: the response or item is unknown, or no longer kept. Ignoring it would lose a turn silently.
        """
        if not isinstance(body, dict):
            return body
        given = body.get("input")
        items: list[JSON] = []
        for item in _as_items(given):
            refers = isinstance(item, Mapping) and item.get("type") == "item_reference"
            items.append(await self._item(item.get("id")) if refers else item)
        previous = body.get("previous_response_id")
        if isinstance(previous, str):
            record = await self._record(previous, param="previous_response_id")
            items = [*record["input"], *record["response"]["output"], *items]
            if len(items) > _MAX_ITEMS:
                raise InvalidRequest(
                    f"The conversation has more than {_MAX_ITEMS} items.", param="previous_response_id"
                )
        elif not isinstance(given, list):
            return body
        return {**body, "input": items}

    def observer(self, reply: Reply, body: JSON) -> Observer:
        """Keeps the response of a run when it has finished; `body` is the completed request."""

        def keep(event: Event) -> None:
            if isinstance(event, RunFinished):
                response = response_body(reply, output_items(reply.id, event.answers[0]), done=event)
                response.pop("workflow", None)
                self._store.put(reply.id, {"response": response, "input": _with_ids(body.get("input"), reply.id)})

        return keep

    def routes(self) -> tuple[tuple[str, ASGIApp, str, tuple[str, ...]], ...]:
        """Path, handler, summary and methods of each."""
        return (
            ("/v1/responses/{id}", self.response, "A stored response", ("GET", "DELETE")),
            ("/v1/responses/{id}/input_items", self.input_items, "What led to a stored response", ("GET",)),
        )

    async def response(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A stored response, or its end."""
        response_id = scope["path_params"]["id"]
        record = await self._record(response_id)
        if scope["method"] == "DELETE":
            await self._store.delete(response_id)
            await send_json(send, {"id": response_id, "object": "response", "deleted": True})
        else:
            await send_json(send, record["response"])

    async def input_items(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The items that led to a stored response, newest first as OpenAI lists them."""
        items = list(reversed((await self._record(scope["path_params"]["id"]))["input"]))
        ends = {"first_id": items[0]["id"] if items else None, "last_id": items[-1]["id"] if items else None}
        await send_json(send, {"object": "list", "data": items, "has_more": False, **ends})

    async def _record(self, response_id: str, param: str | None = None) -> dict[str, Any]:
        record = await self._store.get(response_id)
        if record is None:
            raise NotFound("There is no stored response of this id (any more).", param=param)
        assert isinstance(record, dict)
        return record

    async def _item(self, item_id: JSON) -> JSON:
        """A stored output item, by the response that its id names."""
        response_id = response_of_item(item_id) if isinstance(item_id, str) else None
        record = await self._store.get(response_id) if response_id is not None else None
        for item in record["response"]["output"] if record is not None else ():
            if item["id"] == item_id:
                return item
        raise NotFound("There is no stored item of this id (any more); send the item itself.", param="input")


def _as_items(given: JSON) -> list[JSON]:
    """`input` as a list of items."""
    if given is None:
        return []
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    return given if isinstance(given, list) else [given]


def _with_ids(given: JSON, response_id: str) -> list[JSON]:
    """The items, each with an id, as OpenAI lists them."""
    unique = response_id.removeprefix("resp_")
    return [
        {"type": "message", "id": f"in_{unique}{index:04d}", **item} if isinstance(item, dict) else item
        for index, item in enumerate(_as_items(given))
    ]
