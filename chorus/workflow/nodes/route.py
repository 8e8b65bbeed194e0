"""The workers that a learned route picks for a request (`learned_route`), as the run writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from chorus.events import Path, WorkersPicked
from chorus.llm.counts import prompt_estimate
from chorus.usage import Usage
from chorus.workflow.estimate import ANSWER_TOKENS
from chorus.workflow.estimate.stages import stages_of
from chorus.workflow.judging.verdict import Analysis
from chorus.workflow.learned_route import NO_COUNTS, Counts, Known, Learned, Option, pick, posterior, task_type_of
from chorus.workflow.plan import Flow, Leaf, Node
from chorus.workflow.run import Run


async def routed(run: Run, path: Path, flow: Flow, settings: Learned, analysis: Analysis | None) -> Flow:
    """Return `flow` with the workers that are picked for this request. `analysis` is None where no
    analyzer is. Raises nothing but cancellation."""
    known: Known = {}
    note = ""
    rng = run.rng
    if run.learner is not None:
        known, note = await run.learner.known()
        rng = run.learner.rng  # a seed of the plan would draw the same workers for every request
    task_type = task_type_of(analysis.task_type if analysis is not None else None, known)
    groups = grouped(flow.workers)
    counts = [known.get((task_type, worker), NO_COUNTS) for worker, _ in groups]
    options = [
        Option(worker, tuple(node.label for node in nodes), posterior(counted))
        for (worker, nodes), counted in zip(groups, counts, strict=True)
    ]
    room = _Room(run, flow, groups, counts)
    picks = pick(options, settings, rng, room.fits, room.cost)
    run.journal.write(WorkersPicked(path, run.now(), task_type, tuple(picks), note))
    positions = [position for position, picked in enumerate(picks) if picked.is_picked]
    return replace(flow, workers=room.workers(positions))


def grouped(workers: Sequence[Node]) -> list[tuple[str, tuple[Node, ...]]]:
    """Return what can be picked, by name: workers, with the samples of one model together."""
    groups: dict[str, tuple[str, tuple[Node, ...]]] = {}
    for node in workers:
        if isinstance(node, Leaf) and node.samples is not None:
            key, name = f"samples of {node.samples.group}", node.label.rpartition("#")[0] or node.label
        else:
            key, name = f"worker {node.label}", node.label
        before = groups[key][1] if key in groups else ()
        groups[key] = (groups[key][0] if before else name, (*before, node))
    return [*groups.values()]


class _Room:
    """What the budget of a run has left for its workers and its judges."""

    def __init__(
        self, run: Run, flow: Flow, groups: Sequence[tuple[str, tuple[Node, ...]]], counts: Sequence[Counts]
    ) -> None:
        self._run = run
        self._flow = replace(flow, analyzer=None, difficulty=())  # it has answered already
        self._groups = groups
        self._prompt = prompt_estimate(run.request) if run.budget is not None else 0
        wanted = run.request.sampling.max_tokens
        usual = [counted.tokens / counted.answers if counted.answers >= 1 else ANSWER_TOKENS for counted in counts]
        self._answers = [wanted or round(length) for length in usual]

    def workers(self, positions: Sequence[int]) -> tuple[Node, ...]:
        """Return the workers at `positions`."""
        return tuple(node for position in positions for node in self._groups[position][1])

    def fits(self, positions: Sequence[int]) -> bool:
        """Return whether these workers and their judges fit the budget, as far as is known
        before.
        """
        budget = self._run.budget
        if budget is None:
            return True
        expected = self._run.totals.usage + self._expected(positions)
        tokens, cost = budget.max_total_tokens, budget.max_cost
        has_tokens = tokens is None or expected.total_tokens <= tokens
        return has_tokens and (cost is None or (expected.cost or 0.0) <= cost)

    def cost(self, position: int) -> float:
        """Return what a worker would take alone: of money where that is bounded, else of tokens."""
        budget, expected = self._run.budget, self._expected([position])
        is_money = budget is not None and budget.max_cost is not None
        return (expected.cost or 0.0) if is_money else float(expected.total_tokens)

    def _expected(self, positions: Sequence[int]) -> Usage:
        answer = max(self._answers[position] for position in positions)
        workers = self.workers(positions)
        selector = self._flow.selector if len(workers) > 1 else None  # one candidate needs no judge
        flow = replace(self._flow, workers=workers, selector=selector)
        stages = stages_of(flow, self._run.models, self._prompt, answer)
        return Usage(
            sum(stage.prompt_tokens for stage in stages),
            sum(stage.completion_tokens for stage in stages),
            cost=sum(stage.cost or 0.0 for stage in stages),
        )
