"""The upstreams of the soak in one process: two that are well and one that is broken in every way
now and then.

    python -m benchmarks.soak.upstream WELL_PORT WELL_PORT FAULTY_PORT

All behave by the model's name (`tests/kit/conventions.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence
from random import Random

import uvloop

from tests.kit import Behaviour, Cut, Empty, ErrorInStream, Hang, Raw, Recorded, ScriptedUpstream, Status
from tests.kit.conventions import by_name

FAULT_SHARE = 0.4
FAULTS: tuple[Behaviour, ...] = (
    Status(429, headers={"retry-after": "0"}),
    Status(429, headers={"retry-after": "60"}),
    Status(500),
    Status(503),
    Status(400),
    Cut(after_pieces=None),
    Cut(after_pieces=1),
    Cut(after_pieces=2, reset=True),
    Cut(after_pieces=2, clean=True),
    ErrorInStream(),
    ErrorInStream(after_pieces=2),
    Hang("connect"),
    Hang("headers"),
    Hang("body"),
    Empty(),
    Raw([b"data: {garbage\n\n"]),
)


def faulty(rng: Random) -> Callable[[Recorded], Behaviour]:
    """A good answer, and in `FAULT_SHARE` of the calls a fault."""
    return lambda request: rng.choice(FAULTS) if rng.random() < FAULT_SHARE else by_name(request)


async def serve(ports: Sequence[int]) -> None:
    """Until killed."""
    async with contextlib.AsyncExitStack() as stack:
        for port, behave in zip(ports, (by_name, by_name, faulty(Random(1))), strict=True):
            await stack.enter_async_context(ScriptedUpstream(port=port, default=behave, keep_requests=False))
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve([int(port) for port in sys.argv[1:]]))
