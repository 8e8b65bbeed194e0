"""The connection pool after thousands of callers who left (L1)."""

import anyio
import pytest

from chorus.llm.address import ModelAddress, ReplicaAddress
from chorus.llm.base import Call
from chorus.llm.registry import build
from chorus.llm.transport.clients import Clients
from chorus.types import ChatRequest, Message
from tests.kit import Hang, Say, ScriptedUpstream, unaccepting

QUESTION = Call(ChatRequest("m", (Message("user", "How?"),)))
AT_ONCE = 200


@pytest.mark.slow
@pytest.mark.parametrize("calls", [2400, pytest.param(10_000, marks=pytest.mark.very_slow)])
@pytest.mark.requirement("L1")
async def test_thousands_of_cancelled_calls_and_the_pool_still_serves(calls: int) -> None:
    clients = Clients()
    async with ScriptedUpstream() as scripted:
        scripted.on("hang", Hang("headers")).on("drip", Hang("body")).on("m", Say("still here"))
        with unaccepting() as nowhere:
            addresses = dict.fromkeys(("hang", "drip", "m"), scripted.api_base) | {"nowhere": f"{nowhere}/v1"}
            models = {
                name: build(ModelAddress(name, "openai", (ReplicaAddress(base),), name, attempts=1), clients).upstream
                for name, base in addresses.items()
            }

            async def begin(name: str) -> None:
                async with models[name].open(QUESTION) as chunks:
                    async for _ in chunks:
                        pass

            # each wave is cancelled at another moment: not yet begun, connecting, sent, reading
            for wave in range(calls // AT_ONCE):
                async with anyio.create_task_group() as group:
                    for position in range(AT_ONCE):
                        group.start_soon(begin, ("hang", "drip", "nowhere")[position % 3])
                    for _ in range(wave % 12):
                        await anyio.lowlevel.checkpoint()
                    if wave % 5 == 4:
                        await scripted.wait_requests(1, model="drip")
                        scripted.forget()
                    group.cancel_scope.cancel()
            await scripted.wait_idle()
            async with models["m"].open(QUESTION) as chunks:
                assert "".join([chunk.text async for chunk in chunks]) == "still here"
        await clients.aclose()
        await scripted.wait_closed()
