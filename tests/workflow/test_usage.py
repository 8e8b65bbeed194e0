"""What a client reads as `usage`: the length of its conversation and of the answer, with the sum
beside it (W11).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from chorus.events import Delta
from chorus.llm.fake import FakeUpstream, Says
from chorus.types import ToolPiece
from chorus.usage import Usage
from tests.workflow.running import QUESTION, failing, fake_models, judge, on_trio, run_plan

TREE: dict[str, Any] = {"workers": ["x", "y"], "selector": "s", "synthesizer": "z"}


def models(**changes: FakeUpstream) -> Mapping[str, FakeUpstream]:
    """Workers whose prompts have 100 and 120 tokens.

    What we add makes those of judge and synthesizer 1,000 longer.
    """
    return fake_models(
        x=FakeUpstream(Says("a wrong answer", usage=Usage(100, 3))),
        y=FakeUpstream(Says("the right answer", usage=Usage(120, 4, cached_tokens=50))),
        s=FakeUpstream(Says(judge().text, usage=Usage(1100, 30))),
        z=FakeUpstream(Says("the final answer", usage=Usage(1200, 7))),
        **changes,
    )


@pytest.mark.requirement("W11")
@on_trio
async def test_the_prompt_is_the_chosen_workers_and_the_answer_is_the_synthesizers() -> None:
    done = (await run_plan(TREE, models())).finished
    assert (done.reported.prompt_tokens, done.reported.completion_tokens) == (120, 7)
    assert done.reported.cached_tokens == 50
    assert done.usage.total_tokens == 100 + 3 + 120 + 4 + 1100 + 30 + 1200 + 7
    assert done.ensemble == {"calls": 4, "prompt_tokens": 2520, "completion_tokens": 44}


@pytest.mark.requirement("W11")
@on_trio
async def test_a_winner_that_goes_out_as_it_is_reports_its_own_call() -> None:
    without = {key: value for key, value in TREE.items() if key != "synthesizer"}
    done = (await run_plan(without, models())).finished
    assert (done.reported.prompt_tokens, done.reported.completion_tokens) == (120, 4)


@pytest.mark.requirement("W11")
@on_trio
async def test_the_fallback_of_a_failed_synthesizer_reports_its_own_call() -> None:
    done = (await run_plan(TREE, {**models(), "z": failing()})).finished
    assert (done.reported.prompt_tokens, done.reported.completion_tokens) == (120, 4)


@pytest.mark.requirement("W11")
@on_trio
async def test_what_refines_reads_candidates_that_do_not_count() -> None:
    done = (await run_plan({**TREE, "refine": {"layers": 2}}, models())).finished
    assert done.reported.prompt_tokens in (100, 120)
    assert done.reported.completion_tokens == 7


@pytest.mark.requirement("W11")
@on_trio
async def test_a_nested_workflow_reports_its_chosen_workers_prompt() -> None:
    tree = {"workers": [{"name": "team", **TREE}], "selector": "s"}
    done = (await run_plan(tree, models())).finished
    assert (done.reported.prompt_tokens, done.reported.completion_tokens) == (120, 7)


@pytest.mark.requirement("W11")
@on_trio
async def test_several_answers_report_one_prompt() -> None:
    done = (await run_plan("x", models(), also=(QUESTION,))).finished
    assert (done.reported.prompt_tokens, done.reported.completion_tokens) == (100, 6)
    assert done.ensemble == {"calls": 2, "prompt_tokens": 200, "completion_tokens": 6}


@pytest.mark.requirement("W11")
@on_trio
async def test_a_single_model_has_nothing_beside_its_usage() -> None:
    done = (await run_plan("x", models())).finished
    assert done.reported == done.usage == Usage(100, 3)
    assert done.ensemble is None


@pytest.mark.requirement("W11")
@on_trio
async def test_the_old_way_reports_the_sum() -> None:
    done = (await run_plan(TREE, models(), reports_total_usage=True)).finished
    assert done.reported == done.usage


@pytest.mark.requirement("W8")
@on_trio
async def test_a_winner_goes_out_one_kind_at_a_time() -> None:
    calls = (ToolPiece(0, "c1", "f", '{"a": 1}'), ToolPiece(1, "c2", "g", "{}"))
    caller = FakeUpstream(Says("the right answer", reasoning="thought", tool_calls=calls, finish_reason="tool_calls"))
    ran = await run_plan({"workers": ["x", "y"], "selector": "s"}, {**models(), "y": caller})
    out = [event for event in ran.events if isinstance(event, Delta) and event.choice is not None]
    kinds = [tuple(name for name in ("reasoning", "text", "tool_calls") if getattr(event, name)) for event in out]
    assert kinds == [("reasoning",), ("text",), ("tool_calls",), ("tool_calls",)]
    assert [event.tool_calls[0].name for event in out[2:]] == ["f", "g"]
