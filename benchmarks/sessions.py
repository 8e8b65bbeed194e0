"""What a session costs: CPU per request with a session over that of the same request whose client
sends the whole history; and what keeping everything in SQLite costs a request without one.

    python -m benchmarks.sessions
    python -m benchmarks.sessions --only "50 turns" --rounds 3

Chorus on one core, with SQLite; the load and the upstream on the other. Rounds alternate between
the two sides. A request of a session is appended to it, so each round has new sessions, with one
request each. CPU is measured until the process is quiet, so that what is written after the answer
counts. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
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

    def history(self) -> list[dict[str, str]]:
        """The turns of a user and of an assistant, of `chars` characters in all."""
        words = "Something was said about the sea. "
        size = self.chars // (2 * self.turns)
        text = (words * (size // len(words) + 1))[:size]
        return [{"role": ("user", "assistant")[number % 2], "content": text} for number in range(2 * self.turns)]


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

    async def sessions(self, row: Row) -> list[bytes]:
        """The requests of a round, each with a session of its own."""
        address, port = self.base.removeprefix("http://").split(":")
        _, connection = await asyncio.get_running_loop().create_connection(Connection, address, int(port))
        history = row.history()
        requests = [row.request(session_id=await _session(connection, history)) for _ in range(row.count)]
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


async def measure(row: Row, kept: Side, in_memory: Side, rounds: int) -> bool:
    """Print the line of `row`; whether it is at or below its bar."""
    used: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        if row.chars:
            sessions = await kept.sessions(row)
            whole = row.request(messages=[*row.history(), *SHORT["messages"]])
            pair = (await kept.run(row, sessions), await kept.run(row, [whole] * row.count))
        else:
            requests = [*repeat(row.request(), row.count)]
            pair = (await kept.run(row, requests), await in_memory.run(row, requests))
        if number:  # round 0 warms up
            used.append(pair)
    ours, theirs = map(statistics.median, zip(*used, strict=True))
    by_round = sorted(one / other for one, other in used)
    # of pairs: other work on the machine slows both sides of one
    ratio = statistics.median(by_round)
    is_good = ratio <= row.bar
    names = ("with a session", "without") if row.chars else ("sqlite", "memory")
    print(
        f"{row.name:<25} {names[0]} {ours:7.3f} ms   {names[1]} {theirs:7.3f}   ratio {ratio:5.2f} (bar {row.bar}; "
        f"rounds {by_round[0]:.2f} to {by_round[-1]:.2f}){'' if is_good else '   ABOVE THE BAR'}",
        flush=True,
    )
    return bool(is_good)


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
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", default="", help="rows whose name begins with one of these, separated by commas")
    options = parser.parse_args()
    rows = [row for row in ROWS if row.name.startswith(tuple(options.only.split(",")))]
    pin(LOAD_CORE)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="chorus-bench-"))
        upstream = stack.enter_context(scripted_upstream())
        models = "".join(MODEL.format(name=name, upstream=upstream) for name in (PLAIN, BURST))
        sides: list[Side] = []
        for url in (f"sqlite:///{folder}/chorus.db", "memory:"):
            server = stack.enter_context(chorus(CONFIG.format(url=url, models=models)))
            sides.append(Side(server.base, Cost(server.pid)))

        async def run() -> bool:
            kept, in_memory = sides
            return all([await measure(row, kept, in_memory, options.rounds) for row in rows])

        print("CPU per request")
        is_good = uvloop.run(run())
    print("ok" if is_good else "ABOVE THE BAR")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
