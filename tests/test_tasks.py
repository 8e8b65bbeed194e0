"""What goes wrong in one round of something that goes on for as long as the server does is logged,
and ends nothing.
"""

from __future__ import annotations

import anyio
import pytest
from structlog.testing import capture_logs

from chorus.tasks import ServerTasks, surviving


async def test_a_round_that_fails_is_logged_and_the_next_one_comes() -> None:
    rounds = 0
    with capture_logs() as logs:
        while rounds < 3:
            with surviving("a round failed"):
                rounds += 1
                await anyio.lowlevel.checkpoint()
                raise KeyError(rounds)
    assert [(line["event"], line["log_level"], line["exc_info"]) for line in logs] == [
        ("a round failed", "error", True)
    ] * 3


async def test_a_cancellation_is_no_failure() -> None:
    with capture_logs() as logs, anyio.CancelScope() as scope:
        scope.cancel()
        with surviving("a round failed"):
            await anyio.sleep_forever()
        raise AssertionError("it went on")
    assert scope.cancelled_caught
    assert logs == []


async def test_a_task_of_the_server_that_fails_ends_no_other() -> None:
    tasks = ServerTasks()
    done = anyio.Event()

    async def fail() -> None:
        raise KeyError

    async def go_on() -> None:
        done.set()

    with capture_logs() as logs:
        async with tasks.open():
            tasks.start(fail)
            tasks.start(go_on)
            with anyio.fail_after(5):
                await done.wait()
    assert [line["event"] for line in logs] == ["a task of the server failed"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_ends_the_process_is_no_failure_of_a_round(error: type[BaseException]) -> None:
    with pytest.raises(error), surviving("a round failed"):
        raise error
