"""The analyzer: reads the request and says what kind of work it is (W1)."""

from __future__ import annotations

from chorus.errors import ChorusError
from chorus.events import Fault, Path
from chorus.wirejson import JSON
from chorus.workflow import prompts, temperature, verdict
from chorus.workflow.base import Run
from chorus.workflow.converse import converse
from chorus.workflow.plan import Leaf
from chorus.workflow.requests import judging
from chorus.workflow.verdict import Analysis


async def analyze(run: Run, path: Path, node: Leaf) -> Analysis:
    """Ask the analyzer. Raises nothing but cancellation: a failed or unreadable analysis leaves its reason in the
    journal and the default analysis stands (W2)."""
    model = run.models[node.ref]
    heat = temperature.judge(node, model.temperature)
    request = judging(run.request, node, model, heat.value, prompts.analyzer(), prompts.ANALYSIS_SCHEMA)
    try:
        with run.stage(path, "analyzer", node.label, model.name, heat) as stage:
            answer = await converse(
                run, stage, model, request, timeout=node.timeout_secs or model.timeouts.analyzer, stream=False
            )
            try:
                analysis = verdict.read_analysis(answer.text)
            except verdict.Unreadable as problem:
                stage.finish("failed", answer=answer, fault=Fault("unreadable", f"The analysis is unusable: {problem}"))
                return Analysis()
            found = {key: value for key, value in _shown(analysis).items() if value is not None}
            stage.finish(answer=answer, details={"analysis": found})
            return analysis
    except ChorusError:
        return Analysis()


def _shown(analysis: Analysis) -> dict[str, JSON]:
    return {
        "task_type": analysis.task_type,
        "temperature": analysis.temperature,
        "difficulty": analysis.difficulty,
    }
