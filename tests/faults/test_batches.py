"""A batch outlives its process (M7): killed in the middle, another one goes on, by the `openai`
library as it comes.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from openai import InternalServerError, OpenAI
from openai.types import Batch

from tests.faults.test_processes import Server, config
from tests.kit import Gate, Recorded, Say, ScriptedUpstream, ServerProcess
from tests.kit.programs import RedisServer

pytestmark = pytest.mark.requirement("M7")

LINES, BAD = 200, (10, 100, 190)
IN_FLIGHT = 8
OVER = ("completed", "failed", "expired", "cancelled")


def content() -> bytes:
    """200 lines, of which three are bad, each in its own way."""
    lines = []
    for number in range(LINES):
        body = {"model": "single", "messages": [{"role": "user", "content": f"question {number}"}]}
        lines.append({"custom_id": f"id-{number}", "method": "POST", "url": "/v1/chat/completions", "body": body})
    lines[BAD[0]]["method"] = "GET"
    lines[BAD[1]]["body"] = {"model": "unknown", "messages": [{"role": "user", "content": "x"}]}
    lines[BAD[2]]["body"] = {"model": "single", "messages": "no list"}
    return "\n".join(map(json.dumps, lines)).encode()


class Answers:
    """The model: it answers so many calls, and then holds them until it is opened."""

    def __init__(self, first: int) -> None:
        self._left = first
        self._lock = threading.Lock()
        self.gate = Gate()

    def __call__(self, request: Recorded) -> Say:
        with self._lock:
            self._left -= 1
            is_held = self._left < 0
        return Say(f"answer to {request.last_user_text}", gate=self.gate if is_held else None)


def client(server: ServerProcess) -> OpenAI:
    return OpenAI(base_url=server.api_base, api_key="any", max_retries=0)


def begun(api: OpenAI) -> Batch:
    file = api.files.create(file=("in.jsonl", content()), purpose="batch")
    assert file.status == "processed"
    return api.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={"job": "nightly"}
    )


def until(api: OpenAI, batch: Batch, holds: Callable[[Batch], bool]) -> Batch:
    deadline = time.monotonic() + 30
    while True:
        with suppress(InternalServerError):  # the store is away
            batch = api.batches.retrieve(batch.id)
            if holds(batch):
                return batch
        assert time.monotonic() < deadline, batch
        time.sleep(0.02)  # polling with a deadline; nothing relies on its length


def check_results(api: OpenAI, batch: Batch) -> None:
    """Each line has one result, which is its own."""
    assert batch.status == "completed"
    assert batch.request_counts is not None
    assert batch.request_counts.to_dict() == {"total": LINES, "completed": LINES - 3, "failed": 3}
    assert batch.output_file_id is not None
    assert batch.error_file_id is not None
    output = [json.loads(line) for line in api.files.content(batch.output_file_id).iter_lines()]
    assert [line["custom_id"] for line in output] == [f"id-{number}" for number in range(LINES) if number not in BAD]
    for line in output:
        answer = line["response"]["body"]["choices"][0]["message"]["content"]
        assert answer == f"answer to question {line['custom_id'].removeprefix('id-')}"
    errors = [json.loads(line) for line in api.files.content(batch.error_file_id).text.splitlines()]
    assert [line["custom_id"] for line in errors] == [f"id-{number}" for number in BAD]


@pytest.fixture(params=["sqlite", "redis"])
def start(
    request: pytest.FixtureRequest, upstream: ScriptedUpstream, tmp_path: Path
) -> Iterator[Callable[[], ServerProcess]]:
    """Starts another server with the same store."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path}/chorus.db"
        if request.param == "redis":
            url = stack.enter_context(RedisServer()).url
        text = config(upstream, "single") + f'\n[storage]\nurl = "{url}"\n'
        yield lambda: stack.enter_context(ServerProcess(text))


@pytest.mark.slow
def test_a_batch_whose_process_is_killed_goes_on_in_another(
    start: Callable[[], ServerProcess], scripted: ScriptedUpstream, request: pytest.FixtureRequest
) -> None:
    answers = Answers(100)
    scripted.on("single", answers)
    first = start()
    other = start() if "redis" in request.node.name else None
    with client(first) as api:
        batch = begun(api)
        scripted.wait_requests_blocking(100 + IN_FLIGHT, timeout=20)
        batch = until(
            api, batch, lambda batch: batch.request_counts is not None and batch.request_counts.completed >= 90
        )
        assert batch.status == "in_progress"
    first.kill()
    answers.gate.open()
    with client(other or start()) as api:
        assert api.batches.retrieve(batch.id).status == "in_progress"
        batch = until(api, batch, lambda batch: batch.status in OVER)
        check_results(api, batch)
        assert batch.metadata == {"job": "nightly"}
        assert [listed.id for listed in api.batches.list()] == [batch.id]
        assert len([*api.files.list(limit=1)]) == 3
    assert LINES - 3 <= len(scripted.calls("single")) <= LINES - 3 + IN_FLIGHT


def test_a_batch_goes_on_at_once_after_a_restart(
    start: Callable[[], ServerProcess], scripted: ScriptedUpstream
) -> None:
    answers = Answers(50)
    scripted.on("single", answers)
    first = start()
    with client(first) as api:
        batch = begun(api)
        scripted.wait_requests_blocking(50 + IN_FLIGHT, timeout=20)
    first.stop()
    answers.gate.open()
    with client(start()) as api:
        check_results(api, until(api, batch, lambda batch: batch.status in OVER))


def test_another_process_cancels_a_batch(start: Callable[[], ServerProcess], scripted: ScriptedUpstream) -> None:
    scripted.on("single", Answers(5))
    with client(start()) as one, client(start()) as two:
        batch = begun(one)
        scripted.wait_requests_blocking(5 + IN_FLIGHT, timeout=20)
        assert two.batches.cancel(batch.id).status == "cancelling"
        batch = until(two, batch, lambda batch: batch.status in OVER)
        assert batch.status == "cancelled"
        assert batch.request_counts is not None
        assert batch.request_counts.completed == 5
        assert batch.request_counts.failed == LINES - 5
        assert one.batches.retrieve(batch.id) == batch
        scripted.wait_idle_blocking()


@pytest.mark.slow
def test_a_redis_that_hangs_for_a_while_loses_no_result(upstream: ScriptedUpstream, scripted: ScriptedUpstream) -> None:
    answers = Answers(60)
    scripted.on("single", answers)
    with RedisServer() as redis:
        text = config(upstream, "single") + f'\n[storage]\nurl = "{redis.url}"\n'
        with ServerProcess(text) as server, client(server) as api:
            batch = begun(api)
            scripted.wait_requests_blocking(60 + IN_FLIGHT, timeout=20)
            os.kill(redis.pid, signal.SIGSTOP)
            try:
                answers.gate.open()
                deadline = time.monotonic() + 20
                while "batch: waits for the store" not in server.log:
                    assert time.monotonic() < deadline, server.log
                    time.sleep(0.02)  # polling with a deadline; nothing relies on its length
                with pytest.raises(InternalServerError) as refused:
                    api.batches.retrieve(batch.id)
                assert refused.value.code == "storage_unavailable"
            finally:
                os.kill(redis.pid, signal.SIGCONT)
            check_results(api, until(api, batch, lambda batch: batch.status in OVER))
    assert len(scripted.calls("single")) == LINES - 3


def test_one_of_several_workers_runs_a_batch(upstream: ScriptedUpstream, scripted: ScriptedUpstream) -> None:
    scripted.on("single", Answers(2 * LINES))
    with Server(config(upstream, "single")) as server, client(server) as api:
        batches = [begun(api) for _ in range(2)]
        for batch in batches:
            check_results(api, until(api, batch, lambda batch: batch.status in OVER))
    assert len(scripted.calls("single")) == 2 * (LINES - 3)
