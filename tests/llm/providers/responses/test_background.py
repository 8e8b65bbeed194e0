"""A response that is made in the background: followed, taken up where it broke off, cancelled."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from chorus.errors import LLMError, UpstreamProtocol, UpstreamStatus
from chorus.llm.base import Call, Upstream
from chorus.llm.providers.responses import background
from chorus.llm.transport.clients import Clients
from tests.kit import Raw, ScriptedUpstream, Status
from tests.kit.providers.http import encoded
from tests.kit.providers.responses_wire import Item, function_call, message, response, stream
from tests.llm.answers import calls_of
from tests.llm.reaching import QUESTION, ask, reached, text_of

ID = "resp_0001"
WHOLE = response([message("msg_1", "It is done now."), function_call("fc_1", "c1", "look", {"a": 1})], {})
QUEUED = {**WHOLE, "status": "queued", "output": [], "usage": None}
AT = f"/v1/responses/{ID}"

pytestmark = pytest.mark.requirement("L2")


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "POLL_SECS", 0.01)


def upstream_of(scripted: ScriptedUpstream, clients: Clients) -> Upstream:
    return reached(scripted.api_base, clients, "responses", extra_body={"background": True}).upstream


def whole(body: Item) -> Raw:
    return Raw([encoded(body)], content_type="application/json", close=False)


def part(start: int, end: int | None, *, close: bool = True) -> Raw:
    """The events of the answer from `start` to before `end`."""
    return Raw(stream(WHOLE)[start:end], content_type="text/event-stream", close=close)


async def test_a_response_that_is_polled(scripted: ScriptedUpstream, clients: Clients) -> None:
    going_on = {**QUEUED, "status": "in_progress"}
    scripted.on("m", whole(QUEUED))
    scripted.on(AT, whole(QUEUED), Status(500), whole(going_on), whole(WHOLE))
    chunks = await ask(upstream_of(scripted, clients), stream=False)
    assert text_of(chunks) == "It is done now."
    assert calls_of(chunks) == {0: ("c1", "look", '{"a": 1}')}
    created, *looks = scripted.requests
    assert (created.json["background"], created.json["store"]) == (True, True)
    assert [look.method for look in looks] == ["GET"] * 4
    assert looks[0].headers["authorization"] == "Bearer sk-secret"


@pytest.mark.parametrize("cut", [3, 6, 9])
async def test_a_stream_goes_on_where_it_broke_off(scripted: ScriptedUpstream, clients: Clients, cut: int) -> None:
    scripted.on("m", part(0, cut))
    scripted.on(AT, Status(503), part(cut, cut + 3), part(cut + 3, None, close=False))
    chunks = await ask(upstream_of(scripted, clients))
    assert text_of(chunks) == "It is done now."
    assert calls_of(chunks) == {0: ("c1", "look", '{"a": 1}')}
    queries = [request.query for request in scripted.requests[1:]]
    assert queries == [
        f"stream=true&starting_after={cut - 1}",
        f"stream=true&starting_after={cut - 1}",
        f"stream=true&starting_after={cut + 2}",
    ]


async def test_a_stream_that_never_goes_on_is_given_up(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", part(0, 4))
    scripted.on(AT, Status(503))
    with pytest.raises(UpstreamStatus):
        await ask(upstream_of(scripted, clients))
    looks = [request for request in scripted.requests if request.method == "GET"]
    assert len(looks) == background.MAX_FAILURES


async def test_a_response_that_is_gone(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", whole(QUEUED))
    scripted.on(AT, Status(404))
    with pytest.raises(UpstreamStatus) as raised:
        await ask(upstream_of(scripted, clients), stream=False)
    assert raised.value.upstream_status == 404


async def test_one_that_fails_or_is_refused_at_once(scripted: ScriptedUpstream, clients: Clients) -> None:
    failed = response([], {}, status="failed", error={"code": "server_error", "message": "It fell."}, usage=None)
    scripted.on("m", whole(failed), Status(400))
    for _ in range(2):
        with pytest.raises(LLMError):
            await ask(upstream_of(scripted, clients), stream=False)
    assert len(scripted.requests) == 2


@pytest.mark.parametrize("is_stream", [False, True])
async def test_leaving_cancels_it(scripted: ScriptedUpstream, clients: Clients, is_stream: bool) -> None:
    scripted.on("m", part(0, 4, close=False) if is_stream else whole(QUEUED))
    scripted.on(AT, part(4, 5, close=False) if is_stream else whole(QUEUED))
    scripted.on(f"{AT}/cancel", whole({**QUEUED, "status": "cancelled"}))
    upstream = upstream_of(scripted, clients)

    async def answer() -> None:
        async with upstream.open(Call(QUESTION, stream=is_stream)) as chunks:
            async for _ in chunks:
                pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answer)
        await scripted.wait_requests(3)
        tasks.cancel_scope.cancel()
    last = scripted.requests[-1]
    assert (last.method, last.path) == ("POST", f"{AT}/cancel")


async def test_what_is_over_is_not_cancelled(scripted: ScriptedUpstream, clients: Clients) -> None:
    scripted.on("m", part(0, None, close=False))
    await ask(upstream_of(scripted, clients))
    assert len(scripted.requests) == 1


@pytest.mark.parametrize("id", ["../models", "a/b", "", 7, "x" * 300])
async def test_an_id_that_is_none_goes_into_no_address(scripted: ScriptedUpstream, clients: Clients, id: Any) -> None:
    scripted.on("m", whole({**QUEUED, "id": id}))
    with pytest.raises(UpstreamProtocol):
        await ask(upstream_of(scripted, clients), stream=False)
    assert len(scripted.requests) == 1
