"""The tree: reading it, inheritance, replication, counts (C5, C6, C8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorus.workflow.parse import parse
from chorus.workflow.plan import Flow, Leaf, drawn, leaf_calls, refs, total_calls

SPEC_TREE = {
    "analyzer": {"ref": "glm", "auto_temperature": True},
    "workers": [
        {"name": "deepseek", "temperature": 1.0},
        "kimi",
        {"analyzer": {"ref": "glm"}, "workers": [{"ref": "qwen"}, {"ref": "kimi"}], "synthesizer": {"ref": "qwen"}},
    ],
    "selector": {"ref": "qwen"},
    "synthesizer": {"ref": "qwen"},
}


def plan(tree: object, *, depth: int = 1, max_leaf_calls: int = 256) -> Flow:
    flow, problems = parse(tree, label="chorus", place="json", depth=depth, max_leaf_calls=max_leaf_calls, kinds={})
    assert not problems, problems
    assert flow is not None
    return flow


def problems_of(tree: object, **options: int) -> list[str]:
    flow, problems = parse(tree, label="chorus", place="json", kinds={}, **options)
    assert flow is None
    return [str(problem) for problem in problems]


@pytest.mark.requirement("C5")
def test_the_specs_own_example() -> None:
    flow = plan(SPEC_TREE)
    first, second, nested = flow.workers
    assert first == Leaf("deepseek", "deepseek", temperature=1.0)
    assert second == Leaf("kimi", "kimi")
    assert isinstance(nested, Flow)
    assert [worker.label for worker in nested.workers] == ["qwen", "kimi"]


@pytest.mark.requirement("C5")
def test_ref_with_name_makes_name_a_label_and_name_alone_is_a_reference() -> None:
    flow = plan({"workers": [{"ref": "glm", "name": "critic"}, {"name": "kimi"}], "selector": "glm"})
    assert [(leaf.ref, leaf.label) for leaf in flow.workers if isinstance(leaf, Leaf)] == [
        ("glm", "critic"),
        ("kimi", "kimi"),
    ]


@pytest.mark.requirement("C5")
def test_a_nested_workflow_inherits_what_it_does_not_name() -> None:
    tree = {
        "analyzer": "a",
        "workers": [{"workers": ["w"], "selector": "own", "analyzer": None}],
        "selector": "s",
        "synthesizer": "y",
    }
    [nested] = plan(tree).workers
    assert isinstance(nested, Flow)
    assert nested.analyzer is None
    assert nested.selector == Leaf("own", "own")
    assert nested.synthesizer == Leaf("y", "y")


@pytest.mark.requirement("C5")
def test_samples_ask_one_model_several_times_under_names_of_their_own() -> None:
    flow = plan({"workers": [{"ref": "glm", "samples": 3}, "kimi"], "selector": "glm"})
    assert [worker.label for worker in flow.workers] == ["glm#1", "glm#2", "glm#3", "kimi"]


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([], "expected a workflow object"),
        ({}, "needs `workers`"),
        ({"workers": [], "selector": "s"}, "json.workers: is empty"),
        ({"workers": "glm", "selector": "s"}, "expected a list of workers, found 'glm'"),
        ({"workers": ["glm"]}, "needs a `selector`, a `synthesizer` or both"),
        ({"workers": [{"selector": "s"}], "selector": "s"}, "json.workers[0]: a nested workflow needs `workers`"),
        ({"workers": [7], "selector": "s"}, "json.workers[0]: expected a model name"),
        ({"workers": [{"temperature": 1}], "selector": "s"}, "names no model"),
        ({"workers": [{"ref": "a", "temperature": 3}], "selector": "s"}, "expected a number from 0 to 2, found 3"),
        ({"workers": [{"ref": "a", "temperature": True}], "selector": "s"}, "found true"),
        ({"workers": [{"ref": "a", "temprature": 1}], "selector": "s"}, "did you mean `temperature`?"),
        ({"workers": [{"ref": "a", "samples": 0}], "selector": "s"}, "expected a positive integer, found 0"),
        ({"workers": [{"kind": "oracle"}], "selector": "s"}, "unknown node kind 'oracle'"),
        ({"workers": ["a"], "selector": {"ref": ""}}, "json.selector.ref: expected a non-empty string"),
    ],
)
@pytest.mark.requirement("C8")
def test_what_is_wrong_is_said_with_its_place(tree: object, message: str) -> None:
    assert any(message in problem for problem in problems_of(tree)), problems_of(tree)


@pytest.mark.requirement("C2")
def test_all_faults_are_found_at_once() -> None:
    tree = {"workers": [{"ref": "a", "temperature": 9}, 3, {"kind": "x"}], "selector": {"rf": "s"}}
    assert len(problems_of(tree)) >= 4


@given(workers=st.integers(1, 7), depth=st.integers(1, 4))
@pytest.mark.requirement("C6")
def test_depth_yields_2_to_the_d_minus_1_candidates_each(workers: int, depth: int) -> None:
    tree = {"analyzer": "a", "workers": [f"w{i}" for i in range(workers)], "selector": "s", "synthesizer": "y"}
    flow = plan(tree, depth=depth)
    assert leaf_calls(flow) == workers * 2 ** (depth - 1)
    # the analyzers are all the same and asked once
    assert total_calls(flow) == workers * (2 ** (depth - 1) + 2 * (2 ** (depth - 1) - 1)) + 3
    assert len(flow.workers) == workers


@pytest.mark.requirement("C6")
def test_a_nested_workflow_stays_as_it_is_when_leaves_are_replicated() -> None:
    before = plan(SPEC_TREE).workers[2]
    flow = plan(SPEC_TREE, depth=2)
    assert flow.workers[2] == before
    copied = flow.workers[1]
    assert isinstance(copied, Flow)
    assert [leaf.ref for leaf in copied.workers if isinstance(leaf, Leaf)] == ["kimi", "kimi"]
    assert len({leaf.label for leaf in copied.workers}) == 2
    assert copied.analyzer == flow.analyzer


@pytest.mark.requirement("C6")
def test_too_many_leaf_calls_are_refused_before_they_are_built() -> None:
    [problem] = problems_of(SPEC_TREE, depth=60)
    assert "max_leaf_calls = 256" in problem
    assert leaf_calls(plan(SPEC_TREE, depth=9, max_leaf_calls=600)) == 2 * 256 + 2


@pytest.mark.requirement("C6")
def test_the_drawing_names_every_stage_and_the_number_of_calls() -> None:
    text = "\n".join(line.en for line in drawn(plan(SPEC_TREE)))
    assert text.splitlines()[0] == "chorus: 4 candidates, 10 calls"
    assert all(ref in text for ref in refs(plan(SPEC_TREE)))
