"""What a stage does, in a sentence for people who wait (W8)."""

from __future__ import annotations

from typing import Final

from chorus.events import Path, StageFinished, StageKind, StageStarted

_BEGUN: Final[dict[StageKind, str]] = {
    "recall": "{name} is read.",
    "analyzer": "{name} reads the request.",
    "worker": "{name} is answering.",
    "selector": "{name} compares the answers.",
    "synthesizer": "{name} writes the answer.",
    "memorize": "{name} is written.",
}


class StageSentences:
    """Sentences on the stages of one run, in the order of its events."""

    def __init__(self) -> None:
        self._stages: dict[Path, StageStarted] = {}

    def choice(self, event: StageStarted | StageFinished) -> int:
        """Return the index of the answer that the stage of `event` works for. `sentence` comes
        first."""
        return self._stages[event.path].choice

    def sentence(self, event: StageStarted | StageFinished) -> str:
        """Return what `event` means; "" where it is no news."""
        if isinstance(event, StageStarted):
            self._stages[event.path] = event
            return _BEGUN[event.stage].format(name=event.name)
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
