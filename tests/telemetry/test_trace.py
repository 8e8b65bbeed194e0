"""The trace as a fold, and the store of the last ones (W9)."""

import msgspec
import pytest

from chorus.errors import NotFound
from chorus.events import Event, RunFinished, RunStarted, StageFinished, StageStarted
from chorus.telemetry.trace import workflow_details
from chorus.telemetry.trace_store import TraceStore
from chorus.telemetry.trace_summary import SelectorSummary, WorkerSummary, trace_summary
from chorus.types import Answer, ChatRequest, Image, Message
from chorus.usage import Usage


def run(workflow_id: str, *stages: Event, at: float = 1.0) -> list[Event]:
    return [RunStarted(workflow_id, "req", "chorus", "chorus", 0.0), *stages, RunFinished(at, (), Usage(1, 2))]


def stage(path: tuple[str, ...], kind: str, began: float, ended: float, text: str = "") -> list[Event]:
    answer = Answer(text, usage=Usage(3, 4))
    return [
        StageStarted(path, began, kind, path[-1], "m"),  # type: ignore[arg-type]
        StageFinished(path, ended, "ok", answer, answer.usage),
    ]


@pytest.mark.parametrize(
    ("stages", "critical_ms"),
    [
        ([], 0),
        ([(("0",), "worker", 0, 5)], 5000),
        ([(("0",), "worker", 0, 5), (("1",), "worker", 0, 3)], 5000),
        # started late, but waited for nobody
        ([(("0",), "worker", 0, 1), (("1",), "worker", 2, 5)], 3000),
        ([(("analyzer",), "analyzer", 0, 2), (("0",), "worker", 2, 5), (("selector",), "selector", 5.5, 6)], 5500),
        ([(("analyzer",), "analyzer", 0, 9), (("0",), "worker", 0, 1), (("selector",), "selector", 9, 10)], 10000),
        ([(("0",), "worker", 1, 1), (("selector",), "selector", 1, 1)], 0),
        ([(("0",), "worker", 0, 8), (("0", "0"), "worker", 0, 3), (("0", "selector"), "selector", 4, 6)], 5000),
    ],
)
@pytest.mark.requirement("W9")
def test_the_critical_path_is_the_longest_chain_of_waiting(
    stages: list[tuple[object, ...]], critical_ms: float
) -> None:
    events = [event for described in stages for event in stage(*described)]  # type: ignore[arg-type]
    assert workflow_details(run("wf", *events, at=20))["critical_path_ms"] == critical_ms


def test_a_run_that_goes_on_says_so() -> None:
    started = [RunStarted("wf", "req", "chorus", "chorus", 0.0), *stage(("0",), "worker", 0, 1)[:1]]
    trace = workflow_details(started)
    assert trace["status"] == "running"
    assert trace["workers"][0]["status"] == "running"


@pytest.mark.requirement("W9")
def test_a_summary_says_who_was_chosen() -> None:
    started, finished = stage(("selector",), "selector", 1, 2)
    assert isinstance(finished, StageFinished)
    chosen = msgspec.structs.replace(finished, details={"selected_worker": "0", "scores": {"0": 9.5}})
    trace = workflow_details(run("wf", *stage(("0",), "worker", 0, 1, "long"), started, chosen))
    for given in (trace, msgspec.json.encode(trace)):
        summary = trace_summary(given)
        assert summary.selector == SelectorSummary("selector", "ok", "m", "0")
        assert summary.workers == [WorkerSummary("0", "ok", "m")]


@pytest.mark.requirement("W9")
async def test_the_last_n_traces_are_kept() -> None:
    store = TraceStore(keep=2)
    for name in ("wf_1", "wf_2", "wf_3"):
        record = store.recorder(())
        for event in run(name):
            record(event)
    with pytest.raises(NotFound):
        store.get("wf_1")
    assert [kept.workflow_id for kept in store.recent()] == ["wf_3", "wf_2"]


async def test_large_answers_push_out_older_traces_and_one_is_always_kept() -> None:
    store = TraceStore(keep=100, max_bytes=10_000)
    for name in ("wf_1", "wf_2"):
        record = store.recorder(())
        for event in run(name, *stage(("0",), "worker", 0, 1, "x" * 9_000)):
            record(event)
    assert [kept.workflow_id for kept in store.recent()] == ["wf_2"]


async def test_what_comes_after_the_end_counts_too() -> None:
    store = TraceStore(keep=100, max_bytes=10_000)
    for name in ("wf_1", "wf_2"):
        record = store.recorder(())
        for event in run(name):
            record(event)
    assert store.note("wf_2", "A note.") is not None
    assert store.get("wf_2")["notes"] == ["A note."]
    assert store.extend("wf_2", stage(("memorize",), "memorize", 1, 2, "x" * 9_500)) is not None
    assert [kept.workflow_id for kept in store.recent()] == ["wf_2"]
    assert store.extend("wf_1", []) is None
    assert store.note("wf_1", "A note.") is None


def test_none_are_kept_when_none_are_wanted() -> None:
    store = TraceStore(keep=0)
    record = store.recorder(())
    for event in run("wf_1"):
        record(event)
    assert store.recent() == []


async def test_what_was_asked_is_kept_within_the_same_bound() -> None:
    store = TraceStore(keep=100, max_bytes=10_000)
    image = Message("user", (Image("data:image/png;base64," + "A" * 9_000),))
    for name, message in (("wf_1", image), ("wf_2", Message("user", "How?"))):
        record = store.recorder((ChatRequest("glm", (message,)),))
        for event in run(name):
            record(event)
    with pytest.raises(NotFound):
        store.requests("wf_1")
    [kept] = store.requests("wf_2")
    assert kept.messages[0].text == "How?"
