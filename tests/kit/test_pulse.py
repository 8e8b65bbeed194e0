"""`Pulse` sees a server that holds its other clients, and not one that works beside them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from .ports import free_port
from .pulse import Pulse
from .server import ROOT

SECS = 0.8
SERVER = f"""
import asyncio, hashlib, sys, threading, time

BLOCK = bytes(8_000_000)

def compute():
    end = time.thread_time() + {SECS}
    while time.thread_time() < end:
        pass

def hash_in_a_thread():  # which leaves the interpreter to the others meanwhile
    end = time.thread_time() + {SECS}
    while time.thread_time() < end:
        hashlib.sha256(BLOCK).digest()

async def serve(reader, writer):
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        what = head.split()[1]
        if what == b"/compute":
            compute()
        elif what == b"/sleep":
            time.sleep({SECS})
        elif what == b"/thread":
            await asyncio.to_thread(hash_in_a_thread)
        writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\n{{}}")

async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1])) as server:
        print("ready", flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
def server() -> Iterator[tuple[str, int]]:
    """The address and the process id of a server with one thread that answers."""
    port = free_port()
    command = [sys.executable, "-c", SERVER, str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield f"http://127.0.0.1:{port}", process.pid
        process.kill()


def while_it_does(what: str, server: tuple[str, int]) -> Pulse:
    base, pid = server
    with httpx.Client(base_url=base, timeout=30) as client, Pulse(base, pid) as pulse:
        assert client.post(what).status_code == 200
    return pulse


def test_a_loop_that_computes_is_seen(server: tuple[str, int]) -> None:
    pulse = while_it_does("/compute", server)
    assert pulse.worst >= SECS * 0.8
    assert pulse.longest >= SECS * 0.8


def test_a_loop_that_sleeps_is_seen_in_the_wall_time(server: tuple[str, int]) -> None:
    pulse = while_it_does("/sleep", server)
    assert pulse.longest >= SECS * 0.8
    assert pulse.worst < SECS / 2


@pytest.mark.parametrize("what", ["/thread", "/nothing"])
def test_work_that_holds_nobody_is_not(server: tuple[str, int], what: str) -> None:
    """In one of three measurements: a busy machine makes one of them worse, never better."""
    assert any(while_it_does(what, server).worst < SECS / 2 for _ in range(3))
