"""Nobody waits for whoever reads the log (O1): lines arrive in order and promptly, a slow reader
loses nothing, a stuck one costs lines that are counted, and the end of a process is not held up.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import pytest

from chorus.telemetry.logwriter import LogWriter

pytestmark = pytest.mark.requirement("O1")
ROOT = Path(__file__).resolve().parents[2]
MAX_BYTES = 256 * 1024
LINE = "x" * 500


class Pipe:
    """A pipe to a reader that reads when the test lets it."""

    def __init__(self, stack: ExitStack) -> None:
        reading, writing = os.pipe()
        self.reading = stack.enter_context(os.fdopen(reading, "rb"))
        self.out: IO[str] = stack.enter_context(os.fdopen(writing, "w"))
        self.writer = LogWriter(self.out, lambda count: f"{count} dropped", max_bytes=MAX_BYTES)
        stack.callback(self.writer.close, 0.1)

    def lines(self) -> list[str]:
        """Every line, once everything is written and both ends are closed."""
        found: list[str] = []
        reader = threading.Thread(target=lambda: found.extend(self.reading.read().decode().splitlines()))
        reader.start()
        self.writer.close(10)
        self.out.close()
        reader.join(10)
        return found


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    with ExitStack() as stack:
        yield Pipe(stack)


def test_lines_come_at_once_and_in_order(pipe: Pipe) -> None:
    for number in range(3):
        pipe.writer.write(f"line {number}")
        # without anything that follows, or a close
        assert pipe.reading.readline() == f"line {number}\n".encode()
    for number in range(200):
        pipe.writer.write(f"more {number}")
    assert pipe.lines() == [f"more {number}" for number in range(200)]
    assert pipe.writer.dropped == 0


def test_a_reader_that_is_stuck_holds_nobody_up_and_what_it_missed_is_counted(pipe: Pipe) -> None:
    began = time.monotonic()
    for number in range(3000):
        pipe.writer.write(f"{number:4} {LINE}")
    assert time.monotonic() - began < 1
    dropped = pipe.writer.dropped
    assert 2000 < dropped < 3000 - 64 * 1024 // 600  # the bound and what the pipe holds is kept
    pipe.writer.write("x" * (MAX_BYTES + 1))  # one that fits nowhere
    assert pipe.writer.dropped == dropped + 1
    lines = pipe.lines()
    notices = [line for line in lines if line.endswith(" dropped")]
    kept = [line for line in lines if not line.endswith(" dropped")]
    assert sum(int(line.split()[0]) for line in notices) == dropped + 1
    assert kept[:400] == [f"{number:4} {LINE}" for number in range(400)]  # the oldest are kept
    assert kept == sorted(kept)
    assert len(kept) + dropped == 3000


def test_it_goes_on_after_a_reader_that_was_stuck(pipe: Pipe) -> None:
    for _ in range(1000):
        pipe.writer.write(LINE)
    assert pipe.writer.dropped
    while not (line := pipe.reading.readline()).endswith(b" dropped\n"):
        assert line == f"{LINE}\n".encode()
    dropped = pipe.writer.dropped
    assert line == f"{dropped} dropped\n".encode()
    pipe.writer.write("and now")
    assert pipe.lines()[-1] == "and now"
    assert pipe.writer.dropped == dropped


def test_a_reader_that_is_only_slow_loses_nothing(pipe: Pipe) -> None:
    found: list[bytes] = []

    def read_slowly() -> None:
        while part := pipe.reading.read(4096):
            found.append(part)
            time.sleep(0.002)  # a reader's pace; nothing waits for it

    reader = threading.Thread(target=read_slowly)
    reader.start()
    for number in range(400):
        pipe.writer.write(f"{number} {LINE}")
    pipe.writer.close(10)
    pipe.out.close()
    reader.join(10)
    assert b"".join(found).decode().splitlines() == [f"{number} {LINE}" for number in range(400)]
    assert pipe.writer.dropped == 0


def test_the_end_does_not_wait_for_a_reader_that_is_stuck(pipe: Pipe) -> None:
    for _ in range(300):
        pipe.writer.write(LINE)
    began = time.monotonic()
    pipe.writer.close(0.2)
    assert 0.2 <= time.monotonic() - began < 2
    pipe.writer.write("too late")
    assert pipe.writer.dropped == 1


def test_a_reader_that_is_gone_costs_lines_and_nothing_else(pipe: Pipe) -> None:
    pipe.reading.close()
    pipe.writer.write("nobody reads this")
    pipe.writer.write("or this")
    pipe.writer.close(5)
    assert pipe.writer.dropped == 2


def test_a_line_of_which_a_part_was_written_counts_once(pipe: Pipe) -> None:
    pipe.writer.write("x" * 150_000)  # more than a pipe holds
    pipe.writer.write("and this")
    assert pipe.reading.read(5) == b"xxxxx"
    pipe.reading.close()
    pipe.writer.close(5)
    assert pipe.writer.dropped == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is full")
def test_a_disk_that_is_full_costs_lines_and_nothing_else() -> None:
    with open("/dev/full", "w") as out:
        writer = LogWriter(out, str)
        writer.write("there is no room for this")
        writer.close(5)
    assert writer.dropped == 1


def test_a_descriptor_that_somebody_made_non_blocking_gets_every_line(pipe: Pipe) -> None:
    number = pipe.out.fileno()
    fcntl.fcntl(number, fcntl.F_SETFL, fcntl.fcntl(number, fcntl.F_GETFL) | os.O_NONBLOCK)
    for index in range(300):
        pipe.writer.write(f"{index} {LINE}")
    assert pipe.lines() == [f"{index} {LINE}" for index in range(300)]
    assert pipe.writer.dropped == 0


def test_threads_may_log(pipe: Pipe) -> None:
    def log(name: int) -> None:
        for number in range(50):
            pipe.writer.write(f"{name} {number}")

    threads = [threading.Thread(target=log, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = pipe.lines()
    assert sorted(lines) == sorted(f"{name} {number}" for name in range(4) for number in range(50))
    assert [line for line in lines if line.startswith("2 ")] == [f"2 {number}" for number in range(50)]


def test_half_a_character_is_written_somehow(pipe: Pipe) -> None:
    pipe.writer.write("half \ud83d an emoji")
    assert pipe.lines() == ["half \\ud83d an emoji"]


PROCESS = """
import os, sys
import structlog
from chorus.telemetry import log
log.configure("info")
log.take_over()
logger = structlog.get_logger("chorus.test")
logger.info("before")
child = os.fork() if sys.argv[1] == "fork" else None
if child == 0:
    logger.info("child")
    sys.exit()
if child:
    assert os.waitpid(child, 0)[1] == 0
if sys.argv[1] == "words":
    import threading, warnings
    warnings.warn("python warns")
    class Finalized:
        def __del__(self):
            raise KeyError("a prompt in a finalizer")
    Finalized()
    thread = threading.Thread(target=lambda: {}["a prompt in a thread"])
    thread.start(); thread.join()
logger.info("after")
for _ in range(int(sys.argv[2])):
    logger.info("x" * 1000)
if sys.argv[1] == "crash":
    raise SystemExit("crashed")
"""


def process(how: str, more: int = 0, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "always", "-c", PROCESS, how, str(more)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("how", ["", "crash"])
def test_what_was_logged_last_is_there_when_the_process_has_ended(how: str) -> None:
    lines = process(how, 500).stderr.splitlines()
    assert sum('"event":"' in line for line in lines) == 502


def test_a_process_that_forks_writes_each_line_once() -> None:
    lines = [json.loads(line)["event"] for line in process("fork").stderr.splitlines()]
    assert sorted(lines) == ["after", "before", "child"]


def test_what_python_itself_says_goes_through_the_log_without_texts() -> None:
    written = process("words").stderr
    events = [json.loads(line) for line in written.splitlines()]
    assert "a prompt" not in written
    by_logger = {event["logger"]: event for event in events}
    assert "python warns" in by_logger["py.warnings"]["event"]
    assert [event["exception"].split()[0] for event in events if "exception" in event] == ["KeyError", "KeyError"]


@pytest.mark.slow
def test_a_process_ends_although_nobody_reads_its_log() -> None:
    command = [sys.executable, "-c", PROCESS, "", "500"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as stuck:
        assert stuck.wait(30) == 0
