"""The analyzer: reads the request and says what kind of work it is (W1)."""

from __future__ import annotations

from chorus.errors import ChorusError
from chorus.events import Fault, Path
from chorus.wirejson import JSON
from chorus.workflow.call_model import call_model
from chorus.workflow.judging import prompts, temperature
from chorus.workflow.judging.replies import Unreadable, new_word
from chorus.workflow.judging.verdict import Analysis, read_analysis
from chorus.workflow.plan import Leaf
from chorus.workflow.requests import judging
from chorus.workflow.run import Run, SharedAnalysis


async def analyze(run: Run, path: Path, node: Leaf) -> Analysis:
    """Return the analysis of the request. The same analyzer is asked once for a whole tree: later
    workflows wait for the analysis of the first one.

    Raises nothing but cancellation: a failed or unreadable analysis leaves its reason in the
    journal and the default analysis stands (W2).
    """
    while (shared := run.analyses.get(node)) is not None:
        await shared.done.wait()
        if shared.analysis is not None:
            with run.stage(path, "analyzer", node.label, node.ref) as stage:
                stage.finish("skipped", details={"analysis": _shown(shared.analysis), "same_as": "/".join(shared.path)})
            return shared.analysis
        # the workflow that asked was cancelled before the answer: ask again
    shared = run.analyses[node] = SharedAnalysis(path)
    try:
        shared.analysis = await _ask(run, path, node)
        return shared.analysis
    finally:
        if shared.analysis is None:
            del run.analyses[node]
        shared.done.set()


async def _ask(run: Run, path: Path, node: Leaf) -> Analysis:
    model = run.models[node.ref]
    chosen_temperature = temperature.judge(node, model.temperature)
    mark = new_word()
    request = judging(
        run.request, node, model, chosen_temperature.value, prompts.analyzer(mark), prompts.ANALYSIS_SCHEMA
    )
    try:
        with run.stage(path, "analyzer", node.label, model.name, chosen_temperature) as stage:
            answer = await call_model(
                run, stage, model, request, timeout=node.timeout_secs or model.timeouts.analyzer, stream=False
            )
            try:
                analysis = read_analysis(answer.text, mark)
            except Unreadable as problem:
                stage.finish("failed", answer=answer, fault=Fault("unreadable", f"The analysis is unusable: {problem}"))
                return Analysis()
            stage.finish(answer=answer, details={"analysis": _shown(analysis)})
            return analysis
    except ChorusError:
        return Analysis()


def _shown(analysis: Analysis) -> dict[str, JSON]:
    fields = {
        "task_type": analysis.task_type,
        "temperature": analysis.temperature,
        "difficulty": analysis.difficulty,
        "strategy": analysis.strategy,
    }
    return {key: value for key, value in fields.items() if value is not None}
