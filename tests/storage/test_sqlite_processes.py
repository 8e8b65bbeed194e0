"""An SQLite file that several processes use at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from chorus.storage.base import Storage
from chorus.storage.opening import open_storage

pytestmark = pytest.mark.requirement("M2")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store" / "chorus.db"


def store(path: Path) -> Storage:
    return open_storage(f"sqlite:///{path}")


_WRITE = """
import sys, anyio
from chorus.storage.opening import open_storage
from chorus.storage.records import Item, UsageRow

async def main():
    path, name = sys.argv[1:]
    sys.stdin.readline()
    async with open_storage(f"sqlite:///{path}") as storage:
        for number in range(100):
            group = [Item(f"{name}_{number}_{place}", b"1") for place in range(2)]
            await storage.conversations.append("o", "conv_1", group, turns=1)
            await storage.usage.add(UsageRow("o", "", "m", "2026-11-26", 1))
            print(number, flush=True)

anyio.run(main)
"""


def started(code: str, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code, *args]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def go(processes: list[subprocess.Popen[str]]) -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()


@pytest.mark.slow
async def test_processes_that_write_at_once_lose_nothing(path: Path) -> None:
    async with store(path) as storage:
        await storage.conversations.create("o", "conv_1")
        processes = [started(_WRITE, str(path), name) for name in ("p", "q")]
        go(processes)
        for process in processes:
            await anyio.to_thread.run_sync(lambda process=process: process.communicate(timeout=60))
            assert process.returncode == 0
        items = (await storage.conversations.page("o", "conv_1", limit=1000)).items
        assert len(items) == 400
        assert all(one.id[:-2] == two.id[:-2] for one, two in zip(items[::2], items[1::2], strict=True))
        assert [row.requests for row in await storage.usage.query("o")] == [200]


@pytest.mark.slow
async def test_a_process_that_is_killed_loses_nothing_that_was_acknowledged(path: Path) -> None:
    async with store(path) as storage:
        await storage.conversations.create("o", "conv_1")
        process = started(_WRITE, str(path), "p")
        go([process])
        assert process.stdout is not None
        for _ in range(20):
            await anyio.to_thread.run_sync(process.stdout.readline)
        process.kill()
        acknowledged = 20 + len((await anyio.to_thread.run_sync(process.communicate))[0].splitlines())
        conversation = await storage.conversations.get("o", "conv_1")
        assert conversation is not None
        assert conversation.turns >= acknowledged
        assert len((await storage.conversations.page("o", "conv_1", limit=1000)).items) == 2 * conversation.turns


_START = """
import sys, anyio
from chorus.storage.opening import open_storage

async def main():
    sys.stdin.readline()
    async with open_storage(f"sqlite:///{sys.argv[1]}") as storage:
        await storage.responses.put("o", sys.argv[2], b"1")

anyio.run(main)
"""


@pytest.mark.slow
async def test_processes_that_start_at_once_make_the_file_once(path: Path) -> None:
    processes = [started(_START, str(path), str(number)) for number in range(4)]
    go(processes)
    for process in processes:
        await anyio.to_thread.run_sync(lambda process=process: process.communicate(timeout=60))
        assert process.returncode == 0
    async with store(path) as storage:
        assert [await storage.responses.get("o", str(number)) for number in range(4)] == [b"1"] * 4


_COME_AND_GO = """
import sqlite3, sys

connection = sqlite3.connect(sys.argv[1])
connection.execute("UPDATE responses SET value = ?", (sys.argv[2].encode(),))
connection.commit()
connection.close()
"""


async def test_a_process_that_comes_and_goes_changes_nothing_under_others(path: Path) -> None:
    """Where the locks of this process are gone, the other one takes itself for the last, and
    deletes the WAL: what is read here is old from then on, and what is written here is lost.
    """
    async with store(path) as storage:
        # a reader is there before the writer
        assert await storage.responses.get("o", "resp_1") is None
        await storage.responses.put("o", "resp_1", b"ours")
        for value in ("first", "second"):
            command = [sys.executable, "-c", _COME_AND_GO, str(path), value]
            await anyio.run_process(command, cwd=ROOT)
            assert await storage.responses.get("o", "resp_1") == value.encode()
        await storage.responses.put("o", "resp_2", b"ours")
    async with store(path) as storage:
        assert await storage.responses.get("o", "resp_2") == b"ours"
