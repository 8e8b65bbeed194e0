"""Routes: a body that is read before its handler, routes below a prefix, and what is open while the
application serves.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from starlette.types import Message, Scope, Send

from chorus.errors import BodyTooLarge, InvalidRequest
from chorus.server.http.bodies import RequestBody
from chorus.server.http.context import RequestContext, attach
from chorus.server.http.routes import Route, mounted, nowhere, posted, router
from chorus.server.http.wire import send_json


class Greeting(msgspec.Struct):
    name: str


async def greet(scope: Scope, body: RequestBody[Greeting], send: Send) -> None:
    await send_json(send, {"hello": body.fields.name, "fields": len(body.raw)})


async def post(route: Route, body: bytes, max_body_bytes: int = 100) -> bytes:
    """The body of the answer to a POST to `route`."""
    headers: list[tuple[bytes, bytes]] = [(b"content-length", str(len(body)).encode())]
    scope: Scope = {"type": "http", "method": "POST", "path": route.path, "headers": headers}
    attach(scope, RequestContext("req_1", "1", max_body_bytes, dict(headers)))
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    async def send(message: Message) -> None:
        sent.append(message)

    await router([route], ring=None)(scope, receive, send)
    return b"".join(message.get("body", b"") for message in sent)


GREETING = posted("/greeting", Greeting, greet, "A greeting")


async def test_a_handler_gets_the_body_as_its_type_and_all_of_it() -> None:
    assert await post(GREETING, b'{"name": "Ada", "more": 1}') == b'{"hello":"Ada","fields":2}'


async def test_a_body_of_another_type_never_reaches_its_handler() -> None:
    with pytest.raises(InvalidRequest) as caught:
        await post(GREETING, b'{"name": 1}')
    assert caught.value.param == "name"


async def test_a_body_is_as_large_as_the_edge_allows() -> None:
    with pytest.raises(BodyTooLarge):
        await post(GREETING, b'{"name": "Ada"}', max_body_bytes=9)


def test_routes_below_a_prefix_keep_all_but_their_path() -> None:
    [first, second] = mounted("/things/{id}", (Route("", nowhere, "A thing"), Route("/parts", nowhere, "Its parts")))
    assert (first.path, second.path) == ("/things/{id}", "/things/{id}/parts")
    assert (second.summary, second.parameters, second.access) == ("Its parts", ["id"], "admin")


async def test_lifespans_open_in_order_and_close_in_the_reverse_order() -> None:
    seen: list[str] = []

    def lifespan(name: str) -> Any:
        @asynccontextmanager
        async def opened() -> AsyncIterator[None]:
            seen.append(f"open {name}")
            yield
            seen.append(f"close {name}")

        return opened

    messages = iter(["lifespan.startup", "lifespan.shutdown"])

    async def receive() -> Message:
        return {"type": next(messages)}

    async def send(message: Message) -> None:
        seen.append(message["type"])

    app = router([], ring=None, lifespans=(lifespan("a"), lifespan("b")))
    await app({"type": "lifespan", "app": app, "state": {}}, receive, send)
    assert seen == [
        "open a", "open b", "lifespan.startup.complete", "close b", "close a", "lifespan.shutdown.complete",
    ]  # fmt: skip
