"""The selector that asks nobody (W12)."""

from __future__ import annotations

from typing import Any

import pytest

from chorus.llm.fake import FakeUpstream, Says
from chorus.workflow.nodes.majority import MAJORITY
from chorus.workflow.parse import parse
from chorus.workflow.plan import total_calls
from tests.workflow.running import fake_models, on_trio, run_plan

pytestmark = pytest.mark.requirement("W12")
KINDS = {"majority": MAJORITY}
TREE: dict[str, Any] = {"workers": ["x", "y", "z"], "selector": {"kind": "majority"}}


@on_trio
async def test_the_most_frequent_answer_is_taken_without_a_call() -> None:
    models = fake_models(
        x=FakeUpstream(Says("Lyon")), y=FakeUpstream(Says("Paris")), z=FakeUpstream(Says("**paris**."))
    )
    result = await run_plan(TREE, models, kinds=KINDS)
    assert result.delivered == "Paris"
    selector = result.trace["selector"]
    assert (selector["selected_worker"], selector["reasoning"]) == ("y", "2 of 3 answers agree.")
    assert result.trace["calls"] == 3


@on_trio
async def test_of_answers_that_are_as_frequent_the_first_is_taken() -> None:
    models = fake_models(x=FakeUpstream(Says("one")), y=FakeUpstream(Says("two")), z=FakeUpstream(Says("three")))
    result = await run_plan(TREE, models, kinds=KINDS)
    assert result.delivered == "one"


@pytest.mark.parametrize(
    ("selector", "problem"),
    [({"ref": "x"}, "unknown key `ref` of a majority"), ({"compare": "fuzzy"}, "`compare` of a majority")],
)
def test_what_is_wrong_with_it_is_said(selector: dict[str, Any], problem: str) -> None:
    tree = {**TREE, "selector": {"kind": "majority", **selector}}
    _, problems = parse(tree, label="chorus", place="tree", kinds=KINDS)
    assert problem in str(problems)


def test_it_counts_as_no_call() -> None:
    flow, _ = parse(TREE, label="chorus", place="tree", kinds=KINDS)
    assert flow is not None
    assert total_calls(flow) == 3
