"""Waiting made visible (W8): what a workflow is doing, as reasoning of the answer that is to come."""

from __future__ import annotations

from collections.abc import Iterable

from chorus.events import Delta, Event, Path, RunStarted, StageFinished, StageStarted
from chorus.server.http.frames import Encoder, Frame


class ProgressEncoder:
    """An encoder around another one, which hears of the stages of a run as reasoning, until the
    answer itself begins. Every dialect has a field for that."""

    def __init__(self, inner: Encoder) -> None:
        self._inner = inner
        self._stages: dict[Path, StageStarted] = {}
        self._choices = 1
        self._speaking: set[int] = set()

    def encode(self, event: Event) -> Iterable[Frame]:
        """See `Encoder.encode`."""
        if isinstance(event, Delta):
            if event.choice is not None:
                self._speaking.add(event.choice)
        elif isinstance(event, RunStarted):
            self._choices = event.choices
        elif isinstance(event, StageStarted | StageFinished):
            sentence = self._sentence(event)
            choice = self._stages[event.path].choice
            if sentence and choice not in self._speaking:
                indent = "  " * (len(event.path) - (2 if self._choices > 1 else 1))
                text = f"{indent}{sentence}\n"
                progress = Delta((), event.at, reasoning=text, choice=choice, is_progress=True)
                yield from self._inner.encode(progress)
        yield from self._inner.encode(event)

    def _sentence(self, event: StageStarted | StageFinished) -> str:
        if isinstance(event, StageStarted):
            self._stages[event.path] = event
            begun = {
                "recall": "{name} is read.",
                "analyzer": "{name} reads the request.",
                "worker": "{name} is answering.",
                "selector": "{name} compares the answers.",
                "synthesizer": "{name} writes the answer.",
                "memorize": "{name} is written.",
            }
            return begun[event.stage].format(name=event.name)
        stage = self._stages[event.path]
        took = f"{event.at - stage.at:.1f} s"
        if event.fault is not None:
            return f"{stage.name} failed after {took}: {event.fault.message}."
        if event.status == "cancelled":
            return f"{stage.name} was not waited for."
        if stage.stage == "selector" and "selected_worker" in event.details:
            return f"Chosen: {event.details['selected_worker']}. {event.details['reasoning']}"
        if stage.stage == "worker":
            return f"{stage.name} has answered after {took}."
        return ""
