"""A client that leaves: every upstream connection of its request closes within a second (W13)."""

from __future__ import annotations

import time

import anyio
import httpx
import pytest
from _pytest.mark import ParameterSet

from tests.kit import Hang, ScriptedUpstream, ServerProcess

TURNS = {"messages": [{"role": "user", "content": "How?"}]}
ASKING: dict[str, dict[str, object]] = {
    "/v1/chat/completions": TURNS,
    "/v1/completions": {"prompt": "How?"},
    "/v1/responses": TURNS,
    "/v1/messages": TURNS,
    "/api/chat": TURNS,
    "/api/generate": {"prompt": "How?"},
}
"""What each dialect asks with."""
STAGES = {"analyzer": "chorus", "w2": "chorus", "selector": "chorus", "synthesizer": "chorus", "single": "single"}


def cells() -> list[ParameterSet]:
    """Each stage in each dialect: what hangs in one way for a stream, in the other for a whole
    answer.

    The other half is left to `make test-slow`.
    """
    return [
        pytest.param(
            stage, hang, stream, dialect, marks=() if (place + (hang == "body") + stream) % 2 else pytest.mark.very_slow
        )
        for stage in STAGES
        for hang in ("headers", "body")
        for stream in (True, False)
        for place, dialect in enumerate(ASKING)
    ]


@pytest.mark.parametrize(("stage", "hang", "stream", "dialect"), cells())
@pytest.mark.requirement("W13")
async def test_leaving_closes_every_upstream_connection(
    server: ServerProcess, scripted: ScriptedUpstream, stage: str, hang: str, stream: bool, dialect: str
) -> None:
    scripted.on(stage, Hang(hang))
    body = {"model": STAGES[stage], "stream": stream, **ASKING[dialect]}

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=server.base, timeout=10) as client:
            await client.post(dialect, json=body)

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await scripted.wait_requests(1, model=stage)
        left_at = time.monotonic()
        group.cancel_scope.cancel()
    await scripted.wait_idle()
    hung = [request for request in scripted.calls(stage) if request.was_cancelled]
    assert len(hung) == 1
    assert hung[0].closed_by_peer_at is not None
    assert hung[0].closed_by_peer_at - left_at < 1.0


async def test_the_log_of_a_request_that_was_left_says_499(server: ServerProcess) -> None:
    with anyio.fail_after(5):
        while '"status":499' not in server.log:  # it is read in another thread
            await anyio.lowlevel.checkpoint()
