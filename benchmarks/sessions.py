"""What a session costs: CPU per request with a session over that of the same request whose client
sends the whole history; and what keeping everything in SQLite costs a request without one.

    python -m benchmarks.sessions
    python -m benchmarks.sessions --only "50 turns" --starts 1

Chorus on one core, with SQLite; the load and the upstream on the other. Rounds alternate between
the two sides. Each round has new conversations, each with a text of its own; the other side sends
the same ones. The first request of a conversation reads it, and is shown beside the row; the second
one is measured, as one of a conversation that goes on. CPU is measured until the process is quiet,
so that what is written after the answer counts. Two starts of the same program differ by up to a
tenth, so the ratio is the median over several starts of the median of their rounds. Exit code 1
when a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, Final

import uvloop

from .load import Connection, Load
from .processes import LOAD_CORE, Cost, chorus, pin, scripted_upstream
from .requests import SHORT, chat_request

PLAIN, BURST = "m-0-0-4", "m-0-0-64"
CONFIG = """
[storage]
url = "{url}"
{models}
"""
MODEL = """
[[model]]
name = "{name}"
api_base = "{upstream}"
api_key = "bench"
max_concurrency = 64
context_window = 200000
"""
CONCURRENCY: Final = 8
_ITEMS_AT_ONCE: Final = 20
"""Items of one request to a conversation."""
_QUIET_SECS: Final = 0.2
_WORDS: Final = 500
"""Different words of the conversations. zstd makes them a third as long, as it does prose."""


@dataclass(frozen=True)
class Row:
    """One kind of request. `bar` is the most that its CPU may be, divided by the other side's."""

    name: str
    model: str
    bar: float
    count: int
    chars: int = 0
    """Of the history; 0: there is no session, and the other side keeps everything in memory."""
    turns: int = 50

    def request(self, **fields: Any) -> bytes:
        return chat_request(self.model, {**SHORT, **fields}, stream=self.model == BURST)

    def history(self, chance: random.Random) -> list[dict[str, str]]:
        """The turns of a user and of an assistant, of `chars` characters in all."""
        size = self.chars // (2 * self.turns)
        return [
            {"role": ("user", "assistant")[number % 2], "content": text(chance, size)}
            for number in range(2 * self.turns)
        ]


def text(chance: random.Random, size: int) -> str:
    """`size` characters of words."""
    few = chance.choices(VOCABULARY, k=size // 2)
    return " ".join(few)[:size]


def _vocabulary(chance: random.Random) -> list[str]:
    return ["".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(_WORDS)]


VOCABULARY: Final = _vocabulary(random.Random(0))

ROWS: Sequence[Row] = (
    Row("50 turns", PLAIN, 1.3, 150, 20_000),
    Row("50 turns, streamed", BURST, 1.3, 150, 20_000),
    Row("50 long turns", PLAIN, 1.3, 80, 200_000),
    Row("50 long turns, streamed", BURST, 1.3, 80, 200_000),
    Row("no session", PLAIN, 1.8, 800),
    Row("no session, streamed", BURST, 1.5, 800),
)
"""Short turns have 200 characters a message, long ones 2,000.

What the last two rows cost is the trace in the store; `benchmarks.passthrough` has the bars of a
relayed request, with SQLite.
"""


@dataclass(frozen=True)
class Side:
    """One server, and what it costs."""

    base: str
    cost: Cost

    async def run(self, row: Row, requests: Sequence[bytes]) -> float:
        """CPU milliseconds of one request."""
        async with Load(self.base, CONCURRENCY) as load:
            before = self.cost.cpu_ms()
            await load.run_all(requests, is_stream=row.model == BURST)
            return (await self._quiet() - before) / len(requests)

    async def sessions(self, row: Row, histories: Sequence[list[dict[str, str]]]) -> list[bytes]:
        """The requests of a round, each with a session of its own."""
        address, port = self.base.removeprefix("http://").split(":")
        _, connection = await asyncio.get_running_loop().create_connection(Connection, address, int(port))
        requests = [row.request(session_id=await _session(connection, history)) for history in histories]
        connection.close()
        await self._quiet()
        return requests

    async def _quiet(self) -> float:
        """CPU milliseconds so far, once the process has nothing to do any more."""
        used = self.cost.cpu_ms()
        while True:
            await asyncio.sleep(_QUIET_SECS)
            before, used = used, self.cost.cpu_ms()
            if used - before <= 10:  # one tick
                return used


@dataclass
class Used:
    """CPU milliseconds of one request of each side, a value for each round of one start."""

    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    """Of the first request of a conversation."""

    @property
    def ratio(self) -> float:
        """Of pairs: other work on the machine slows both sides of one."""
        return statistics.median(one / other for one, other in zip(self.ours, self.theirs, strict=True))


async def measure(row: Row, kept: Side, in_memory: Side, rounds: int) -> Used:
    """What the requests of `row` use."""
    used = Used()
    chance = random.Random(row.name)
    for number in range(rounds + 1):
        other = in_memory
        if row.chars:
            other = kept
            histories = [row.history(chance) for _ in range(row.count)]
            requests = await kept.sessions(row, histories)
            others = [row.request(messages=[*history, *SHORT["messages"]]) for history in histories]
            first = [await kept.run(row, requests)]
        else:
            requests = others = [*repeat(row.request(), row.count)]
            first = []
        if number % 2:
            ours, theirs = await kept.run(row, requests), await other.run(row, others)
        else:
            theirs, ours = await other.run(row, others), await kept.run(row, requests)
        if number:  # round 0 warms up
            used.ours.append(ours)
            used.theirs.append(theirs)
            used.first += first
    return used


def report(row: Row, starts: Sequence[Used]) -> bool:
    """Print the line of `row`; whether it is at or below its bar."""
    ratios = sorted(used.ratio for used in starts)
    ratio = statistics.median(ratios)
    is_good = ratio <= row.bar
    names = ("with a session", "without") if row.chars else ("sqlite", "memory")
    columns = [(names[0], [used.ours for used in starts]), (names[1], [used.theirs for used in starts])]
    if row.chars:
        columns.append(("first request", [used.first for used in starts]))
    middle = [f"{name} {statistics.median(map(statistics.median, values)):6.3f}" for name, values in columns]
    print(
        f"{row.name:<23} {'   '.join(middle)} ms   ratio {ratio:5.2f} "
        f"(bar {row.bar}; starts {ratios[0]:.2f} to {ratios[-1]:.2f}){'' if is_good else '   ABOVE THE BAR'}",
        flush=True,
    )
    return is_good


async def _session(connection: Connection, history: Sequence[dict[str, str]]) -> str:
    """The id of a new conversation with `history`."""
    await connection.send(_post("/v1/conversations", {}))
    session = str(json.loads(connection.body)["id"])
    for first in range(0, len(history), _ITEMS_AT_ONCE):
        items = {"items": history[first : first + _ITEMS_AT_ONCE]}
        await connection.send(_post(f"/v1/conversations/{session}/items", items))
    return session


def _post(path: str, body: Any) -> bytes:
    encoded = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(encoded)}\r\n\r\n".encode() + encoded


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=4, help="of each start")
    parser.add_argument("--only", default="", help="rows whose name begins with one of these, separated by commas")
    options = parser.parse_args()
    rows = [row for row in ROWS if row.name.startswith(tuple(options.only.split(",")))]
    pin(LOAD_CORE)
    with scripted_upstream() as upstream:
        starts = [_one_start(upstream, rows, options.rounds) for _ in range(options.starts)]
    print("CPU per request")
    is_good = all([*map(report, rows, zip(*starts, strict=True))])
    print("ok" if is_good else "ABOVE THE BAR")
    return 0 if is_good else 1


def _one_start(upstream: str, rows: Sequence[Row], rounds: int) -> Sequence[Used]:
    """What the requests of each row use, with servers that are just started."""
    models = "".join(MODEL.format(name=name, upstream=upstream) for name in (PLAIN, BURST))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="chorus-bench-"))
        sides: list[Side] = []
        for url in (f"sqlite:///{folder}/chorus.db", "memory:"):
            server = stack.enter_context(chorus(CONFIG.format(url=url, models=models)))
            sides.append(Side(server.base, Cost(server.pid)))

        async def run() -> Sequence[Used]:
            kept, in_memory = sides
            return [await measure(row, kept, in_memory, rounds) for row in rows]

        return uvloop.run(run())


if __name__ == "__main__":
    sys.exit(main())
