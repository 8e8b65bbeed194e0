"""No round of what a serving process does again and again ends it: ticks and reloads, watching the
file, obeying the parent, publishing metrics (A8, C12). What goes wrong is logged.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
import uvicorn
import watchfiles
from structlog.testing import capture_logs

from chorus.config import Config, loads
from chorus.errors import ChorusError
from chorus.service import Chorus
from chorus.serving import watching, worker
from chorus.serving.server import Server
from chorus.telemetry.metrics import Metrics

pytestmark = [pytest.mark.requirement("A8"), pytest.mark.requirement("C12")]


def config(*names: str) -> Config:
    return loads("".join(f'[[model]]\nname = "{name}"\nprovider = "demo"\n' for name in names), environ={})


def settings() -> uvicorn.Config:
    return uvicorn.Config(cast("Any", None), log_config=None)


class Rereading:
    """Gives one after the other; an exception is raised."""

    def __init__(self, *steps: Config | Exception) -> None:
        self.steps = list(steps)

    def __call__(self) -> Config:
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


@pytest.mark.parametrize("error", [OSError("no space left"), ValueError(), RecursionError(), ChorusError("odd")])
async def test_a_reload_that_fails_in_any_way_keeps_the_old_configuration(error: Exception) -> None:
    chorus = Chorus(config("old"))
    server = Server(settings(), chorus, Rereading(error, config("new")), None, lame_duck_secs=0)
    with capture_logs() as logs:
        for models in ("old", "new"):
            server.signalled(signal.SIGHUP)
            assert not await server.on_tick(1)
            assert list(chorus.snapshot.plans) == [models]
    assert [line["event"] for line in logs] == ["the configuration was not reloaded", "the configuration was reloaded"]
    await chorus.aclose()


async def test_a_tick_that_fails_does_not_end_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(self: uvicorn.Server, counter: int) -> bool:
        raise RuntimeError

    monkeypatch.setattr(uvicorn.Server, "on_tick", fail)
    chorus = Chorus(config("m"))
    server = Server(settings(), chorus, None, None, lame_duck_secs=0)
    with capture_logs() as logs:
        assert not await server.on_tick(1)
        server.should_exit = True
        assert await server.on_tick(2)
    assert [line["event"] for line in logs] == ["a tick of the server failed"] * 2
    await chorus.aclose()


async def test_watching_goes_on_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"
    path.write_text("one")
    failures: list[Exception] = [OSError("no more watches"), RuntimeError("the watcher died")]
    seen: list[str] = []
    until, changed = anyio.Event(), anyio.Event()

    async def awatch(*_: object, stop_event: anyio.Event, **__: object) -> AsyncIterator[set[str]]:
        if failures:
            path.write_text(f"changed while nobody watched: {len(failures)}")
            raise failures.pop()
        path.write_text("the last one")
        yield set()
        await stop_event.wait()

    def note() -> None:
        seen.append(path.read_text())
        if seen[-1] == "the last one":
            changed.set()
        if len(seen) == 1:
            raise KeyError("even here")

    monkeypatch.setattr(watchfiles, "awatch", awatch)
    monkeypatch.setattr(watching, "_FIRST_PAUSE_SECS", 0.001)
    with capture_logs() as logs, anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(watching.watch, path, note, until)
            await changed.wait()
            until.set()
    assert seen[-1] == "the last one"
    assert [line["error"] for line in logs if "not watched" in line["event"]] == ["RuntimeError", "no more watches"]


class Obedient:
    """A server that notes its signals, and fails at SIGHUP."""

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.is_stopping = False

    def signalled(self, number: int) -> None:
        self.signals.append(number)
        if number == signal.SIGHUP:
            raise KeyError


async def test_a_signal_that_cannot_be_obeyed_does_not_end_a_worker() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    server = Obedient()
    with capture_logs() as logs, anyio.fail_after(5), ours:
        async with anyio.create_task_group() as group:
            group.start_soon(worker._obey, cast("Server", server), ours)
            theirs.send(bytes([signal.SIGHUP, signal.SIGINT]))
            theirs.close()
    assert server.signals == [signal.SIGHUP, signal.SIGINT, signal.SIGTERM]
    assert len(logs) == 1


async def test_metrics_that_cannot_be_published_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def __init__(self, third: Callable[[], None]) -> None:
            self.times, self.third = 0, third

        def publish(self) -> None:
            self.times += 1
            if self.times == 3:
                self.third()
            raise ValueError

    monkeypatch.setattr(worker, "_PUBLISH_SECS", 0.001)
    third = anyio.Event()
    with capture_logs() as logs, anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(worker._publish, cast("Metrics", Failing(third.set)))
            await third.wait()
            group.cancel_scope.cancel()
    assert len(logs) >= 2
