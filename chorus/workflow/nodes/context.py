"""What a node of a registered kind may use of its run (W12): a view that cannot change it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from random import Random
from typing import Literal

from chorus.errors import ChorusError
from chorus.events import Path
from chorus.types import Answer, ChatRequest
from chorus.usage import Usage
from chorus.workflow.call_model import call_model, check_not_empty
from chorus.workflow.judging.temperature import Temperature
from chorus.workflow.model import Model
from chorus.workflow.run import Run
from chorus.workflow.stage import Place, Stage


class NodeContext:
    """What a node of a registered kind may use.

    The run's deadline, budget and slots bound every call made here. Calls and stages stand in the
    trace below the node's own stage, and count in usage and metrics.
    """

    __slots__ = ("_kind", "_numbers", "_path", "_run")

    def __init__(self, run: Run, path: Path, kind: Literal["worker", "selector"]) -> None:
        """`path` is that of the node's own stage, which is open."""
        self._run = run
        self._path = path
        self._kind: Literal["worker", "selector"] = kind
        self._numbers = count()

    @property
    def request(self) -> ChatRequest:
        """The client's request. In a later layer of workers (`refine`) the answers of the layer
        before are its last message."""
        return self._run.request

    @property
    def request_id(self) -> str:
        """The id of the client's request, for log lines and for calls of other services."""
        return self._run.request_id

    def headers(self, stage: Stage) -> Mapping[str, str]:
        """Return the headers for a call of another service: request id and trace context.

        `stage` is the one that makes the call.
        """
        return self._run.headers(stage.path)

    @property
    def rng(self) -> Random:
        """The source of chance; with `seed` in the configuration a run draws the same again."""
        return self._run.rng

    @property
    def models(self) -> Mapping[str, Model]:
        """The configured models by name: what they can do, their limits and their prices."""
        return self._run.models

    async def ask(
        self, model: str, request: ChatRequest, *, stage: Stage | None = None, timeout: float | None = None
    ) -> Answer:
        """Return the whole answer of `model` to `request`, which is sent as it is.

        Without `stage` the call is a stage of its own; else `stage` is one that is open. `timeout`
        bounds the call, in seconds; its default is the model's limit for workers or for selectors,
        whichever this node is.

        Raises:
            LLMError: the model gave no whole answer, or an empty one.
            DeadlineExceeded: the run has no time left.
            BudgetSpent: the run has no budget left.
            ChorusError: no model has this name.
        """
        known = self._run.models.get(model)
        if known is None:
            raise ChorusError(f"A node asks the model '{model}', which is not configured")
        limits = known.timeouts
        seconds = timeout or (limits.worker if self._kind == "worker" else limits.selector)
        stream = self._kind == "worker"  # the limit on the first token holds for workers
        if stage is not None:
            answer = await call_model(self._run, stage, known, request, timeout=seconds, stream=stream)
            check_not_empty(known, answer)
            return answer
        temperature = request.sampling.temperature
        with self.stage(model, model, None if temperature is None else Temperature(temperature, "node")) as own:
            answer = await self.ask(model, request, stage=own, timeout=timeout)
            own.finish(answer=answer)
            return answer

    def stage(self, name: str, model: str | None = None, temperature: Temperature | None = None) -> Stage:
        """Return a stage of this node's work; a `with` block writes its beginning and its end.

        The number of earlier calls of `stage` is its place. `model` names the model that is asked
        in it.
        """
        number = next(self._numbers)
        path = (*self._path, str(number))
        return self._run.stage(path, self._kind, name, model, temperature, place=Place(number))

    def count_call(self, stage: Stage, usage: Usage) -> None:
        """Count a call of the open `stage` that `ask` has not made, as of a `/rerank` endpoint.

        `usage` belongs to the stage and to the run.
        """
        stage.usage = usage
        self._run.totals.calls += 1
        self._run.totals.usage += usage
