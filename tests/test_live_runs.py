"""The registry of runs: what is kept of those that have ended, and how long (O4)."""

from __future__ import annotations

import pytest

from chorus.auth.principal import Principal
from chorus.cancellation import CancelSignal
from chorus.errors import NotFound
from chorus.events import Delta, RunFinished, RunStarted, StageStarted
from chorus.journal import MAX_BATCH, Journal
from chorus.live_runs import LiveRun, LiveRuns
from chorus.usage import Usage

pytestmark = pytest.mark.requirement("O5")


def begun(runs: LiveRuns, name: str, text: str = "") -> LiveRun:
    run = runs.entry(name, "glm", Principal("/v1/chat/completions"), None)
    run.enter(journal := Journal())
    journal.write(RunStarted(name, "req", "glm", "glm", 0.0))
    if text:
        journal.write(StageStarted(("0",), 0.0, "worker", "glm"))
        journal.write(Delta(("0",), 0.1, text, choice=0))
    return run


def end(run: LiveRun) -> None:
    run.journal.write(RunFinished(1.0, (), Usage(1, 5)))
    run.leave()


def ids(runs: LiveRuns) -> list[str]:
    return [run.id for run in runs.newest(None, 100)]


def test_the_oldest_leave_when_there_are_too_many() -> None:
    runs = LiveRuns(max_ended=2)
    for name in "abc":
        end(begun(runs, name))
    assert ids(runs) == ["c", "b"]
    with pytest.raises(NotFound):
        runs.get(None, "a")


def test_the_oldest_leave_when_they_hold_too_much_but_the_newest_stays() -> None:
    runs = LiveRuns(max_bytes=100_000)
    for name in "abc":
        end(begun(runs, name, "x" * 40_000))
    assert ids(runs) == ["c"]


def test_live_runs_never_leave() -> None:
    runs = LiveRuns(max_ended=1)
    live = begun(runs, "live", "x")
    for name in "abc":
        end(begun(runs, name))
    assert ids(runs) == ["live", "c"]
    assert live.state == "running"


def test_a_run_that_is_over_holds_its_observers_no_more() -> None:
    runs, seen = LiveRuns(), []
    run = begun(runs, "a")
    run.journal.observe(seen.append)
    end(run)
    assert run.journal._observers == []


def test_its_state_and_its_tokens() -> None:
    runs = LiveRuns()
    run = begun(runs, "a")
    assert (run.state, run.tokens) == ("queued", 0)
    run.journal.write(StageStarted(("0",), 0.0, "worker", "glm"))
    run.journal.write(Delta(("0",), 0.1, "x" * 4000, choice=0))
    assert run.state == "running"
    assert 950 <= run.tokens <= 1000
    end(run)
    assert (run.state, run.tokens, run.secs) == ("completed", 5, 1.0)


def test_a_client_that_disconnects_cancels_the_run_and_no_later_one() -> None:
    runs, disconnect = LiveRuns(), CancelSignal()
    first = runs.entry("a", "glm", None, disconnect)
    first.watch_client()
    first.enter(Journal())
    first.leave()
    second = runs.entry("b", "glm", None, disconnect)
    second.watch_client()
    disconnect.set()
    assert (first.cancel_signal.is_set, second.cancel_signal.is_set) == (False, True)


def test_a_late_reader_gets_a_long_journal_in_batches() -> None:
    journal = Journal()
    for _ in range(MAX_BATCH + 10):
        journal.write(Delta(("0",), 0.0, "x"))
    reader = journal.read(5)
    assert [len(reader.take()), len(reader.take()), len(reader.take())] == [MAX_BATCH, 5, 0]
