"""Responses that are kept (A3): `store`, `previous_response_id`, item references, reading back.

Those made in the background are followed and cancelled here. Each belongs to the key that it was
asked for with; to all others it does not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from chorus import wirejson
from chorus.errors import InvalidRequest, NotFound, StorageUnavailable
from chorus.events import Event, RunFailed, RunFinished
from chorus.journal import Journal
from chorus.server.api.background import NOT_SHARED, BackgroundRuns, follow, queued
from chorus.server.api.conversations import DEFAULT_PAGE, MAX_PAGE
from chorus.server.api.distant import GOING_ON, follow_distant
from chorus.server.api.paging import page_limit, page_order
from chorus.server.dialects.base import ParsedRequest, ResponseContext
from chorus.server.dialects.responses.fields import ResponsesOptions
from chorus.server.dialects.responses.items import response_of_item
from chorus.server.dialects.responses.stream import response_of
from chorus.server.http.auth import owner_of, principal_of
from chorus.server.http.context import request_context
from chorus.server.http.routes import Route
from chorus.server.http.wire import Header, send_json
from chorus.storage.base import Responses
from chorus.storage.behind import AddWrite, Key, WriteBehind
from chorus.wirejson import JSON

_NO_ENDS: Final = {"first_id": None, "last_id": None}
_NOT_LISTED: Final = "The response was made from no item of this id."
_MAX_ITEMS: Final = 10_000
"""Items of one conversation: each turn repeats those before it."""
_MAX_REFERENCED: Final = 64 * 1024 * 1024
"""Bytes of items that one request may bring in by reference. A reference takes 60 bytes and an item
may have megabytes, so that a short request would become one of gigabytes."""

_AWAY: Final = "The storage is away: the request is answered without its previous response."


class StoredResponses:
    """Keeps responses with the items that led to them; completes requests that refer to them."""

    def __init__(
        self,
        responses: Responses,
        writes: WriteBehind,
        background: BackgroundRuns,
        heartbeat_secs: float,
        count: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep responses in a store; `count` is called when the store is away for a request.

        Such a request goes without the response that it names. `heartbeat_secs` is the quiet time
        before and between the heartbeats of a response that is followed.
        """
        self._count = count
        self._responses = responses
        self._writes = writes
        self._background = background
        self._heartbeat_secs = heartbeat_secs

    async def resolve_references(
        self, body: JSON, owner: str, away: Callable[[str], None] = lambda sentence: None
    ) -> JSON:
        """Return `body` with what it refers to: earlier items before its own, references replaced.

        The earlier items are those of `previous_response_id`; an `item_reference` becomes the item.
        Both are of responses that belong to `owner`. While the store is away the request goes
        without the earlier items, and `away` is called with a sentence.

        Raises:
            StorageUnavailable: the store is away, and the request makes no sense without it: it
            refers to an item, or brings the result of a tool that it does not call.
            NotFound: the response or item is unknown, or no longer kept. Ignoring it would lose a
            turn silently.
            InvalidRequest: the response failed or was cancelled, or the conversation becomes too
            long.
        """
        if not isinstance(body, dict):
            return body
        given = body.get("input")
        items = await self._resolved(_as_items(given), owner)
        previous = body.get("previous_response_id")
        if isinstance(previous, str):
            try:
                record = await self._record(owner, previous, param="previous_response_id")
            except StorageUnavailable:
                if any(_is_output(item) for item in items):
                    raise
                self._count()
                away(_AWAY)
                return {**body, "input": items}
            status = record["response"]["status"]
            if status not in ("completed", "incomplete"):
                raise InvalidRequest(
                    f"The previous response is {status}: it has no answer to go on from.", param="previous_response_id"
                )
            items = [*record["input"], *record["response"]["output"], *items]
            if len(items) > _MAX_ITEMS:
                raise InvalidRequest(
                    f"The conversation has more than {_MAX_ITEMS} items.", param="previous_response_id"
                )
        elif not isinstance(given, list):
            return body
        return {**body, "input": items}

    def keep(
        self, owner: str, body: JSON, context: ResponseContext[ResponsesOptions], journal: Journal, add: AddWrite
    ) -> None:
        """Keep the response of this run for `owner` when it is over.

        `body` is the completed request; `add` lets the response be written.
        """

        def keep(event: Event) -> None:
            if isinstance(event, RunFinished | RunFailed):
                response = response_of(context, journal.events)
                response.pop("workflow", None)
                record = wirejson.encode({"response": response, "input": _with_ids(body.get("input"), context.id)})
                put = partial(self._responses.put, owner, context.id, record)
                add(_key(owner, context.id), len(record), put)

        journal.observe(keep)

    async def answer_in_background(
        self,
        parsed: ParsedRequest[ResponsesOptions],
        begun: Callable[[Journal], ResponseContext[ResponsesOptions]],
        headers: Callable[[Journal, Sequence[str]], list[Header]],
        scope: Scope,
        send: Send,
    ) -> None:
        """Answer with a run of the server, which goes on when the client disconnects.

        The client may come back for it. `begun` and `headers` are called with the journal of the
        run, and `headers` with further warnings. Raises as `BackgroundRuns.start` does.
        """
        request = request_context(scope)
        run = await self._background.start(
            parsed, begun, principal_of(scope), unique=request.unique, request_id=request.request_id
        )
        fields = partial(headers, run.journal, (NOT_SHARED,) if run.is_local else ())
        if parsed.stream:
            await follow(run, scope, send, heartbeat_secs=self._heartbeat_secs, headers=fields)
        else:
            await send_json(send, queued(run.context), headers=fields())

    def routes(self) -> tuple[Route, ...]:
        """Return the routes below the path of one response."""
        return (
            Route("", self.response, "A stored response", ("GET", "DELETE"), access="client"),
            Route("/input_items", self.input_items, "What led to a stored response", access="client"),
            Route("/cancel", self.cancel, "Stop a background response", ("POST",), access="client"),
        )

    async def response(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a stored response, or its events, or delete it."""
        owner, response_id = owner_of(scope), scope["path_params"]["id"]
        if scope["method"] == "DELETE":
            await self._delete(owner, response_id)
            await send_json(send, {"id": response_id, "object": "response", "deleted": True})
            return
        query = QueryParams(scope["query_string"])
        run = self._background.get(owner, response_id)
        if query.get("stream", "").lower() in ("true", "1"):
            after = _starting_after(query.get("starting_after"))
            if run is not None:
                await follow(run, scope, send, after=after, heartbeat_secs=self._heartbeat_secs)
            elif (await self._read(owner, response_id))["status"] in GOING_ON:
                read = partial(self._read, owner, response_id)
                await follow_distant(read, scope, send, after=after, heartbeat_secs=self._heartbeat_secs)
            else:
                raise InvalidRequest(
                    "Only a background response can be followed, and only for a while after its end; read it without "
                    "`stream`.",
                    param="stream",
                )
        elif run is not None:
            await send_json(send, response_of(run.context, run.journal.events))
        else:
            await send_json(send, await self._read(owner, response_id))

    async def cancel(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stop a background response; one that has ended stays as it is."""
        owner, response_id = owner_of(scope), scope["path_params"]["id"]
        run = self._background.get(owner, response_id)
        if run is None:
            await self._background.records.cancel((owner, response_id))
            response = await self._read(owner, response_id)
            if not response["background"]:
                raise InvalidRequest("Only a background response can be cancelled.", param="id")
        else:
            await run.cancel()
            response = response_of(run.context, run.journal.events)
        await send_json(send, response)

    async def _delete(self, owner: str, response_id: str) -> None:
        """Forget a response, and stop it if it is still being made.

        Raises:
            NotFound: `owner` has none of this id.
        """
        run = self._background.get(owner, response_id)
        if run is not None:
            await run.cancel()
            self._background.forget(owner, response_id)
        else:
            await self._background.records.cancel((owner, response_id))
        await self._writes.settled(_key(owner, response_id))
        is_run = await self._background.records.delete((owner, response_id))
        if not await self._responses.delete(owner, response_id) and not is_run:
            raise _unknown()

    async def input_items(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send a page of the items that led to a stored response, newest first as OpenAI does.

        Raises:
            InvalidRequest: a query parameter is out of range.
            NotFound: there is no such response, or no item `after` which the page begins.
        """
        query = QueryParams(scope["query_string"])
        limit = page_limit(query.get("limit"), DEFAULT_PAGE, MAX_PAGE)
        order, after = page_order(query.get("order")), query.get("after")
        items = (await self._record(owner_of(scope), scope["path_params"]["id"]))["input"]
        if order == "desc":
            items = items[::-1]
        if after is not None:
            place = next((place for place, item in enumerate(items) if _id_of(item) == after), None)
            if place is None:
                raise NotFound(_NOT_LISTED, param="after")
            items = items[place + 1 :]
        has_more, items = len(items) > limit, items[:limit]
        ends = {"first_id": _id_of(items[0]), "last_id": _id_of(items[-1])} if items else _NO_ENDS
        await send_json(send, {"object": "list", "data": items, "has_more": has_more, **ends})

    async def _read(self, owner: str, response_id: str) -> JSON:
        """Return a response of another process, or of the past, as the store has it.

        One whose process was taken for dead has failed, whatever that process has written since.
        """
        record = await self._kept(owner, response_id)
        if record is not None and not record["response"]["background"]:
            return record["response"]
        response = await self._background.records.response((owner, response_id))
        if response is None and record is None:  # it may have ended between the two reads
            record = await self._record(owner, response_id)
        return response if response is not None or record is None else record["response"]

    async def _record(self, owner: str, response_id: str, param: str | None = None) -> dict[str, Any]:
        record = await self._kept(owner, response_id)
        if record is None:
            raise _unknown(param)
        return record

    async def _kept(self, owner: str, response_id: str) -> dict[str, Any] | None:
        """Return what is kept of a response: itself, and what led to it."""
        await self._writes.settled(_key(owner, response_id))
        text = await self._responses.get(owner, response_id)
        # our own text: it needs none of `wirejson`'s checks
        return msgspec.json.decode(text, type=dict[str, Any]) if text is not None else None

    async def _resolved(self, items: Sequence[JSON], owner: str) -> list[JSON]:
        """Return `items` with the output items of stored responses in place of `item_reference`s.

        Each response that is referred to is read once.

        Raises:
            NotFound: there is none of this id.
            InvalidRequest: what is referred to is larger than one request may be.
        """
        resolved: list[JSON] = []
        stored: dict[str, JSON] = {}
        sizes: dict[str, int] = {}
        room = _MAX_REFERENCED
        for item in items:
            if not isinstance(item, Mapping) or item.get("type") != "item_reference":
                resolved.append(item)
                continue
            item_id = item.get("id")
            if not isinstance(item_id, str):
                raise _no_item()
            if item_id not in stored:
                stored.update(await self._items_beside(item_id, owner))
            if item_id not in stored:
                raise _no_item()
            if item_id not in sizes:
                sizes[item_id] = len(wirejson.encode(stored[item_id]))
            room -= sizes[item_id]
            if room < 0:
                raise InvalidRequest(
                    f"The items that are referred to have more than {_MAX_REFERENCED >> 20} MiB.", param="input"
                )
            resolved.append(stored[item_id])
        return resolved

    async def _items_beside(self, item_id: str, owner: str) -> dict[str, JSON]:
        """Return every output item, by its id, of the response that `item_id` names.

        None where there is no such response.
        """
        response_id = response_of_item(item_id)
        record = await self._kept(owner, response_id) if response_id is not None else None
        return {item["id"]: item for item in record["response"]["output"]} if record is not None else {}


def _key(owner: str, response_id: str) -> Key:
    return "responses", owner, response_id


def _is_output(item: JSON) -> bool:
    """Return whether `item` is the result of a tool."""
    return isinstance(item, Mapping) and str(item.get("type")).endswith("_output")


def _no_item() -> NotFound:
    return NotFound("There is no stored item of this id (any more); send the item itself.", param="input")


def _unknown(param: str | None = None) -> NotFound:
    return NotFound("There is no stored response of this id (any more).", param=param)


def _starting_after(given: str | None) -> int | None:
    """Return the sequence number that a reader has already."""
    if given is None:
        return None
    if not (given.isascii() and given.isdigit()):
        raise InvalidRequest("Invalid value for 'starting_after': expected a sequence number.", param="starting_after")
    return int(given[:18])


def _as_items(given: JSON) -> list[JSON]:
    """Return `input` as a list of items."""
    if given is None:
        return []
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given}]}]
    return given if isinstance(given, list) else [given]


def _with_ids(given: JSON, response_id: str) -> list[JSON]:
    """Return the items, each with an id, as OpenAI lists them."""
    unique = response_id.removeprefix("resp_")
    return [
        {"type": "message", **item, "id": item.get("id") or f"in_{unique}{index:04d}"}
        if isinstance(item, dict)
        else item
        for index, item in enumerate(_as_items(given))
    ]


def _id_of(item: JSON) -> str | None:
    """Return the id of an item; None of a text in its place."""
    return item.get("id") if isinstance(item, dict) else None
