"""What the screen of traces computes: a run of its trace, places in time, differences (O4)."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page

from tests.browser.runs import ask
from tests.kit import ServerProcess

pytestmark = [pytest.mark.requirement("O4")]


@pytest.fixture
def at_the_page(page: Page, demo: ServerProcess) -> Page:
    """The page, from which modules can be imported."""
    page.goto(f"{demo.base}/ui/")
    return page


def call(page: Page, module: str, expression: str, given: Any = None) -> Any:
    """Return the value of a JavaScript `expression` in which `it` is the module and `given` the
    argument.
    """
    return page.evaluate(
        f"async (given) => {{ const it = await import('./lib/{module}.js'); return {expression}; }}", given
    )


def test_a_trace_and_the_events_of_its_run_make_the_same_run(at_the_page: Page, demo: ServerProcess) -> None:
    for model, question in (
        ("chorus", "moody: fail. What is 2 + 2?"),
        ("chorus/nested", "How does the selector choose?"),
        ("demo-abacus", "What is 6 * 7?"),
    ):
        id = ask(demo, model, question)
        trace = httpx.get(f"{demo.base}/api/v1/workflows/{id}").json()
        assert call(at_the_page, "trace", "it.statusOf(it.runFromTrace(given))", trace) == trace["status"]
        by_events, by_trace = at_the_page.evaluate(
            """async ([id, trace]) => {
                 const { follow } = await import("./lib/kept.js");
                 const { Run } = await import("./lib/run.js");
                 const { runFromTrace, rowsOf, callsOf, answerOf } = await import("./lib/trace.js");
                 const run = new Run();
                 await follow(id, run, {});
                 const round = (ms) => (ms === null ? null : Math.round(ms));
                 const shown = (run) => ({
                   state: run.state, workflow: run.workflow, end: round(run.endMs), first: round(run.firstTokenMs),
                   calls: callsOf(run), answer: answerOf(run).text, usage: run.usage, cost: run.cost,
                   rows: rowsOf(run).map(({ stage, ...row }) => ({
                     ...row, path: stage.path, name: stage.name, stage: stage.stage, model: stage.model, status: stage.status,
                     start: round(stage.startMs), end: round(stage.endMs), attempts: stage.attempts, error: stage.error,
                     group: stage.isGroup, details: stage.details, text: ["worker", "synthesizer"].includes(stage.stage) && stage.text, tokens: stage.usage, temperature: stage.temperature,
                   })),
                 });
                 return [shown(run), shown(runFromTrace(trace))];
               }""",
            [id, trace],
        )
        for row in (*by_events["rows"], *by_trace["rows"]):
            for name in ("start", "end"):
                row[name] = pytest.approx(row[name], abs=1)
        assert by_events == by_trace
        critical = call(at_the_page, "trace", "it.criticalPath(it.runFromTrace(given)).ms", trace)
        assert critical == pytest.approx(trace["critical_path_ms"], abs=0.01)


@pytest.mark.parametrize(
    ("span", "ticks"),
    [
        (1597, [0, 500, 1000, 1500]),
        (3.2, [0, 0.5, 1, 1.5, 2, 2.5, 3]),
        (90_000, [n * 15_000 for n in range(7)]),
        (1, None),
    ],
)
def test_an_axis_has_few_ticks_at_round_times(at_the_page: Page, span: float, ticks: list[float] | None) -> None:
    found = call(at_the_page, "trace", "it.ticksOf(given)", span)
    assert 2 <= len(found) <= 8
    assert found[0] == 0
    assert found[-1] <= span
    assert ticks is None or found == ticks


@pytest.mark.parametrize("span", [0.01, 1, 7, 59_999, 3_600_000, 1e9, 1e11])
def test_no_span_has_more_than_eight_ticks(at_the_page: Page, span: float) -> None:
    assert 1 <= len(call(at_the_page, "trace", "it.ticksOf(given)", span)) <= 8


@pytest.mark.parametrize(
    ("start", "end", "place"),
    [
        (0, 50, {"left": 0, "width": 50}),
        (50, 150, {"left": 50, "width": 50}),  # its clock went on after the end of the run
        (-5, 10, {"left": 0, "width": 10}),
        (80, 70, {"left": 80, "width": 0}),
    ],
)
def test_a_bar_stays_on_the_axis(at_the_page: Page, start: float, end: float, place: dict[str, float]) -> None:
    assert call(at_the_page, "trace", "it.placeOf(...given, 100)", [start, end]) == place


@pytest.mark.parametrize(
    ("stage", "kinds"),
    [
        ({"queueMs": 0, "firstTokenMs": None, "endMs": 10}, ["wait"]),
        ({"queueMs": 4, "firstTokenMs": 6, "endMs": 10}, ["queue", "wait", "write"]),
        ({"queueMs": 0, "firstTokenMs": 0, "endMs": 10}, ["write"]),
        ({"queueMs": 0.4, "firstTokenMs": 6, "endMs": 10}, ["wait", "write"]),
        ({"queueMs": 99, "firstTokenMs": None, "endMs": 10}, ["queue"]),  # it was never sent
        ({"queueMs": 0, "firstTokenMs": 3, "endMs": None}, ["wait", "write"]),
        ({"queueMs": 0, "firstTokenMs": None, "endMs": 0}, []),
    ],
)
def test_the_parts_of_a_bar_follow_each_other(at_the_page: Page, stage: dict[str, Any], kinds: list[str]) -> None:
    parts = call(at_the_page, "trace", "it.partsOf({startMs: 0, ...given}, 20)", stage)
    assert [part["kind"] for part in parts] == kinds
    for part, following in pairwise(parts):
        assert part["endMs"] == following["startMs"]


def test_workers_are_matched_by_model_one_by_one(at_the_page: Page) -> None:
    pairs = at_the_page.evaluate(
        """async () => {
             const { pairsOf } = await import("./lib/compare.js");
             const { Run } = await import("./lib/run.js");
             const run = (...models) => {
               const run = new Run();
               models.forEach((model, index) => run.apply(
                 { type: "stage.started", path: String(index), stage: "worker", name: `worker ${index}`, model, index }));
               return run;
             };
             return pairsOf(run("a", "b", "a"), run("a", "c", "a", "a"))
               .map((pair) => pair.map((stage) => stage && `${stage.model}${stage.path}`));
           }"""
    )
    assert pairs == [["a0", "a0"], ["b1", None], ["a2", "a2"], [None, "c1"], [None, "a3"]]


@pytest.mark.parametrize(
    ("one", "other", "change"), [(100, 150, 50), (150, 100, -50), (100, 100, 0), (None, 5, None), (5, None, None)]
)
def test_a_difference_is_the_others_less_the_ones(
    at_the_page: Page, one: float | None, other: float | None, change: float | None
) -> None:
    figures = at_the_page.evaluate(
        """async (ends) => {
             const { figuresOf } = await import("./lib/compare.js");
             const { Run } = await import("./lib/run.js");
             return figuresOf(...ends.map((endMs) => Object.assign(new Run(), { endMs })));
           }""",
        [one, other],
    )
    [duration] = [figure for figure in figures if figure["name"] == "duration"]
    assert duration == {"name": "duration", "one": one, "other": other, "change": change}
