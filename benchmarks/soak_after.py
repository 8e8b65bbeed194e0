"""What is left on a server when a load is over: calls in flight, queues, slots, descriptors; and whether it answers."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx

from .endings import DIALECTS, ending
from .load import BadAnswer
from .processes import Cost
from .soak_visitors import Ward, http_request

SETTLE_SECS = 20.0
"""In that time everything must be as before: idle connections are kept for 4 s, calls take 5 s at most."""
SPARE_DESCRIPTORS = 4
"""What a process may open once and for all: a log, a pipe, the connection that asks for the metrics."""
_SAMPLE = re.compile(r'^(\w+)\{(?:instance="[^"]*",)?model="([^"]*)"\} (\S+)$', re.MULTILINE)


async def aftermath(
    ward: Ward, cost: Cost, admin_key: str, slots: Mapping[str, int], *, idle_descriptors: int
) -> list[str]:
    """What is not as it was before the load, one sentence each. `slots` says how many calls of a model can go on at once."""
    headers = {"authorization": f"Bearer {admin_key}"}
    remains: list[str] = []
    async with httpx.AsyncClient(base_url=ward.base, headers=headers, timeout=10, trust_env=False) as client:
        idle = _Idle(client)
        remains += await idle.reached("after the load")
        for model, count in slots.items():
            remains += await _fill(ward, idle, model, count)
            remains += await idle.reached(f"after all slots of {model} were taken")
        remains += await _answers(ward)

    async def few() -> bool:
        return cost.descriptors() <= idle_descriptors + SPARE_DESCRIPTORS

    if not await _comes_true(few):
        remains.append(f"{cost.descriptors()} descriptors are open, {idle_descriptors} were before the load")
    return remains


class _Idle:
    """Asks `/metrics` until nothing is going on."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def now(self, metric: str) -> Counter[str]:
        """The metric by model."""
        page = (await self._client.get("/metrics")).raise_for_status().text
        found: Counter[str] = Counter()
        for name, model, value in _SAMPLE.findall(page):
            if name == metric:
                found[model] += int(float(value))
        return found

    async def reached(self, when: str) -> list[str]:
        async def is_idle() -> bool:
            return not any((await self.now("active_concurrency") + await self.now("queue_length")).values())

        if await _comes_true(is_idle):
            return []
        active, waiting = await self.now("active_concurrency"), await self.now("queue_length")
        return [f"{when}: calls in flight {dict(+active)}, waiting {dict(+waiting)}"]


async def _fill(ward: Ward, idle: _Idle, model: str, count: int) -> list[str]:
    """Take every slot of a model at once, and one more that has to wait."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "hold"}]
    body = {"model": model, "stream": True, "messages": messages}
    visitors = [await ward.connect() for _ in range(count + 1)]
    try:
        for visitor in visitors:
            visitor.write(http_request("/v1/chat/completions", body, ward.keys[0]))

        async def is_full() -> bool:
            waiting = sum((await idle.now("queue_length")).values())
            return (await idle.now("active_concurrency"))[model] == count and waiting == 1

        if await _comes_true(is_full):
            return []
        return [f"{(await idle.now('active_concurrency'))[model]} calls of {model} go on at once, {count} should"]
    finally:
        for visitor in visitors:
            visitor.leave()


async def _answers(ward: Ward) -> list[str]:
    """Every dialect once."""
    target, remains = ward.targets[0], []
    for dialect in DIALECTS:
        visitor = await ward.connect()
        body = {"model": target.model, **dialect.asks("well?"), "stream": True}
        try:
            async with asyncio.timeout(SETTLE_SECS):
                status = await visitor.exchange(http_request(dialect.path, body, ward.keys[0]))
            if ending(dialect, status, bytes(visitor.body), stream=True).text != "well?":
                raise BadAnswer(f"{dialect.path} {status}: {visitor.body[-300:]!r}")
        except (BadAnswer, TimeoutError) as bad:
            remains.append(f"after the load: {bad!r}")
        finally:
            visitor.close()
    return remains


async def _comes_true(condition: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it does within `SETTLE_SECS`."""
    try:
        async with asyncio.timeout(SETTLE_SECS):
            while not await condition():  # noqa: ASYNC110 - it is another process that changes
                await asyncio.sleep(0.05)
    except TimeoutError:
        return False
    return True
