"""What is left on a server when a load is over: calls in flight, queues, descriptors.

And whether it answers.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import httpx

from benchmarks.load import BadAnswer
from benchmarks.processes import Cost

from .clients import Visitor
from .endings import DIALECTS, Dialect, ending
from .place import STEADY, Place, request

SETTLE_SECS = 20.0
"""In that time everything must be as before: idle connections are kept for 4 s, calls take 6 s at
most.
"""
SPARE_DESCRIPTORS = 12
"""What a process may open once and for all: a log, a pipe, the connection that asks for the
metrics, and two files for each of the four threads that read the store.
"""
_GAUGE = re.compile(r"^((?:active_concurrency|queue_length)\{.*\}) (\S+)$", re.MULTILINE)


async def aftermath(place: Place, cost: Cost, admin_key: str, *, idle_descriptors: int) -> list[str]:
    """What is not as it was before the load, one sentence each."""
    remains: list[str] = []
    headers = {"authorization": f"Bearer {admin_key}"}
    async with httpx.AsyncClient(base_url=place.base, headers=headers, timeout=10, trust_env=False) as client:

        async def gauges() -> dict[str, float]:
            page = (await client.get("/metrics")).raise_for_status().text
            return {name: float(value) for name, value in _GAUGE.findall(page)}

        async def is_idle() -> bool:
            return not any((await gauges()).values())

        if len(await gauges()) < 2:
            remains.append("there are no gauges to look at")
        if not await _comes_true(is_idle):
            remains.append(f"not idle: {[each for each in (await gauges()).items() if each[1]]}")
    for key in place.keys:
        for dialect in DIALECTS:
            remains += await _answers(place, dialect, key)

    async def are_few_open() -> bool:
        return cost.descriptors() <= idle_descriptors + SPARE_DESCRIPTORS

    if not await _comes_true(are_few_open):
        remains.append(f"{cost.descriptors()} descriptors are open, {idle_descriptors} were before the load")
    return remains


async def _answers(place: Place, dialect: Dialect, key: str) -> list[str]:
    """What is wrong with the answer to one question, if anything."""
    body = {"model": STEADY.model, **dialect.asks("well?"), "stream": True}
    visitor = await Visitor.come(place.base)

    async def is_let_in() -> bool:
        return await visitor.exchange(request(dialect.path, body, key)) != 429 or key not in place.limited

    try:
        is_whole = await _comes_true(is_let_in)  # a limited key has to pay off what it owes
        if not is_whole or ending(dialect, visitor.status, bytes(visitor.body), stream=True).text != "well?":
            raise BadAnswer(f"{dialect.path} {visitor.status}: {visitor.body[-300:]!r}")
    except BadAnswer as bad:
        return [f"after the load: {bad}"]
    finally:
        visitor.close()
    return []


async def _comes_true(condition: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it does within `SETTLE_SECS`."""
    try:
        async with asyncio.timeout(SETTLE_SECS):
            while not await condition():  # noqa: ASYNC110 - it is another process that changes
                await asyncio.sleep(0.05)
    except TimeoutError:
        return False
    return True
